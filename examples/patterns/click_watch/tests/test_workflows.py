"""One watch for each invitee, however often and whenever they click, and nothing of it is left behind."""

from collections.abc import Iterator
from pathlib import Path

import mail
import pytest
from workflows import BOARD, INVITEES, WATCHES, WORKFLOWS, Click, Invitee, escalate, watch

from perdure.strict import BlockingRuntime, current_step, on_event
from perdure.testing import Crash, RuntimeClock, RuntimeFactory, Simulation, assert_replays

ANN = Invitee(email="ann@example.com", event="the party")


@pytest.fixture(autouse=True)
def outbox(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mail, "OUTBOX", str(tmp_path / "outbox"))


@pytest.fixture
def runtime(perdure_runtime: RuntimeFactory) -> Iterator[BlockingRuntime]:
    """A runtime with one invitation."""
    with perdure_runtime(*WORKFLOWS) as opened:
        opened.kv.namespace(INVITEES).put("inv:ann@example.com", ANN)
        yield opened


def click(runtime: BlockingRuntime) -> None:
    runtime.send_event("invitation.clicked", Click(email=ANN.email))
    runtime.idle()


def answer(runtime: BlockingRuntime, status: str) -> None:
    runtime.kv.namespace(INVITEES).update("inv:ann@example.com", lambda ann: ann.model_copy(update={"status": status}))
    runtime.idle()


def test_nobody_is_watched_before_the_first_click_and_nobody_twice(
    runtime: BlockingRuntime, perdure_clock: RuntimeClock
) -> None:
    assert runtime.runs(workflow="escalate") == []
    for _ in range(3):
        click(runtime)
    assert len(runtime.runs(workflow="escalate")) == 1


def test_patience_runs_out_twice_and_the_watch_ends(runtime: BlockingRuntime, perdure_clock: RuntimeClock) -> None:
    click(runtime)
    (watching,) = runtime.runs(workflow="escalate")
    perdure_clock.advance("1d")
    assert runtime.kv.namespace(BOARD).get(ANN.email) == "reminded"
    perdure_clock.advance("2d")
    run = runtime.handle(watching.run_id)
    assert run.result(timeout="10s") == "called"
    assert len(mail.sent()) == 2
    assert_replays(run)


@pytest.mark.parametrize("status", ["yes", "no"])
def test_an_answer_ends_the_watch_at_once(runtime: BlockingRuntime, perdure_clock: RuntimeClock, status: str) -> None:
    click(runtime)
    (watching,) = runtime.runs(workflow="escalate")
    answer(runtime, status)
    assert runtime.handle(watching.run_id).result(timeout="10s") == status
    assert runtime.kv.namespace(BOARD).get(ANN.email) == status
    assert (runtime.kv.namespace(WATCHES).list(), mail.sent()) == ({}, [])


def test_an_invitation_that_is_gone_leaves_nothing_behind(
    runtime: BlockingRuntime, perdure_clock: RuntimeClock
) -> None:
    click(runtime)
    (watching,) = runtime.runs(workflow="escalate")
    runtime.kv.namespace(INVITEES).delete("inv:ann@example.com")
    runtime.idle()
    assert runtime.handle(watching.run_id).result(timeout="10s") == "gone"
    assert (runtime.kv.namespace(BOARD).list(), runtime.kv.namespace(WATCHES).list(), mail.sent()) == ({}, {}, [])
    click(runtime)  # an old mail, clicked again
    assert len(runtime.runs(workflow="escalate")) == 1


def test_the_watch_goes_on_after_a_restart(perdure_runtime: RuntimeFactory, perdure_clock: RuntimeClock) -> None:
    with perdure_runtime(*WORKFLOWS) as runtime:
        runtime.kv.namespace(INVITEES).put("inv:ann@example.com", ANN)
        click(runtime)
    with perdure_runtime(*WORKFLOWS) as runtime:
        perdure_clock.advance("1d")
        click(runtime)
        assert len(runtime.runs(workflow="escalate")) == 1
        assert mail.sent() == ["ann@example.com: reminded: will you come to the party?"]


@on_event("test.invited")
async def invite(invitee: Invitee) -> None:
    await current_step().kv.namespace(INVITEES).put(f"inv:{invitee.email}", invitee)


def commits_of_the_story() -> range:
    with Simulation(*WORKFLOWS, invite) as simulation:
        play(simulation)
        return range(1, simulation.commits + 1)


def play(simulation: Simulation) -> None:
    simulation.send_event("test.invited", ANN)
    simulation.run(until="1s")
    for _ in range(2):
        simulation.send_event("invitation.clicked", Click(email=ANN.email))
        simulation.run(until="1s")
    simulation.run()


def test_one_watch_and_two_mails_wherever_the_process_dies(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for commit in commits_of_the_story():
        for when in ("before", "after"):
            monkeypatch.setattr(mail, "OUTBOX", str(tmp_path / f"{commit}-{when}"))
            with Simulation(*WORKFLOWS, invite, faults=[Crash(commit, when)]) as simulation:
                play(simulation)
                watches = [run.outcome() for run in simulation.runs() if run.status().workflow == escalate.id]
                assert watches == [("completed", "called")], f"{when} commit {commit}"
                assert len(mail.sent()) == 2
                clicks = [run for run in simulation.runs() if run.status().workflow == watch.id]
                assert [run.status() for run in clicks] == ["completed"] * len(clicks)
