"""Every reminder is written at its time, once, and none after the appointment was cancelled."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import workflows
from workflows import Appointment, remind_of_appointment

from perdure.testing import RuntimeClock, RuntimeFactory, assert_replays, crash_everywhere

MORNING = datetime(2030, 3, 1, 9, tzinfo=UTC)
DENTIST = Appointment(who="Ada", what="the dentist", at=MORNING)
IN_ORDER = ["the dentist is in a week", "the dentist is tomorrow", "the dentist is in an hour"]


@pytest.fixture(autouse=True)
def outbox(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    file = tmp_path / "reminders.txt"
    monkeypatch.setattr(workflows, "OUTBOX", str(file))
    return file


def written(outbox: Path) -> list[str]:
    """What a reader sees who drops what came twice under one key."""
    lines = outbox.read_text(encoding="utf-8").splitlines() if outbox.exists() else []
    return [line.split("Ada: ")[1] for line in dict.fromkeys(lines)]


def test_reminders_are_written_in_order_wherever_the_process_dies(outbox: Path) -> None:
    report = crash_everywhere(
        remind_of_appointment, DENTIST,
        invariants=[lambda simulation: written(outbox) == IN_ORDER], before=lambda: outbox.unlink(missing_ok=True),
    )  # fmt: skip
    assert report.outcome == ("completed", 3)


def test_reminders_come_at_their_times(
    perdure_runtime: RuntimeFactory, perdure_clock: RuntimeClock, outbox: Path
) -> None:
    with perdure_runtime(remind_of_appointment) as runtime:
        run = runtime.start(remind_of_appointment, DENTIST)
        perdure_clock.set(MORNING - timedelta(days=7, seconds=1))
        assert written(outbox) == []
        perdure_clock.set(MORNING - timedelta(days=1))
        assert written(outbox) == IN_ORDER[:2]
        perdure_clock.set(MORNING)
        assert run.result(timeout="10s") == 3
        assert_replays(run)


def test_a_moved_appointment_is_reminded_of_anew(
    perdure_runtime: RuntimeFactory, perdure_clock: RuntimeClock, outbox: Path
) -> None:
    with perdure_runtime(remind_of_appointment) as runtime:
        run = runtime.start(remind_of_appointment, DENTIST)
        perdure_clock.set(MORNING - timedelta(hours=2))
        run.signal("moved", DENTIST.model_copy(update={"at": MORNING + timedelta(days=30)}))
        perdure_clock.set(MORNING + timedelta(days=29, hours=23))
        assert written(outbox) == [*IN_ORDER[:2], *IN_ORDER]
        run.cancel()
        perdure_clock.advance("2d")
        assert (run.status(), len(written(outbox))) == ("cancelled", 5)
