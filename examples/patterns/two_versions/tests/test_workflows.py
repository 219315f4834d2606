"""Whoever began under version 1 ends under it, and version 2 takes over for the others."""

from pathlib import Path

import pytest
import workflows
from workflows import Signup, welcome_v1, welcome_v2

from perdure.testing import Restart, RuntimeClock, RuntimeFactory, Simulation, assert_replays


@pytest.fixture(autouse=True)
def outbox(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    file = tmp_path / "outbox.txt"
    monkeypatch.setattr(workflows, "OUTBOX", str(file))
    return file


def subjects(outbox: Path, email: str) -> list[str]:
    lines = [line.partition("\t")[2] for line in outbox.read_text(encoding="utf-8").splitlines()]
    return [line.removeprefix(f"{email}: ") for line in lines if line.startswith(email)]


def test_a_deploy_in_the_middle_changes_nothing_for_those_who_began(
    perdure_runtime: RuntimeFactory, perdure_clock: RuntimeClock, outbox: Path
) -> None:
    with perdure_runtime(welcome_v1) as runtime:
        ann = runtime.start("welcome", Signup(email="ann@example.com"))
        perdure_clock.advance("1d")
    with perdure_runtime(welcome_v1, welcome_v2) as runtime:
        bob = runtime.start("welcome", Signup(email="bob@example.com", plan="team"))
        perdure_clock.advance("3d")
        ann = runtime.handle(ann.run_id)
        assert (ann.result(timeout="10s"), bob.result(timeout="10s")) == (
            "welcomed in two mails",
            "welcomed in three mails",
        )
        assert_replays(ann)
        assert_replays(bob)
    assert subjects(outbox, "ann@example.com") == ["Welcome", "How is it going?"]
    assert subjects(outbox, "bob@example.com")[0] == "Welcome to your team plan"


def test_old_users_are_welcomed_to_the_end_by_code_that_is_gone(
    perdure_runtime: RuntimeFactory, perdure_clock: RuntimeClock, outbox: Path
) -> None:
    with perdure_runtime(welcome_v1) as runtime:
        ann = runtime.start("welcome", Signup(email="ann@example.com"))
        perdure_clock.settle()
    with perdure_runtime(welcome_v2) as runtime:  # version 1 was deleted too early: the ledger has its code
        perdure_clock.advance("3d")
        assert runtime.handle(ann.run_id).result(timeout="10s") == "welcomed in two mails"
    assert subjects(outbox, "ann@example.com") == ["Welcome", "How is it going?"]


@pytest.mark.parametrize("commit", range(1, 7))
def test_it_makes_no_difference_when_the_deploy_comes(commit: int) -> None:
    deploy = Restart(commit, (welcome_v1, welcome_v2))
    with Simulation(welcome_v1, steps={"write_to": None}, faults=[deploy]) as simulation:
        run = simulation.start("welcome", Signup(email="ann@example.com"), version="1")
        assert run.result() == "welcomed in two mails"
