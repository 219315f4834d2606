"""One state machine drives `kv` and `queue` in memory, in a file and in a Redis, and a model of each beside them."""

from __future__ import annotations

import tempfile
from datetime import UTC, datetime
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

import pytest
import redis_server
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, consumes, invariant, multiple, rule

from perdure import MemoryLedger, MessageLost, PerdureError, RedisKv, RedisQueue, Runtime
from perdure.testing import SimulatedClock

KEYS = st.sampled_from(["a", "a:1", "a:2", "b", "ü", "\U0001f600", "a:\uffff"])
VALUES = st.one_of(st.integers(), st.text(max_size=3), st.tuples(st.integers()), st.none())
SPACES = st.sampled_from(["default", "other:1"])
SECONDS = st.integers(1, 20)
DELIVERIES_MAX = 3


class Machine(RuleBasedStateMachine):
    """The rules; where it is kept is for those that derive from it."""

    forgets_by_our_clock = True  # a Redis forgets by its own
    restarts = True
    messages = Bundle("messages")

    def __init__(self) -> None:
        super().__init__()
        self.clock = SimulatedClock(datetime.now(UTC))
        self.values: dict[tuple[str, str], tuple[Any, int | None]] = {}  # value, and when it expires
        self.waiting: dict[str, dict[str, Any]] = {}  # by id: payload, visible, deliveries
        self.dead: dict[str, Any] = {}
        self.ledger, self.services = self.place()
        self.open()

    def place(self) -> tuple[Any, dict[str, Any]]:
        """A ledger, and other back ends."""
        raise NotImplementedError

    def open(self) -> None:
        """Open a runtime there. Whoever held a message of the one before holds it no more."""
        self.lives = getattr(self, "lives", 0) + 1
        self.opened = Runtime(self.ledger, services=self.services, clock=self.clock, drain="0s")
        self.runtime = self.opened.__enter__()

    def teardown(self) -> None:
        self.opened.__exit__(None, None, None)

    @rule()
    def restart(self) -> None:
        """What is kept is kept."""
        self.opened.__exit__(None, None, None)
        self.open()

    @rule(seconds=SECONDS)
    def wait(self, seconds: int) -> None:
        """Time passes."""
        self.clock.advance(seconds)

    # ── kv ───────────────────────────────────────────────────────────────────────────────────────

    def there(self, space: str) -> dict[str, Any]:
        """What a namespace holds now."""
        now = self.clock.now_us()
        found = {key: value for (of, key), (value, until) in self.values.items()
                 if of == space and (until is None or until > now)}  # fmt: skip
        return dict(sorted(found.items()))

    def expiry(self, ttl: int | None) -> int | None:
        """When something written now expires."""
        return None if ttl is None else self.clock.now_us() + ttl * 1_000_000

    def lasts(self, ttl: int | None) -> int | None:
        """How long to let it live: where another clock counts, for longer than the test lasts."""
        return ttl if ttl is None or self.forgets_by_our_clock else 100_000

    @rule(space=SPACES, key=KEYS, value=VALUES, ttl=st.none() | SECONDS, if_absent=st.booleans())
    def put(self, space: str, key: str, value: Any, ttl: int | None, if_absent: bool) -> None:
        writes = not if_absent or key not in self.there(space)
        ttl = self.lasts(ttl)
        assert self.runtime.kv.namespace(space).put(key, value, ttl=ttl, if_absent=if_absent) is writes
        if writes:
            self.values[space, key] = (value, self.expiry(ttl))

    @rule(space=SPACES, key=KEYS, by=st.integers(-3, 3), ttl=st.none() | SECONDS)
    def increment(self, space: str, key: str, by: int, ttl: int | None) -> None:
        before = self.there(space).get(key, 0)
        if type(before) is not int:
            return
        ttl = self.lasts(ttl)
        assert self.runtime.kv.namespace(space).increment(key, by, ttl=ttl) == before + by
        kept = self.values[space, key][1] if key in self.there(space) else None
        self.values[space, key] = (before + by, kept if ttl is None else self.expiry(ttl))

    @rule(space=SPACES, key=KEYS)
    def update(self, space: str, key: str) -> None:
        there = self.there(space)
        assert self.runtime.kv.namespace(space).update(key, lambda old: (old,), "none") == (there.get(key, "none"),)
        self.values[space, key] = ((there.get(key, "none"),), self.values[space, key][1] if key in there else None)

    @rule(space=SPACES, key=KEYS)
    def delete(self, space: str, key: str) -> None:
        assert self.runtime.kv.namespace(space).delete(key) is (key in self.there(space))
        self.values.pop((space, key), None)

    @rule(space=SPACES, key=KEYS)
    def get(self, space: str, key: str) -> None:
        assert self.runtime.kv.namespace(space).get(key, "nothing") == self.there(space).get(key, "nothing")

    @rule(space=SPACES, prefix=st.sampled_from(["", "a", "a:", "ü", "z"]), after=st.none() | KEYS,
          limit=st.none() | st.integers(1, 4), pattern=st.sampled_from([None, "a*", "*:?", "[ab]", "*"]))  # fmt: skip
    def list(self, space: str, prefix: str, after: str | None, limit: int | None, pattern: str | None) -> None:
        wanted = {
            key: value
            for key, value in self.there(space).items()
            if key.startswith(prefix)
            and (after is None or key > after)
            and (pattern is None or fnmatchcase(key, pattern))
        }
        chosen = dict(tuple(wanted.items())[:limit])
        found = self.runtime.kv.namespace(space).list(prefix, pattern=pattern, after=after, limit=limit)
        assert tuple(found.items()) == tuple(chosen.items())

    # ── queue ────────────────────────────────────────────────────────────────────────────────────

    @rule(payload=VALUES, delay=st.none() | SECONDS, key=st.none() | st.sampled_from(["k1", "k2"]))
    def send(self, payload: Any, delay: int | None, key: str | None) -> None:
        id = self.runtime.queue.send("jobs", payload, delay=delay, key=key)
        assert key is None or id == key
        if key is None or key not in self.waiting:
            assert id not in self.waiting
            visible = self.clock.now_us() + (delay or 0) * 1_000_000
            self.waiting[id] = {"payload": payload, "visible": visible, "deliveries": 0}

    @rule(target=messages, limit=st.integers(1, 3), hidden=SECONDS)
    def receive(self, limit: int, hidden: int) -> Any:
        now = self.clock.now_us()
        in_sight = sorted((each["visible"], id) for id, each in self.waiting.items() if each["visible"] <= now)
        expected: dict[str, dict[str, Any]] = {}
        for _, id in in_sight:
            if len(expected) == limit:
                break
            each = self.waiting[id]
            if each["deliveries"] >= DELIVERIES_MAX:
                self.dead[id] = self.waiting.pop(id)["payload"]
            else:
                each.update(deliveries=each["deliveries"] + 1, visible=now + hidden * 1_000_000)
                expected[id] = each
        found = self.runtime.queue.receive(
            "jobs", limit=limit, visibility_timeout=hidden, max_deliveries=DELIVERIES_MAX
        )
        assert {each.id: (each.payload, each.deliveries) for each in found} == {
            id: (each["payload"], each["deliveries"]) for id, each in expected.items()
        }
        return multiple(*[(each, each.deliveries, self.lives) for each in found])

    def is_held(self, message: Any) -> bool:
        """Whether whoever received a message this time is the last one who did."""
        each = self.waiting.get(message[0].id)
        return (
            message[2] == self.lives
            and each is not None
            and each.get("holder", message[1]) == message[1] == each["deliveries"]
        )

    @rule(message=consumes(messages), what=st.sampled_from(["ack", "retry", "reject", "extend"]), seconds=SECONDS)
    def settle(self, message: Any, what: str, seconds: int) -> None:
        id, held = message[0].id, self.is_held(message)
        arguments = (seconds,) if what in ("retry", "extend") else ()
        if not held:
            with pytest.raises(MessageLost if message[2] == self.lives else PerdureError):
                getattr(message[0], what)(*arguments)
            return
        getattr(message[0], what)(*arguments)
        assert message[2] == self.lives
        later = self.clock.now_us() + seconds * 1_000_000
        if what == "ack":
            del self.waiting[id]
        elif what == "reject" or (what == "retry" and message[1] >= DELIVERIES_MAX):
            self.dead[id] = self.waiting.pop(id)["payload"]
        else:
            # Given back it is nobody's; kept for longer it is this receiver's still, who has settled it all the same.
            self.waiting[id].update(visible=later, holder=None)

    @rule(redrives=st.booleans())
    def clear_dead(self, redrives: bool) -> None:
        if not redrives:
            assert self.runtime.queue.discard("jobs") == len(self.dead)
            self.dead.clear()
            return
        back = [id for id in self.dead if id not in self.waiting]
        assert self.runtime.queue.redrive("jobs") == len(back)
        for id in back:
            self.waiting[id] = {"payload": self.dead.pop(id), "visible": self.clock.now_us(), "deliveries": 0}

    @invariant()
    def dead_letters_are_known(self) -> None:
        assert {each.id: each.payload for each in self.runtime.queue.dead_letters("jobs")} == self.dead


