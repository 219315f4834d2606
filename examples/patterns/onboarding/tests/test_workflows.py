"""Whatever a user answers, and whenever, the right mails are sent once."""

from pathlib import Path

import mail
import pytest
from workflows import Answer, Signup, onboard

from perdure.strict import HookRefused
from perdure.testing import RuntimeClock, RuntimeFactory, Simulation, assert_replays, crash_everywhere

ANN = Signup(email="ann@example.com")


@pytest.fixture(autouse=True)
def outbox(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(mail, "OUTBOX", str(tmp_path / "outbox"))
    return tmp_path / "outbox"


@pytest.mark.parametrize(
    ("score", "outcome", "subjects"),
    [
        (10, "promoter", ["How is it going?", "Thank you", "Welcome"]),
        (7, "content", ["How is it going?", "Welcome"]),
        (2, "called back", ["How is it going?", "Welcome"]),
    ],
)
def test_an_answer_is_followed_up_wherever_the_process_dies(score: int, outcome: str, subjects: list[str]) -> None:
    def sent_once(simulation: Simulation) -> bool:
        return mail.subjects(ANN.email) == subjects

    report = crash_everywhere(onboard, ANN, hooks={"survey:*": {"score": score}}, invariants=[sent_once])
    assert report.outcome == ("completed", outcome)


def test_the_survey_waits_a_week_and_not_longer(perdure_runtime: RuntimeFactory, perdure_clock: RuntimeClock) -> None:
    with perdure_runtime(onboard) as runtime:
        run = runtime.start(onboard, ANN)
        perdure_clock.advance("9d")
        assert run.status() == "waiting_event"
        perdure_clock.advance("1d")
        assert run.result(timeout="10s") == "silent"
        assert_replays(run)
    assert mail.subjects(ANN.email) == ["How is it going?", "We are here", "Welcome"]


def test_an_answer_that_does_not_fit_is_refused_and_the_survey_stays_open(
    perdure_runtime: RuntimeFactory, perdure_clock: RuntimeClock
) -> None:
    with perdure_runtime(onboard) as runtime:
        run = runtime.start(onboard, ANN)
        perdure_clock.advance("3d")
        with pytest.raises(HookRefused):
            runtime.resume_hook("survey:ann@example.com", {"score": 11})
        runtime.resume_hook("survey:ann@example.com", Answer(score=7))
        assert run.result(timeout="10s") == "content"
