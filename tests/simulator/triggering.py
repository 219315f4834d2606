"""A life with every kind of trigger, drawn from a seed, and what must hold at its end.

Told from outside: from the runs that a ledger has, and from `owing.py`. Knows the simulator as a user does.
"""

from __future__ import annotations

import json
import random
from collections import Counter
from typing import Any

from owing import HOUR_US, Owing

from perdure import current_step
from perdure.strict import (
    DbChange,
    Event,
    KvChange,
    Schedule,
    ScheduledInput,
    on_db_change,
    on_event,
    on_kv_change,
    workflow,
)
from perdure.testing import Crash, FullDisk, Simulation

START = "2030-01-01T00:00:00Z"
SCHEDULES = {
    "every": Schedule("40 */6 * * *", "Europe/Berlin"),
    "newest": Schedule("10 3,15 * * *", "America/New_York", catch_up="last"),
    "fresh": Schedule("5 */8 * * *", catch_up="none"),
}


@workflow(id="every", trigger=SCHEDULES["every"])
async def every(input: ScheduledInput) -> str:
    return input["scheduled_at"].isoformat()


@workflow(id="newest", trigger=SCHEDULES["newest"])
async def newest() -> None: ...


@workflow(id="fresh", trigger=[SCHEDULES["fresh"], Event("sent", match={"kind": "fresh"})])
async def fresh(input: Any) -> None: ...


@on_event("sent", resource="eu")
async def in_europe(payload: dict) -> int:
    return payload["number"]


@on_kv_change(namespace="life", key_pattern="a*", op="put")
async def seen(change: KvChange) -> str:
    await current_step().kv.namespace("life").put(f"seen-{change.key}", change.value)  # matches no pattern
    return change.key


@on_db_change(collection="life", op="update")
async def counted(change: DbChange) -> int:
    assert change.document is not None
    assert change.previous is not None
    return change.document["n"] - change.previous["n"]


async def write(number: int) -> None:
    now = current_step()
    await now.kv.namespace("life").put(f"{'ab'[number % 2]}{number}", number)
    await now.kv.namespace("life").delete(f"a{number - 2}")
    await now.database.collection("life").update_one({"_id": "count"}, {"$inc": {"n": 1}}, upsert=True)


@workflow(id="writes")
async def writes(input: int, step: Any) -> None:
    await step.run("write", write, input)


OTHERS = (in_europe, seen, counted, writes)
ALL = (every, newest, fresh, *OTHERS)


