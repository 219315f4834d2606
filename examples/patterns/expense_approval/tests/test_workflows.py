"""An expense is decided by whom it concerns, and each of them is asked once."""

from decimal import Decimal
from pathlib import Path

import pytest
import workflows
from workflows import Expense, Verdict, approve_expense

from perdure.strict import HookRefused
from perdure.testing import RuntimeClock, RuntimeFactory, assert_replays, crash_everywhere

YES = {"approved": True, "by": "somebody"}


@pytest.fixture(autouse=True)
def inbox(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(workflows, "INBOX", str(tmp_path / "inbox"))
    return tmp_path / "inbox"


def expense(amount: str) -> Expense:
    return Expense(number="e1", who="Ada", amount=Decimal(amount), managers=["Bob", "Cy"])


def asked(inbox: Path) -> list[str]:
    return sorted(link.name.partition("-")[0] for link in inbox.glob("*.txt"))


def test_a_big_one_needs_both_wherever_the_process_dies(inbox: Path) -> None:
    report = crash_everywhere(
        approve_expense, expense("9000"), hooks={"expense:*": YES},
        invariants=[lambda simulation: asked(inbox) == ["Bob", "finance"]],
    )  # fmt: skip
    assert report.outcome[1].status == "approved"


def test_a_small_one_asks_nobody(perdure_runtime: RuntimeFactory, inbox: Path) -> None:
    with perdure_runtime(approve_expense) as runtime:
        assert runtime.start(approve_expense, expense("100")).result(timeout="10s").status == "approved"
    assert asked(inbox) == []


def test_who_does_not_answer_is_passed_over_and_may_not_answer_any_more(
    perdure_runtime: RuntimeFactory, perdure_clock: RuntimeClock
) -> None:
    with perdure_runtime(approve_expense) as runtime:
        run = runtime.start(approve_expense, expense("200"))
        perdure_clock.advance("2d")
        with pytest.raises(HookRefused):
            runtime.resume_hook("expense:e1:manager:Bob", YES)
        runtime.resume_hook("expense:e1:manager:Cy", Verdict(approved=False, by="Cy", why="no receipt"))
        decision = run.result(timeout="10s")
        assert (decision.status, decision.trail) == ("rejected", ["Bob did not answer", "Cy rejected: no receipt"])
        assert_replays(run)


def test_one_that_nobody_answers_is_not_approved(perdure_runtime: RuntimeFactory, perdure_clock: RuntimeClock) -> None:
    with perdure_runtime(approve_expense) as runtime:
        run = runtime.start(approve_expense, expense("200"))
        perdure_clock.advance("4d")
        assert run.result(timeout="10s").status == "nobody answered"
