"""Each command does what its help says, for people and with --json for programs."""

from __future__ import annotations

import json
import sys
from typing import Any

import pytest

COMMANDS = ("run", "list", "runs", "show", "start", "send", "cancel", "sql", "verify", "replay-check")


@pytest.mark.parametrize("command", COMMANDS)
def test_every_help_text_has_an_example_of_its_own_command(shop: Any, command: str) -> None:
    text = shop.ok(command, "--help")
    assert "Example" in text
    assert f"{'' if command == 'replay-check' else 'perdure '}{command} " in text.split("Example")[1]
    assert "--json" in text


def test_the_help_lists_every_command(shop: Any) -> None:
    text = shop.ok("--help")
    assert all(f"\n  {command} " in text for command in COMMANDS)


def test_list_shows_what_was_found_with_its_place(shop: Any) -> None:
    text = shop.ok("list", "orders.py")
    assert "fulfill-order" in text
    assert "orders.py:12" in text
    found = shop.json("list", "orders.py")
    assert [(each["id"], each["version"]) for each in found] == [
        ("fulfill-order", "1"),
        ("await-payment", "2"),
        ("fails", "1"),
    ]
    assert len(found[0]["digest"]) >= 32


def test_list_says_plainly_when_nothing_was_found(shop: Any) -> None:
    (shop.folder / "empty.py").write_text("x = 1\n")
    result = shop("list", "empty.py")
    assert result.exit_code == 1
    assert "No workflows in empty.py. A workflow is" in result.stdout
    assert shop("list", "empty.py", "--json").stdout == "[]\n"


def test_start_with_wait_runs_to_the_end_and_prints_the_output(shop: Any) -> None:
    assert json.loads(shop.start("fulfill-order", None, "--wait")) == {"outcome": "done", "charge": "charge-o1"}


def test_start_records_a_queued_run_that_a_worker_ends(shop: Any) -> None:
    text = shop.start("fulfill-order", None, "--run-id", "r1", "--tag", "tenant=42")
    assert "Run r1 is queued" in text
    assert shop.json("runs", shop.ledger)[0]["status"] == "queued"
    counts = shop.json("run", shop.ledger, "-w", "orders.py", "--until-idle")["counts"]
    assert counts == {"completed": 1}
    found = shop.json("runs", shop.ledger, "--tag", "tenant=42", "--status", "completed")
    assert [each["run_id"] for each in found] == ["r1"]
    assert shop.json("runs", shop.ledger, "--tag", "tenant=43") == []
    assert "r1" in shop.ok("runs", shop.ledger, "--since", "1h")


def test_the_same_key_is_the_same_run(shop: Any) -> None:
    first = json.loads(shop.start("fulfill-order", None, "--idempotency-key", "k", "--json"))
    again = json.loads(shop.start("fulfill-order", None, "--idempotency-key", "k", "--json"))
    assert first["run_id"] == again["run_id"]
    assert len(shop.json("runs", shop.ledger)) == 1


def test_an_input_may_come_from_a_file_or_from_standard_input(shop: Any) -> None:
    (shop.folder / "order.json").write_text('{"order_id": "o7", "cents": 1}')
    arguments = ("start", shop.ledger, "fulfill-order", "-w", "orders.py", "--wait", "--input")
    assert "charge-o7" in shop.ok(*arguments, "@order.json")
    assert "charge-o8" in shop.ok(*arguments, "-", input='{"order_id": "o8", "cents": 1}')


def test_show_has_status_history_and_values(shop: Any) -> None:
    shop.start("fulfill-order", None, "--wait", "--run-id", "r1")
    text = shop.ok("show", shop.ledger, "r1")
    assert "fulfill-order v1  run r1  completed" in text
    assert "charge_card" in text
    assert "orders.py:14" in text
    shown = shop.json("show", shop.ledger, "r1")
    assert [entry["kind"] for entry in shown["history"]] == ["created", "step", "step_completed", "completed"]
    assert shown["history"][2]["value"] == "charge-o1"


def test_show_says_until_when_a_run_was_put_off_and_nothing_of_one_that_was_not(shop: Any) -> None:
    shop.start("fulfill-order", None, "--run-id", "r1")
    shop.start("fulfill-order", None, "--run-id", "r2", "--delay", "1h")
    assert "until" not in shop.ok("show", shop.ledger, "r1").partition("created ")[2]
    assert "until" in shop.ok("show", shop.ledger, "r2").partition("created ")[2]


