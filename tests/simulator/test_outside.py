"""The outside of a simulation: services that fakes play, events that come when somebody waits, and forgotten memory."""

from __future__ import annotations

import warnings
from typing import Any, ClassVar

import pytest

from perdure import DeterminismWarning, RunCancelled, RunFailed
from perdure import workflow as lenient_workflow
from perdure.errors import DefinitionError
from perdure.strict import step, workflow
from perdure.testing import (
    CancelRun,
    Crash,
    LawBroken,
    Simulation,
    StepError,
    crash_everywhere,
    failing,
    idempotent,
    results,
)
from perdure.testing.simulated_run import SimulatedRun


class Declined(Exception):
    """What a fake raises."""


@step(retries=2)
async def charge(cents: int) -> str:
    raise AssertionError("every test here has a fake for it")


@workflow(id="charging")
async def charging(input: int, step) -> list[str]:
    return [await charge(cents) for cents in range(input)]


def lived(fake: Any, *, input: int = 1, **options: Any) -> Simulation:
    """Live through `charging` with a fake, and check the laws."""
    with Simulation(charging, steps={charge: fake}, **options) as simulation:
        simulation.start(charging, input)
        simulation.run()
    return simulation


def outcome(simulation: Simulation) -> Any:
    (run,) = simulation.runs()
    return run.outcome()


# ── one answer after another ─────────────────────────────────────────────────────────────────────


def test_results_come_one_after_another_and_the_last_one_stays() -> None:
    assert outcome(lived(results("a", "b"), input=4)) == ("completed", ["a", "b", "b", "b"])


def test_results_may_be_exceptions_and_functions() -> None:
    simulation = lived(results(Declined("no"), lambda cents: f"paid {cents}"))
    assert outcome(simulation) == ("completed", ["paid 0"])
    assert [effect.error is None for effect in simulation.effects()] == [False, True]


def test_an_attempt_that_a_crash_repeats_gets_the_same_result_again() -> None:
    simulation = lived(results("a", "b", "c"), input=3, faults=[Crash(2), Crash(4)])
    assert outcome(simulation) == ("completed", ["a", "b", "c"])
    assert [effect.result for effect in simulation.effects()] == ["a", "a", "b", "b", "c"]


def test_an_exception_that_is_raised_again_and_again_has_its_last_traceback_alone() -> None:
    error = Declined("no")
    lengths = set()
    for _ in range(3):
        (run,) = lived(error).runs()
        with pytest.raises(RunFailed) as failed:
            run.result()
        lengths.add(len(failed.value.__cause__.traceback_text))  # type: ignore[union-attr]  # a step's error has one
    assert len(lengths) == 1


def test_acts_begin_afresh_in_every_simulation() -> None:
    fake = results("a", "b")
    assert outcome(lived(fake)) == outcome(lived(fake)) == ("completed", ["a"])
    service = idempotent("ch")
    assert len(lived(service).effects()) == len(lived(service).effects()) == 1


# ── failing at first ─────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(("times", "ending"), [(1, ("completed", ["ch"])), (2, ("completed", ["ch"])), (3, "failed")])
def test_the_first_attempts_fail_and_the_next_one_succeeds(times: int, ending: Any) -> None:
    found = outcome(lived(failing(times, Declined("no"), then="ch")))
    assert found == ending if times < 3 else found[0] == ending


def test_a_crash_does_not_count_as_an_attempt_that_failed() -> None:
    report = crash_everywhere(charging, 2, steps={charge: failing(2, Declined, then="ch")})
    assert report.outcome == ("completed", ["ch", "ch"])


# ── remembering keys ─────────────────────────────────────────────────────────────────────────────


def charges_once(simulation: Simulation) -> bool:
    keys = [effect.key for effect in simulation.effects("charge")]
    return len(keys) == len(set(keys))


async def charged_slowly(cents: int) -> str:
    return f"ch_{cents}"


@pytest.mark.parametrize("what", ["ch_0", lambda cents: f"ch_{cents}", charged_slowly], ids=["value", "sync", "async"])
def test_a_service_that_knows_the_key_answers_as_before_and_does_nothing_again(what: Any) -> None:
    report = crash_everywhere(charging, 1, steps={charge: idempotent(what)}, invariants=[charges_once])
    assert report.outcome == ("completed", ["ch_0"])
    with pytest.raises(LawBroken, match="charges_once"):
        crash_everywhere(charging, 1, steps={charge: what}, invariants=[charges_once])


def test_an_answer_that_got_lost_is_given_again_under_the_same_key() -> None:
    simulation = lived(idempotent(lambda cents: f"ch_{cents}"), faults=[StepError(1, when="after")])
    assert outcome(simulation) == ("completed", ["ch_0"])
    assert len(simulation.effects("charge")) == 1
    assert simulation.calls == 2


