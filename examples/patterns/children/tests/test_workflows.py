"""A book is whole in the end, and children share the fate of their parent unless they were let go."""

from pathlib import Path

import pytest
import workflows
from workflows import Book, announce_book, translate_book, translate_chapter

from perdure.testing import RuntimeClock, RuntimeFactory, Simulation, SlowStep, assert_replays, crash_everywhere

CHILDREN = [translate_chapter, announce_book]
TALE = Book(title="tale", language="de", chapters=["once upon a time", "once a wug"])


@pytest.fixture(autouse=True)
def shelf(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(workflows, "SHELF", str(tmp_path / "shelf"))
    return tmp_path / "shelf" / "tale.txt"


def test_a_chapter_that_fails_is_left_as_it_was(
    perdure_runtime: RuntimeFactory, perdure_clock: RuntimeClock, shelf: Path
) -> None:
    with perdure_runtime(translate_book, *CHILDREN) as runtime:
        run = runtime.start(translate_book, TALE)
        perdure_clock.advance("1s")
        assert run.result(timeout="10s") == str(shelf)
        assert shelf.read_text(encoding="utf-8") == "einst auf einer Zeit\n[once a wug]\n"
        assert [child.status() for child in run.children()] == ["completed", "completed", "failed"]
        assert_replays(run)


def test_the_book_is_whole_wherever_the_process_dies(shelf: Path) -> None:
    report = crash_everywhere(
        translate_book, TALE.model_copy(update={"chapters": ["a time"]}), workflows=CHILDREN,
        invariants=[lambda simulation: shelf.read_text(encoding="utf-8") == "einer Zeit\n"],
    )  # fmt: skip
    assert report.outcome == ("completed", str(shelf))


def test_the_announcement_goes_on_when_the_book_is_cancelled() -> None:
    slow = SlowStep(call=1, step="translate", takes="1h")
    with Simulation(translate_book, *CHILDREN, faults=[slow]) as simulation:
        run = simulation.start(translate_book, TALE)
        simulation.advance("100ms")
        run.cancel()
        simulation.run()
        ended = [(each.status().workflow, each.status().status) for each in simulation.runs()]
    assert ended[:3] == [
        ("translate-book", "cancelled"),
        ("announce-book", "completed"),
        ("translate-chapter", "cancelled"),
    ]
