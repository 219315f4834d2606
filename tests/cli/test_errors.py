"""What can go wrong is told on stderr with where and fix, exit code 2, and never a traceback."""

from __future__ import annotations

import json
import re
from typing import Any

import duckdb
import pytest


def told(result: Any, *texts: str) -> None:
    """The command failed with these texts on stderr, and nothing else came out."""
    assert result.exit_code == 2, result.output
    assert "Traceback" not in result.output
    assert result.exception is None or isinstance(result.exception, SystemExit)
    for text in texts:
        assert text in result.stderr, result.stderr
    assert result.stdout == ""


@pytest.mark.parametrize(
    "command",
    [
        ("runs",),
        ("show", "r1"),
        ("sql", "SELECT 1"),
        ("verify",),
        ("send", "paid", "-w", "orders.py"),
        ("cancel", "r1", "-w", "orders.py"),
        ("replay-check", "-w", "orders.py"),
    ],
    ids=lambda command: command[0],
)
def test_a_ledger_that_is_not_there_is_named_and_not_made(shop: Any, command: tuple[str, ...]) -> None:
    told(
        shop(command[0], "nowhere.duckdb", *command[1:]),
        "there is no ledger 'nowhere.duckdb'",
        "perdure run nowhere.duckdb",
    )
    assert not (shop.folder / "nowhere.duckdb").exists()


def test_an_unknown_run_is_named(shop: Any) -> None:
    shop.start("fulfill-order", None, "--wait")
    told(shop("show", shop.ledger, "nobody"), "UnknownRun [RUN103]", "'nobody'", "perdure runs")
    told(shop("cancel", shop.ledger, "nobody", "-w", "orders.py"), "UnknownRun [RUN103]")
    told(shop("replay-check", shop.ledger, "-w", "orders.py", "--run", "nobody"), "UnknownRun [RUN103]")


def test_an_unknown_workflow_lists_the_known_ones(shop: Any) -> None:
    result = shop("start", shop.ledger, "fulfil", "-w", "orders.py")
    told(result, "UnknownWorkflow [RUN101]", "await-payment, fails, fulfill-order")


def test_an_input_that_does_not_fit_starts_nothing(shop: Any) -> None:
    result = shop("start", shop.ledger, "fulfill-order", "-w", "orders.py", "--input", '{"order_id": "o1"}')
    told(result, "InvalidInput [RUN102]", "cents")
    result = shop("start", shop.ledger, "fulfill-order", "-w", "orders.py", "--input", "{order_id: o1}")
    told(result, "--input is no JSON", "quote it for the shell")
    assert shop.json("runs", shop.ledger) == [] if shop.ledger.exists() else True


def test_a_failed_run_is_told_by_start(shop: Any) -> None:
    result = shop("start", shop.ledger, "fails", "-w", "orders.py", "--input", '"no such order"', "--wait")
    told(result, "RunFailed [RUN201]", "no such order")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("import nowhere_at_all\n", "ModuleNotFoundError: No module named 'nowhere_at_all'"),
        ("def broken(:\n", "SyntaxError"),
        ("1 / 0\n", "ZeroDivisionError"),
        ("raise SystemExit(3)\n", "ends the process"),
    ],
)
def test_a_module_that_fails_to_import_is_named_with_its_line(shop: Any, text: str, said: str) -> None:
    (shop.folder / "broken.py").write_text("\n" + text)
    told(shop("list", "broken.py"), "DefinitionError [DEF101]", said)
    if "SystemExit" not in text:
        told(shop("list", "broken.py"), "broken.py:2")


def test_a_module_that_is_not_there_says_where_it_was_looked_for(shop: Any) -> None:
    told(shop("list", "nowhere"), "there is no module 'nowhere'", str(shop.folder))
    told(shop("list", "nowhere.py"), "there is no file or folder 'nowhere.py'")


def test_findings_of_the_policy_are_all_printed_with_their_places(shop: Any) -> None:
    (shop.folder / "bad.py").write_text(
        "import os\nfrom perdure.strict import workflow\n\n@workflow()\nasync def bad(input):\n"
        "    open('x')\n    return os.environ['HOME']\n"
    )
    told(shop("list", "bad.py"), "PolicyViolation [BOX101]", "bad.py:6:5", "bad.py:7:12")


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("runs", "--status", "done"), "--status 'done' is no status"),
        (("runs", "--tag", "tenant"), "--tag 'tenant' is no tag"),
        (("runs", "--since", "yesterday"), "since='yesterday'"),
        (("sql", "SELEKT 1"), "SELEKT"),
        (("sql", "SELECT * FROM nowhere"), "nowhere"),
    ],
)
def test_wrong_options_say_what_is_right(shop: Any, arguments: tuple[str, ...], said: str) -> None:
    shop.start("fulfill-order", None, "--wait")
    told(shop(arguments[0], shop.ledger, *arguments[1:]), said)


@pytest.mark.parametrize(
    ("arguments", "said", "example"),
    [
        (("run",), "Missing argument 'LEDGER'", "perdure run orders.duckdb"),
        (("run", "x.duckdb", "--wach"), "--watch", "perdure run orders.duckdb"),
        (("show", "x.duckdb"), "Missing argument 'RUN'", "perdure show orders.duckdb order-1"),
    ],
)
def test_a_wrong_command_line_is_told_with_an_example(
    shop: Any, arguments: tuple[str, ...], said: str, example: str
) -> None:
    told(shop(*arguments), said, f"For example: {example}")


@pytest.mark.parametrize(
    ("arguments", "example"),
    [
        (("x.duckdb",), "runs x.duckdb"),
        (("schedules", "x.duckdb"), "schedules list x.duckdb"),
        (("history", "x.duckdb"), "history export x.duckdb"),
    ],
)
def test_a_ledger_where_a_command_belongs_is_told_with_an_example(
    shop: Any, arguments: tuple[str, ...], example: str
) -> None:
    result = shop(*arguments)
    told(result, "No such command 'x.duckdb'")
    assert re.search(rf"^For example: \w+ {example}$", result.stderr, re.MULTILINE)


def test_a_word_that_is_no_command_is_told_with_the_one_that_was_meant(shop: Any) -> None:
    told(shop("rnu"), "No such command 'rnu'", "'run'")


def test_nothing_at_all_shows_what_there_is(shop: Any) -> None:
    result = shop()
    for word in ("run ", "list ", "replay-check", "perdure new", "perdure run orders.duckdb --watch"):
        assert word in result.output


def test_a_module_without_workflows_is_no_worker(shop: Any) -> None:
    (shop.folder / "empty.py").write_text("x = 1\n")
    told(shop("run", shop.ledger, "-w", "empty.py"), "'empty.py' has no workflows")
    assert not shop.ledger.exists()


def test_a_file_that_is_no_ledger_is_told(shop: Any) -> None:
    (shop.folder / "notes.duckdb").write_text("dear diary" * 1000)
    told(shop("runs", "notes.duckdb"), "notes.duckdb")


def test_an_altered_entry_is_told_by_verify(recorded: Any) -> None:
    with duckdb.connect(str(recorded.ledger)) as connection:
        connection.execute("UPDATE _ledger.entries SET name = 'charge_cart' WHERE run = 1 AND position = 1")
    result = recorded("verify", recorded.ledger)
    assert result.exit_code == 1
    assert "run r1, entry 1: " in result.stdout
    assert "not as it was written" in result.stdout
    found = json.loads(recorded("verify", recorded.ledger, "--json").stdout)
    assert found["ok"] is False
    assert (found["faults"][0]["run_id"], found["faults"][0]["position"]) == ("r1", 1)