def test_show_at_has_one_entry_with_its_source_line_as_it_was(shop: Any) -> None:
    shop.start("fulfill-order", None, "--wait", "--run-id", "r1")
    shop.module.write_text("# all gone\n")
    text = shop.ok("show", shop.ledger, "r1", "--at", "1")
    assert "entry 1 of 4: step charge_card" in text
    assert "→   14      charge = await charge_card(input)" in text
    assert shop.json("show", shop.ledger, "r1", "--at", "2")["line"] == "charge = await charge_card(input)"
    result = shop("show", shop.ledger, "r1", "--at", "99")
    assert result.exit_code == 2
    assert "its entries are 0 to 3" in result.stderr


def test_show_names_what_an_open_run_waits_for(shop: Any) -> None:
    shop.start("await-payment", "o1", "--run-id", "w1")
    shop.ok("run", shop.ledger, "-w", "orders.py", "--until-idle")
    text = shop.ok("show", shop.ledger, "w1")
    assert "waits for wait_event paid payment.completed" in text
    assert "wait_event paid payment.completed" in shop.ok("runs", shop.ledger)


def test_send_wakes_the_runs_that_wait_and_says_how_many(shop: Any) -> None:
    shop.start("await-payment", "o1", "--run-id", "w1")
    shop.ok("run", shop.ledger, "-w", "orders.py", "--until-idle")
    sent = ("send", shop.ledger, "payment.completed", "-w", "orders.py", "--payload")
    assert "woke 0 runs" in shop.ok(*sent, '{"order_id": "other"}')
    assert "woke 1 run." in shop.ok(*sent, '{"order_id": "o1", "by": "card"}')
    shown = shop.json("show", shop.ledger, "w1")
    assert shown["status"] == "completed"
    assert shown["history"][-1]["value"] == "card"


def test_cancel_stops_an_open_run_and_says_so_of_an_ended_one(shop: Any) -> None:
    shop.start("await-payment", "o1", "--run-id", "w1")
    shop.ok("run", shop.ledger, "-w", "orders.py", "--until-idle")
    assert shop.json("cancel", shop.ledger, "w1", "-w", "orders.py") == {
        "run_id": "w1",
        "cancelled": True,
        "status": "cancelled",
    }
    assert "had ended already: cancelled" in shop.ok("cancel", shop.ledger, "w1", "-w", "orders.py")


def test_sql_reads_the_views(shop: Any) -> None:
    shop.start("fulfill-order", None, "--wait", "--run-id", "r1")
    query = "SELECT run_id, status FROM runs"
    assert shop.json("sql", shop.ledger, query) == [{"run_id": "r1", "status": "completed"}]
    assert "r1" in shop.ok("sql", shop.ledger, query)


def test_sql_writes_nothing(shop: Any) -> None:
    shop.start("fulfill-order", None, "--wait")
    result = shop("sql", shop.ledger, "DELETE FROM runs")
    assert result.exit_code == 2
    assert len(shop.json("runs", shop.ledger)) == 1


def test_verify_proves_a_sound_ledger(shop: Any) -> None:
    shop.start("fulfill-order", None, "--wait")
    assert "sound" in shop.ok("verify", shop.ledger)
    assert shop.json("verify", shop.ledger)["ok"] is True


def test_a_table_at_a_pipe_cuts_nothing(shop: Any) -> None:
    run_id = "r" * 200
    shop.start("fulfill-order", None, "--wait", "--run-id", run_id)
    assert run_id in shop.ok("runs", shop.ledger)


def test_markup_in_values_is_shown_as_it_is(shop: Any) -> None:
    shop.start("fulfill-order", {"order_id": "[bold]x[/bold]", "cents": 1}, "--wait", "--run-id", "[red]r")
    assert "[bold]x[/bold]" in shop.ok("show", shop.ledger, "[red]r")
    assert "[red]r" in shop.ok("runs", shop.ledger)


def test_the_modules_of_the_commands_leave_the_engine_s_path_alone(shop: Any) -> None:
    assert "orders" not in sys.modules
    shop.ok("list", "orders.py")
    assert "orders" in sys.modules
