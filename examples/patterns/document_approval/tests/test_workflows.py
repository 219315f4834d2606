"""A document is published when everybody has approved the same draft, and never before."""

from pathlib import Path

import pytest
import workflows
from workflows import Document, Review, approve_document

from perdure.testing import RuntimeClock, RuntimeFactory, assert_replays, crash_everywhere

HANDBOOK = Document(title="handbook", text="Be kind.", reviewers=["ann", "bob"])


@pytest.fixture(autouse=True)
def shelf(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(workflows, "SHELF", str(tmp_path / "published"))
    return tmp_path / "published" / "handbook.txt"


def test_it_is_published_wherever_the_process_dies(shelf: Path) -> None:
    report = crash_everywhere(
        approve_document, HANDBOOK, hooks={"review:*": {"by": "somebody", "approved": True}},
        invariants=[lambda simulation: shelf.read_text() == "Be kind."], before=lambda: shelf.unlink(missing_ok=True),
    )  # fmt: skip
    assert (report.outcome[1].published, report.outcome[1].drafts) == (True, 1)


def test_one_rejection_sends_it_back_and_the_next_draft_asks_everybody_again(
    perdure_runtime: RuntimeFactory, shelf: Path
) -> None:
    with perdure_runtime(approve_document) as runtime:
        run = runtime.start(approve_document, HANDBOOK)
        runtime.idle()
        runtime.resume_hook("review:handbook:1:bob", Review(by="bob", approved=False, comment="too short"))
        run.signal("revised", HANDBOOK.model_copy(update={"text": "Be kind, and on time."}))
        runtime.idle()
        runtime.resume_hook("review:handbook:2:ann", Review(by="ann", approved=True))
        assert not shelf.exists()
        runtime.resume_hook("review:handbook:2:bob", Review(by="bob", approved=True))
        outcome = run.result(timeout="10s")
        assert (outcome.published, outcome.drafts, len(outcome.reviews)) == (True, 2, 3)
        assert shelf.read_text() == "Be kind, and on time."
        assert_replays(run)


def test_a_document_that_nobody_revises_is_given_up(
    perdure_runtime: RuntimeFactory, perdure_clock: RuntimeClock, shelf: Path
) -> None:
    with perdure_runtime(approve_document) as runtime:
        run = runtime.start(approve_document, HANDBOOK)
        runtime.idle()
        runtime.resume_hook("review:handbook:1:ann", Review(by="ann", approved=False))
        perdure_clock.advance("30d")
        assert not run.result(timeout="10s").published
    assert not shelf.exists()
