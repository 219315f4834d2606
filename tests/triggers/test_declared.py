"""What has triggers is declared: found, indexed, given what it takes; a function stays a function and replays."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import declared
import pytest

from perdure import DbChange, Event, KvChange, MemoryLedger, ReceivedEvent, Runtime, Schedule
from perdure.declare.discovery import find_workflows
from perdure.declare.registry import Registry
from perdure.declare.subscriptions import Subscriptions, input_of_event
from perdure.declare.triggers import scheduled_input
from perdure.errors import DefinitionError, InvalidInput, RunFailed
from perdure.strict import on_event, workflow

TICK = int(datetime(2030, 1, 1, tzinfo=UTC).timestamp()) * 1_000_000


@pytest.fixture
def subscriptions() -> Subscriptions:
    return Subscriptions(Registry(find_workflows(declared)))


def test_functions_are_found_in_modules_beside_workflows() -> None:
    found = {definition.id: definition for definition in find_workflows(declared)}
    assert set(found) == {"greet", "note", "restock", "take-order", "nightly", "ping", "welcome"}
    assert found["note"].site.rpartition("/")[2].startswith("declared.py:")
    shown = {id: [str(trigger) for trigger in each.triggers] for id, each in found.items()}
    assert shown["note"] == ["event user.registered resource=eu"]
    assert shown["restock"] == ["kv put stock/inv:*"]
    assert shown["take-order"] == ["db insert orders"]
    assert shown["nightly"] == ["cron 0 3 * * * Europe/Berlin (night)"]


def test_a_decorated_function_stays_one() -> None:
    assert declared.note({"id": "u1"}, ReceivedEvent("t")) == ["u1", "t", None, None, None]
    assert declared.greet.__doc__ == "Greet."
    assert declared.greet.__name__ == "greet"


def ids(found: Any) -> list[str]:
    return [definition.id for definition in found]


def test_events_find_what_wants_them_each_once(subscriptions: Subscriptions) -> None:
    everyone = ReceivedEvent("user.registered", {})
    assert ids(subscriptions.to_event(everyone, {})) == ["greet", "welcome"]
    european = ReceivedEvent("user.registered", {}, resource="eu")
    assert ids(subscriptions.to_event(european, {})) == ["greet", "note", "welcome"]
    assert ids(subscriptions.to_event(ReceivedEvent("ping", None, "eu"), {})) == ["ping"]
    assert subscriptions.to_event(ReceivedEvent("nothing"), {}) == []
    assert subscriptions.wants_event("ping")
    assert not subscriptions.wants_event("nothing")


def test_changes_find_what_wants_them(subscriptions: Subscriptions) -> None:
    assert ids(subscriptions.to_kv_change("stock", "inv:1", "put")) == ["restock"]
    assert ids(subscriptions.to_kv_change("stock", "inv:1", "delete")) == []
    assert ids(subscriptions.to_kv_change("other", "inv:1", "put")) == []
    assert ids(subscriptions.to_db_change("orders", "insert")) == ["take-order"]
    assert ids(subscriptions.to_db_change("invoices", "insert")) == []


def test_schedules_are_found_under_the_workflow_and_their_name(subscriptions: Subscriptions) -> None:
    assert set(subscriptions.schedules) == {"nightly/night", "ping/schedule"}


def test_of_two_versions_the_newest_is_started_by_itself() -> None:
    @workflow(id="a", version="1", trigger=[Schedule("0 3 * * *"), Event("x")])
    async def one() -> None: ...

    @workflow(id="a", version="2", trigger=Schedule("0 4 * * *"))
    async def two() -> None: ...

    found = Subscriptions(Registry([one, two]))
    assert found.schedules["a/schedule"].schedule.cron == "0 4 * * *"
    assert found.to_event(ReceivedEvent("x"), {}) == []


def test_triggers_change_no_digest_and_are_not_recorded() -> None:
    async def body(input: None) -> None: ...

    plain = workflow(id="a")(body)
    triggered = workflow(id="a", trigger=Schedule("0 3 * * *", input=None))(body)
    assert plain.digest == triggered.digest
    assert triggered.triggers == (Schedule("0 3 * * *", name="schedule"),)


def test_a_scheduled_run_gets_the_tick_or_what_the_schedule_says_or_nothing() -> None:
    night = Schedule("0 3 * * *", name="night")
    assert scheduled_input(declared.nightly, night, TICK) == {
        "scheduled_at": datetime(2030, 1, 1, tzinfo=UTC),
        "schedule": "night",
    }
    assert scheduled_input(declared.ping, night, TICK) is None
    assert scheduled_input(declared.nightly, Schedule("0 3 * * *", input={"full": True}), TICK) == {"full": True}

    @workflow(id="a")
    async def takes_none(input: None) -> None: ...

    assert scheduled_input(takes_none, night, TICK) is None


def test_a_body_that_can_t_take_what_its_schedule_gives_is_refused_when_it_is_declared() -> None:
    with pytest.raises(DefinitionError, match="can't take what its schedule 'schedule' gives"):

        @workflow(id="a", trigger=Schedule("0 3 * * *"))
        async def a(input: int) -> None: ...

    with pytest.raises(DefinitionError, match=r"its input: .*valid integer"):

        @workflow(id="b", trigger=Schedule("0 3 * * *", input="many"))
        async def b(input: int) -> None: ...

    @workflow(id="c", trigger=Schedule("0 3 * * *", input=7))
    async def c(input: int) -> None: ...

    assert c.options.triggers


def test_an_event_s_payload_is_the_input_and_a_function_gets_the_event() -> None:
    event = ReceivedEvent("user.registered", {"id": "u"})
    assert input_of_event(declared.welcome, event) == {"id": "u"}
    assert input_of_event(declared.greet, event) is event


HAPPENED: list[tuple[str, Any, Any]] = [
    ("greet", ReceivedEvent("user.registered", {"id": "u1", "age": 3}), "hello u1, 3"),
    ("greet", {"type": "user.registered", "payload": {"id": "u1"}}, "hello u1, 0"),
    ("note", ReceivedEvent("t", {"id": 7}, "eu", "n", "e1"), [7, "t", "eu", "n", "e1"]),
    ("restock", KvChange("stock", "inv:1", "put", {"n": 5}, None), ["stock", "inv:1", "put", {"n": 5}, None]),
    ("take-order", DbChange("orders", "insert", "o1", {"cents": 1}), ["o1", {"cents": 1}]),
]


@pytest.mark.parametrize(("id", "happened", "result"), HAPPENED)
async def test_a_reaction_is_a_run_of_one_step_that_replays(id: str, happened: Any, result: Any) -> None:
    async with Runtime(MemoryLedger(), workflows=declared) as runtime:
        run = await runtime.start(id, happened)
        assert await run.result(timeout="20s") == result
        assert [entry.kind for entry in await run.history()] == ["created", "step", "step_completed", "completed"]
        assert (await run.replay()).ok


async def test_a_payload_that_does_not_fit_starts_nothing() -> None:
    async with Runtime(MemoryLedger(), workflows=declared) as runtime:
        with pytest.raises(InvalidInput, match=r"the payload of event 'user\.registered' does not fit 'greet': id"):
            await runtime.start("greet", ReceivedEvent("user.registered", {"name": "u1"}))
        assert await runtime.runs() == []


async def test_retries_are_those_of_the_step_and_a_failed_reaction_is_a_failed_run() -> None:
    calls = []

    @on_event("x", retries=1, id="fails")
    def local(payload: object) -> None:
        calls.append(payload)
        raise ValueError("no")

    async with Runtime(MemoryLedger(), workflows=[local]) as runtime:
        run = await runtime.start("fails", ReceivedEvent("x", 5))
        with pytest.raises(RunFailed, match="no"):
            await run.result(timeout="20s")
    assert calls == [5, 5]


def test_a_function_whose_name_was_given_away_is_refused() -> None:
    namespace: dict[str, Any] = {"__name__": "given_away", "on_event": on_event}
    exec("@on_event('x')\ndef twice(payload): ...\n", namespace)
    first = namespace["twice"]
    exec("@on_event('y', id='other')\ndef twice(payload): ...\n", namespace)
    with pytest.raises(DefinitionError, match="another twice was defined after it"):
        Registry([first])
    assert Registry([namespace["twice"]]).all() == [namespace["twice"]]


def test_a_key_on_a_queue_may_name_what_happened() -> None:
    @on_event("x", queue="q", key="{payload[customer]}")
    def keyed(payload: dict) -> None: ...

    assert keyed.queue_key(ReceivedEvent("x", {"customer": "c1"})) == "c1"
    with pytest.raises(DefinitionError, match="customer"):
        on_event("x", queue="q", key="{customer}")(lambda payload: None)