class Life:
    """One seed's life."""

    def __init__(self, seed: int) -> None:
        self.random = random.Random(f"triggers {seed}")
        self.world = Simulation(*ALL, seed=seed, start_at=START)
        self.world.advance("1s")
        self.owing = {id: Owing(schedule, self.world.clock.now_us()) for id, schedule in SCHEDULES.items()}
        self.now = self.world.clock.now_us()
        self.sent: dict[int, tuple[str, str | None]] = {}
        self.writes = 0
        self.fault_at = 0  # the commit at which the last fault strikes
        self.triggered: Counter[str] = Counter()

    def live(self, days: int) -> int:
        """Live so many days, and hold everything against what must be; give how many runs there are."""
        until = self.now + days * 24 * HOUR_US
        acts = [self.pass_time] * 4 + [
            self.jump, self.crash, self.fault, self.pause, self.resume, self.resume, self.backfill, self.trigger,
            self.send, self.send, self.write, self.write, self.lack, self.by_command,
        ]  # fmt: skip
        while self.now < until:
            self.random.choice(acts)()
        for id in self.owing:
            self.ask_about("resume", id)
        self.pass_time()
        self.check()
        self.world.close()
        return len(self.world.runs())

    # ── what is done ──

    def _lived(self) -> None:
        now = self.world.clock.now_us()
        for owing in self.owing.values():
            owing.lived(self.now, now)
        self.now = now

    def pass_time(self) -> None:
        self.world.advance(self.random.choice([60, 4_000, 90_000, 400_000]))
        self._lived()

    def jump(self) -> None:
        """Nothing is at work for a while, or the clock is put back."""
        self.world.advance(30)  # so that nothing is left that a full disk refused
        self._lived()
        self.world.clock.jump(self.random.choice([30, 3_600, 86_400, 6 * 86_400, -90, -7_200]))
        before, self.now = self.now, self.world.clock.now_us()
        for owing in self.owing.values():
            owing.jumped(before, self.now)
        self.world.crash()

    def crash(self) -> None:
        self.world.crash()

    def fault(self) -> None:
        at = self.fault_at = self.world.commits + self.random.randint(1, 4)
        self.world.strike(self.random.choice([Crash(at), Crash(at, when="after"), FullDisk(at, times=2)]))

    def ask_about(self, act: str, id: str) -> None:
        self.world.ask(lambda engine, batch: getattr(engine.schedules, act)(id, batch))
        self._lived()  # the engine looks at the clock before it looks at what it is asked
        getattr(self.owing[id], act)(self.now)

    def pause(self) -> None:
        self.ask_about("pause", self.random.choice(list(self.owing)))

    def resume(self) -> None:
        self.ask_about("resume", self.random.choice(list(self.owing)))

    def by_command(self) -> None:
        """Pause or resume while nothing else is at work, so that what was missed is not caught up with before."""
        if self.world.commits <= self.fault_at + 2:
            return  # a crash in the middle would open the ledger as a worker does
        self.world.advance(30)
        self._lived()
        self.world._engine.schedules.held = True
        for _ in range(self.random.randint(1, 4)):
            self.world.clock.jump(self.random.choice([3_600, 86_400]))
            before, self.now = self.now, self.world.clock.now_us()
            id, act = self.random.choice(list(self.owing)), self.random.choice(["pause", "resume"])
            self.world.ask(lambda engine, batch, id=id, act=act: getattr(engine.schedules, act)(id, batch))  # type: ignore[misc]
            for owing in self.owing.values():
                owing.jumped(before, self.now)
            getattr(self.owing[id], act)(self.now)
        self.world.crash()

    def backfill(self) -> None:
        id = self.random.choice(list(self.owing))
        begin, end = self.now - self.random.choice([1, 5, 40]) * 24 * HOUR_US, self.now - HOUR_US
        self.world.ask(lambda engine, batch: engine.schedules.backfill(id, begin, end, 1_000, batch))
        self._lived()
        self.owing[id].backfilled(begin, end)

    def trigger(self) -> None:
        id = self.random.choice(list(self.owing))
        self.world.ask(lambda engine, batch: engine.schedules.trigger(id, batch))
        self._lived()
        self.triggered[id] += 1

    def send(self) -> None:
        """Send an event, and often the same again."""
        number, kind, resource = len(self.sent), *self.random.choice([("fresh", "eu"), ("old", "eu"), ("fresh", None)])
        self.sent[number] = kind, resource
        for _ in range(self.random.randint(1, 2)):
            payload = {"kind": kind, "number": number}
            self.world.send_event("sent", payload, resource=resource, event_id=str(number))
        self._lived()

    def write(self) -> None:
        self.world.start("writes", self.writes, run_id=f"writes-{self.writes}")
        self.writes += 1
        self.world.run()
        self._lived()

    def lack(self) -> None:
        """A deploy comes without the schedules, and later another one with them."""
        begin = self.now
        self.world.advance(0)
        self._lived()
        self.world.restart(*OTHERS)
        self.world.advance(self.random.choice([1_000, 3_000, 9_000, 200_000]))
        now = self.world.clock.now_us()
        self.world.restart(*ALL)
        for owing in self.owing.values():
            owing.undeclared(begin, now)
        self.now = now

    # ── what must hold ──

    def check(self) -> None:
        created = [run.row() for run in self.world.runs()]
        details = [json.loads(self.world.ledger.entries(row.run, 0, 1)[0].detail or "{}") for row in created]
        causes = [(row, detail.get("cause") or {}) for row, detail in zip(created, details, strict=True)]
        assert {row.status for row in created} == {"completed"}
        for id, owing in self.owing.items():
            own = [cause for _, cause in causes if cause.get("schedule") == f"{id}/schedule"]
            owing.check([cause["tick"] for cause in own if cause["how"] != "triggered"])
            assert sum(cause["how"] == "triggered" for cause in own) >= self.triggered[id]
        self._check_events(
            Counter((row.workflow, cause["id"]) for row, cause in causes if cause.get("kind") == "event")
        )
        changes = Counter((row.workflow, cause["key"]) for row, cause in causes if cause.get("kind") == "change")
        written = {("seen", f"a{number}"): 1 for number in range(0, self.writes, 2)}
        assert changes == Counter(written) + Counter({("counted", "count"): max(0, self.writes - 1)})
        results = [self.world.handle(row.run_id).result() for row in created if row.workflow == "counted"]
        assert set(results) <= {1}, "two updates are one change"

    def _check_events(self, found: Counter[tuple[str, str]]) -> None:
        wanted: Counter[tuple[str, str]] = Counter()
        for number, (kind, resource) in self.sent.items():
            wanted["fresh", str(number)] += kind == "fresh"
            wanted["in-europe", str(number)] += resource == "eu"
        assert found == +wanted, "an event did not start what it was to start, once"
