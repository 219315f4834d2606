"""`perdure upgrade` and `perdure list --open`: what a deploy meets, and the move to today's code."""

from __future__ import annotations

import json
from typing import Any

import pytest

LATER = ('return paid["by"]', 'return paid["by"] + "!"')
EARLIER = ("    paid = await", '    await step.run("audit", str, input)\n    paid = await')
UPGRADE = ("upgrade", "orders.duckdb", "-w", "orders.py")


def test_nothing_to_move_is_said_plainly(recorded: Any) -> None:
    assert "there is nothing to move" in recorded.ok(*UPGRADE)


def test_a_dry_run_shows_what_would_move_and_writes_nothing(recorded: Any) -> None:
    recorded.rewrite(*LATER)
    for _ in range(2):
        shown = recorded.process(*("perdure", *UPGRADE))
        assert shown.returncode == 0, shown.stderr
        assert "would move" in shown.stdout
        assert "1 run would move to today's code; add --apply to move it." in shown.stdout


def test_apply_moves_and_the_ledger_stays_sound(recorded: Any) -> None:
    recorded.rewrite(*LATER)
    assert "1 run moved to today's code." in recorded.ok(*UPGRADE, "--apply")
    assert "there is nothing to move" in recorded.ok(*UPGRADE, "--apply")
    assert "upgraded" in recorded.ok("show", "orders.duckdb", "w1")
    assert "sound" in recorded.ok("verify", "orders.duckdb")
    recorded.ok("replay-check", "orders.duckdb", "-w", "orders.py", "--open")
    recorded.ok("replay-check", "orders.duckdb", "-w", "orders.py", "--open", "--code", "pinned")
    recorded.rewrite(*EARLIER)
    assert recorded(*UPGRADE).exit_code == 1


def test_what_diverges_is_shown_with_its_cause_and_stays(recorded: Any) -> None:
    recorded.rewrite(*EARLIER)
    done = recorded(*UPGRADE, "--apply")
    assert done.exit_code == 1
    assert "Divergence [REPLAY201]" in done.stdout
    assert "step added" in done.stdout
    assert "1 run diverged from it and stays as it is." in done.stdout
    (group,) = json.loads(recorded(*UPGRADE, "--json").stdout)["divergences"]
    assert group["run_ids"] == ["w1"]
    assert group["position"] == 1


def test_json_says_what_moved(recorded: Any) -> None:
    recorded.rewrite(*LATER)
    document = json.loads(recorded.ok(*UPGRADE, "--apply", "--json"))
    assert (document["applied"], document["moved"], document["run_ids"]) == (True, 1, ["w1"])
    (workflow,) = document["workflows"]
    assert workflow["workflow"] == "await-payment"
    assert workflow["from"]["version"] == workflow["to"]["version"] == "2"
    assert workflow["from"]["digest"] != workflow["to"]["digest"]


def test_a_run_whose_workflow_is_gone_can_not_be_checked(recorded: Any) -> None:
    recorded.rewrite('id="await-payment"', 'id="other"')
    done = recorded(*UPGRADE)
    assert done.exit_code == 2
    assert "no workflow has the id 'await-payment'" in done.stdout


def test_a_version_that_is_gone_moves_to_the_newest_or_to_the_one_that_is_asked_for(recorded: Any) -> None:
    recorded.rewrite('id="await-payment", version="2"', 'id="await-payment", version="3"')
    assert "v3" in recorded.ok(*UPGRADE)
    assert "v3" in recorded.ok(*UPGRADE, "--run", "w1", "--to-version", "3", "--apply")
    assert recorded.json("runs", "orders.duckdb", "--workflow", "await-payment")[0]["version"] == "3"


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--to-version", "9"), "the runs of all were asked for"),
        (("--to-version", "9", "--workflow", "await-payment"), "has no version '9'"),
        (("--workflow", "await-paiment"), "no run of workflow 'await-paiment'"),
        (("--run", "w9"), "no run 'w9'"),
        (("--run", "r1"), "has ended"),
    ],
)
def test_a_mistake_is_told_and_nothing_is_written(recorded: Any, arguments: tuple[str, ...], said: str) -> None:
    done = recorded(*UPGRADE, *arguments, "--apply")
    assert done.exit_code == 2
    assert said in done.stderr


# ── list --open ──────────────────────────────────────────────────────────────────────────────────


def test_open_runs_are_listed_by_their_code(recorded: Any) -> None:
    command = ("list", "--open", "orders.duckdb", "-w", "orders.py")
    assert "the same" in recorded.ok(*command)
    recorded.rewrite(*LATER)
    shown = recorded.ok(*command)
    assert "older, 2 lines differ" in shown
    assert "1 waiting_event" in shown
    (group,) = recorded.json(*command)
    assert (group["workflow"], group["runs"], group["standing"]) == ("await-payment", 1, "older")
    assert group["oldest_run_id"] == "w1"
    recorded.rewrite('id="await-payment", version="2"', 'id="await-payment", version="3"')
    assert "version not registered any more" in recorded.ok(*command)
    recorded.rewrite('id="await-payment"', 'id="other"')
    assert "not registered any more" in recorded.ok("list", "orders.py", "--open", "orders.duckdb")


def test_a_ledger_without_open_runs_says_so(shop: Any) -> None:
    shop.ok(
        "start", shop.ledger, "fulfill-order", "-w", shop.module, "--input", '{"order_id": "o1", "cents": 5}', "--wait"
    )
    assert "No run is open." in shop.ok("list", "--open", "orders.duckdb", "-w", "orders.py")


def test_list_wants_one_module(shop: Any) -> None:
    done = shop("list", "orders.py", "-w", "orders.py")
    assert done.exit_code == 2
    assert "list takes one module" in done.stderr
