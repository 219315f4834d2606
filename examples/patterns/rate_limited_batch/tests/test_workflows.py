"""No reader gets two mails, and the gateway never sees more than it allows."""

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest
import workflows
from workflows import Newsletter, Summary, send_mail, send_newsletter

from perdure.testing import RuntimeFactory, Simulation, crash_everywhere

TEN_A_SECOND = 10
NEWS = Newsletter(subject="What is new", readers=["ann@example.com", "nobody", "cy@example.com"])


@pytest.fixture(autouse=True)
def mails(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(workflows, "MAILS", str(tmp_path / "mails.sqlite"))
    return tmp_path / "mails.sqlite"


def test_every_reader_gets_one_mail_and_who_has_no_address_is_told(
    perdure_runtime: RuntimeFactory, mails: Path
) -> None:
    with perdure_runtime(send_newsletter, send_mail) as runtime:
        summary = runtime.start(send_newsletter, NEWS).result(timeout="10s")
    assert summary == Summary(sent=2, refused=["nobody"])
    with closing(sqlite3.connect(mails)) as opened:
        assert opened.execute("SELECT count(*), count(DISTINCT recipient) FROM mails").fetchone() == (2, 2)


def test_at_most_once_holds_wherever_the_process_dies() -> None:
    report = crash_everywhere(
        send_newsletter, NEWS.model_copy(update={"readers": ["ann@example.com"]}), workflows=[send_mail],
        steps={"hand_over": None}, invariants=[lambda simulation: len(simulation.effects("hand_over")) <= 1],
    )  # fmt: skip
    assert report.outcome == ("completed", Summary(sent=1, refused=[]))
    assert report.interrupted  # a mail that may have gone out counts as not sent: nobody knows


def test_the_rate_is_kept_over_any_second() -> None:
    readers = [f"reader{number}@example.com" for number in range(35)]
    with Simulation(send_newsletter, send_mail, steps={"hand_over": None}) as simulation:
        simulation.start(send_newsletter, Newsletter(subject="What is new", readers=readers))
        simulation.run()
        sent = [effect.at_us for effect in simulation.effects("hand_over")]
    assert len(sent) == 35
    assert all(later - earlier >= 1_000_000 for earlier, later in zip(sent, sent[TEN_A_SECOND:], strict=False))