def test_a_service_does_not_remember_what_it_refused() -> None:
    simulation = lived(idempotent(results(Declined("busy"), "ch")))
    assert outcome(simulation) == ("completed", ["ch"])


@pytest.mark.parametrize(
    "fake", [results("a", 5), failing(1, Declined(), then=5), idempotent(5), idempotent(lambda: "ch")]
)
def test_what_an_act_plays_is_checked_against_the_step(fake: Any) -> None:
    with pytest.raises(DefinitionError, match="the fake of step 'charge'"):
        Simulation(charging, steps={charge: fake})


def test_acts_that_can_not_be_played_are_refused() -> None:
    with pytest.raises(DefinitionError, match="nothing to give"):
        results()
    with pytest.raises(DefinitionError, match="failing\\(0"):
        failing(0, Declined())
    with pytest.raises(DefinitionError, match="raises no exception"):
        failing(1, "no")  # type: ignore[arg-type]


# ── events, and whoever else is outside ──────────────────────────────────────────────────────────


@workflow(id="two-waits")
async def two_waits(input: str, step) -> list[Any]:
    paid = await step.wait_for_event("paid", type="paid", match={"order": input}, timeout="1d")
    sent = await step.wait_for_event("sent", type="sent", timeout="1d")
    return [paid, sent]


def test_an_event_carries_what_the_wait_must_match() -> None:
    report = crash_everywhere(two_waits, "o1", events={"paid": {"cents": 5}, "sent": lambda wanted: list(wanted)})
    assert report.outcome == ("completed", [{"cents": 5, "order": "o1"}, []])


def test_an_event_that_can_not_match_is_refused_with_what_the_wait_wants() -> None:
    with pytest.raises(DefinitionError, match="does not match: 5") as refused:
        crash_everywhere(two_waits, "o1", events={"paid": 5})
    assert '{"order":"o1"}' in refused.value.why


def test_who_plays_the_outside_is_asked_in_every_life_until_it_does_nothing() -> None:
    def outside(simulation: Simulation, run: SimulatedRun) -> None:
        names = [each.name for each in run.status().waits_for]
        if "paid" in names:
            simulation.send_event("paid", {"order": "o1"})
        elif "sent" in names:
            simulation.advance("1h")
            simulation.send_event("sent", "by mail")

    assert crash_everywhere(two_waits, "o1", during=outside).outcome == ("completed", [{"order": "o1"}, "by mail"])


def test_an_outside_that_never_rests_is_named() -> None:
    def restless(simulation: Simulation, run: SimulatedRun) -> None:
        simulation.advance("1s")

    with pytest.raises(DefinitionError, match="during=restless has done something"):
        crash_everywhere(two_waits, "o1", during=restless)


@pytest.mark.parametrize(("run_id", "cancelled"), [(None, "run-1"), ("run-2", "run-2")])
def test_a_scheduled_cancel_meets_the_run_that_it_names(run_id: str | None, cancelled: str) -> None:
    with Simulation(two_waits, faults=[CancelRun(3, run_id)]) as simulation:
        runs = [simulation.start(two_waits, order) for order in ("o1", "o2")]
        simulation.send_event("paid", {"order": "o1"})
        simulation.run(until=0)
        assert [run.run_id for run in runs if run.status() == "cancelled"] == [cancelled]
        with pytest.raises(RunCancelled):
            simulation.handle(cancelled).result()
        assert f"cancels {run_id or 'the oldest open run'}" in simulation.tell()


# ── what a process forgets ───────────────────────────────────────────────────────────────────────


class Kept:
    """What only strict mode refuses: containers of a class."""

    by_name: ClassVar[dict[str, int]] = {"old": 1}
    names: ClassVar[list[str]] = []
    nested: ClassVar[dict[str, list[str]]] = {"names": []}


with warnings.catch_warnings():
    warnings.simplefilter("ignore", DeterminismWarning)

    @lenient_workflow(id="keeping")
    async def keeping(input: str, step) -> list[Any]:
        Kept.by_name[input] = len(Kept.names)
        Kept.names.append(input)
        Kept.nested["names"].append(input)
        await step.sleep("1h")
        return [list(Kept.by_name), list(Kept.names)]


def test_a_life_begins_without_what_the_code_kept_in_the_one_before() -> None:
    simulation = Simulation(keeping)
    run = simulation.start(keeping, "a")
    simulation.crash()
    assert (Kept.by_name, Kept.names, Kept.nested) == ({"old": 1}, [], {"names": []})
    assert run.result() == [["old", "a"], ["a"]]
    assert (Kept.by_name, Kept.names) == ({"old": 1, "a": 0}, ["a"])
    simulation.close()
    assert (Kept.by_name, Kept.names) == ({"old": 1}, [])