class InMemory(Machine):
    def place(self) -> tuple[Any, dict[str, Any]]:
        return MemoryLedger(), {}


class InAFile(Machine):
    def place(self) -> tuple[Any, dict[str, Any]]:
        self.folder = tempfile.TemporaryDirectory()
        return Path(self.folder.name) / "ledger.duckdb", {}

    def teardown(self) -> None:
        super().teardown()
        self.folder.cleanup()


class InARedis(Machine):
    forgets_by_our_clock = False
    server: redis_server.RedisServer
    places = 0

    def place(self) -> tuple[Any, dict[str, Any]]:
        InARedis.places += 1
        prefix = f"place-{self.places}"
        services = {"kv": RedisKv(self.server.url, prefix=prefix), "queue": RedisQueue(self.server.url, prefix=prefix)}
        return MemoryLedger(), services


def lived(machine: type[Machine], examples: int) -> None:
    """Run it."""
    case = machine.TestCase
    case.settings = settings(max_examples=examples, stateful_step_count=30, deadline=None)
    case("runTest").runTest()


def test_memory_and_the_model_agree() -> None:
    lived(InMemory, 60)
    assert InMemory.TestCase.settings.max_examples == 60


def test_a_file_and_the_model_agree() -> None:
    lived(InAFile, 3)
    assert InAFile.TestCase.settings.max_examples == 3


def test_a_redis_and_the_model_agree(redis: redis_server.RedisServer) -> None:
    InARedis.server = redis
    lived(InARedis, 25)
    assert InARedis.places >= 25
