"""The demo does what it claims, notices when it does not, and leaves nothing behind."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from pages import ROOT

EXAMPLES = ROOT / "examples"
sys.path.insert(0, str(EXAMPLES))

from account import Account  # noqa: E402  # the examples are scripts, found beside each other
from shop import Shop, fate  # noqa: E402


def demo_command(*options: str) -> list[str]:
    return [sys.executable, str(EXAMPLES / "demo.py"), "--orders", "40", "--pace", "0.02", *options]


@pytest.fixture
def temporary(tmp_path: Path) -> dict[str, str]:
    """An environment whose temporary folder is ours, so that what is left in it shows."""
    return {**os.environ, "TMPDIR": str(tmp_path), "PYTHONUTF8": "1"}


def test_demo_is_as_it_claims(temporary: dict[str, str], tmp_path: Path) -> None:
    done = subprocess.run(demo_command(), env=temporary, capture_output=True, text=True, timeout=110, encoding="utf-8")
    assert done.returncode == 0, done.stdout + done.stderr
    for said in (
        "kill -9 ", "0 of them were called again", "40 of 40 orders ended", "$ replay-check", "All as claimed",
        "SELECT", "DE",
    ):  # fmt: skip
        assert said in done.stdout, done.stdout
    assert "✗" not in done.stdout
    assert list(tmp_path.iterdir()) == [], "the demo left its folder behind"


@pytest.mark.skipif(os.name != "posix", reason="sends a POSIX signal")
def test_ctrl_c_ends_the_demo_and_its_worker(temporary: dict[str, str], tmp_path: Path) -> None:
    demo = subprocess.Popen(
        demo_command(), env=temporary, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
        start_new_session=True, encoding="utf-8",
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),  # a test run in the background ignores it
    )  # fmt: skip
    assert demo.stdout is not None
    with demo.stdout as lines:
        worker = 0
        for line in lines:
            if line.strip().startswith("worker "):
                worker = int(line.split()[1])
                break
        assert worker, "the demo ended before it had a worker"
        demo.send_signal(signal.SIGINT)
        rest = lines.read()
    assert demo.wait(timeout=60) == 130, rest
    assert "Stopped" in rest
    deadline = time.monotonic() + 10
    while _lives(worker):
        assert time.monotonic() < deadline, "the worker still lives"
        time.sleep(0.01)
    assert list(tmp_path.iterdir()) == []


def _lives(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


# ── the account: each claim can fail ─────────────────────────────────────────────────────────────


def fulfilled(shop: Shop, order: str) -> None:
    """A shop's books after one order, all of its calls made by the worker before the kill."""
    for path, question in (
        ("/stock/reserve", {"order_id": order, "sku": "MUG", "quantity": 1}),
        ("/cards/charge", {"order_id": order, "customer": "Ada", "cents": 100}),
        ("/carrier/label", {"order_id": order}),
        ("/carrier/pickup", {"order_id": order}),
        ("/mail/receipt", {"order_id": order}),
    ):
        while shop.answer(path, f"run:{path}", "worker/1", question)[0] == 503:
            pass


ORDER = next(f"T{number}" for number in range(100) if fate(f"T{number}") == "fine")
LOG = "INFO    perdure.run.fulfill-order: shipped order_id='T1'\n"


@pytest.fixture
def account() -> Account:
    account = Account(Shop())
    fulfilled(account.shop, ORDER)
    account.killed("worker/1", {"run:/stock/reserve"})
    account.ended(ORDER, "shipped")
    account.shop.answer("/carrier/check", "run:/carrier/check", "worker/2", {"order_id": ORDER, "country": "DE"})
    return account


def broken(account: Account, log: str = LOG) -> list[str]:
    return [claim.text for claim in account.claims(1, log) if not claim.holds]


def test_account_of_a_good_story_holds(account: Account) -> None:
    assert broken(account) == []


def test_account_notices_a_recorded_step_that_was_called_again(account: Account) -> None:
    account.shop.answer(
        "/stock/reserve", "run:/stock/reserve", "worker/2", {"order_id": ORDER, "sku": "MUG", "quantity": 1}
    )
    assert ["were recorded at the kill" in text for text in broken(account)] == [True]


def test_account_notices_a_second_charge(account: Account) -> None:
    question = {"order_id": ORDER, "customer": "Ada", "cents": 100}
    while account.shop.answer("/cards/charge", "another key", "worker/2", question)[0] == 503:
        pass
    assert ["cards were charged" in text or "the books" in text for text in broken(account)] == [True, True]


def test_account_notices_a_second_receipt(account: Account) -> None:
    account.shop.answer("/mail/receipt", "run:/mail/receipt", "worker/2", {"order_id": ORDER})
    assert ["receipts were mailed" in text for text in broken(account)] == [True]


def test_account_notices_an_order_that_is_lost_or_ends_wrongly(account: Account) -> None:
    account.ended(ORDER, "card-declined")
    assert any("orders ended" in text for text in broken(account))
    lost = Account(Shop())
    assert any("0 of 1 orders ended" in text for text in broken(lost))


def test_account_notices_books_that_are_not_straight(account: Account) -> None:
    account.shop.stock.clear()
    assert ["the books" in text for text in broken(account)] == [True]


def test_account_notices_a_line_that_was_logged_twice(account: Account) -> None:
    assert ["were logged" in text for text in broken(account, LOG + LOG)] == [True]
