"""`replay-check`: exit code 0 when all runs replay, 1 on a divergence, 2 when something could not be checked."""

from __future__ import annotations

import json
from typing import Any
from xml.etree import ElementTree

import pytest


def test_exit_code_0_when_every_run_replays(recorded: Any) -> None:
    done = recorded.process("replay-check", "orders.duckdb", "--workflows", "orders.py")
    assert done.returncode == 0, done.stderr
    assert "All 3 runs replayed" in done.stdout
    rows = [line.split() for line in done.stdout.splitlines()]
    assert ["fulfill-order", "1", "2", "2", "0", "0"] in rows
    assert ["await-payment", "2", "1", "1", "0", "0"] in rows


def test_exit_code_1_and_a_report_when_a_run_diverges(recorded: Any) -> None:
    recorded.rewrite("await charge_card(input)", "await charge_card(Order(order_id=input.order_id, cents=9))")
    done = recorded.process("replay-check", "orders.duckdb", "--workflows", "orders.py")
    assert done.returncode == 1, done.stderr
    assert "step 1 asked for charge_card with other arguments than the ledger has" in done.stdout
    assert "argument changed" in done.stdout
    assert "$[0].cents: 7 → 9" in done.stdout
    assert "perdure show orders.duckdb r2 --at 1" in done.stdout
    assert done.stdout.count("Divergence [REPLAY201]") == 1
    assert "shared by 2 runs: r2, r1" in done.stdout
    assert "2 of 3 runs diverged." in done.stdout
    assert "Traceback" not in done.stdout + done.stderr


def test_only_the_runs_that_are_asked_for_are_checked(recorded: Any) -> None:
    recorded.rewrite("charge = await charge_card(input)", "charge = 'none'")
    command = ("replay-check", "orders.duckdb", "-w", "orders.py")
    assert recorded(*command, "--open").exit_code == 0
    assert recorded(*command, "--workflow", "await-payment").exit_code == 0
    done = recorded(*command, "--run", "r2")
    assert done.exit_code == 1
    assert "1 of 1 run diverged." in done.stdout


def test_a_workflow_that_nobody_recorded_is_no_success(recorded: Any) -> None:
    done = recorded("replay-check", "orders.duckdb", "-w", "orders.py", "--workflow", "fulfil")
    assert done.exit_code == 2
    assert "no run of workflow 'fulfil'" in done.stderr


def test_exit_code_2_when_a_workflow_is_not_registered(recorded: Any) -> None:
    recorded.rewrite('id="await-payment", version="2"', 'id="await-payment", version="3"')
    done = recorded("replay-check", "orders.duckdb", "-w", "orders.py")
    assert done.exit_code == 2
    assert "has no version '2'; it has '3'" in done.stdout
    assert "w1" in done.stdout
    assert "1 run could not be checked" in done.stdout


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("import nowhere_at_all\n", "ModuleNotFoundError"),
        ("from perdure.strict import workflow\n@workflow()\nasync def bad(input):\n    open('x')\n", "bad.py:4:5"),
    ],
)
def test_exit_code_2_when_the_workflows_can_not_be_used(recorded: Any, text: str, said: str) -> None:
    (recorded.folder / "bad.py").write_text(text)
    done = recorded("replay-check", "orders.duckdb", "-w", "bad.py")
    assert done.exit_code == 2
    assert said in done.stderr
    assert "Traceback" not in done.stderr


def test_json_and_junit_are_for_programs(recorded: Any) -> None:
    recorded.rewrite('"outcome": "done"', '"outcome": "finished"')
    command = ("replay-check", "orders.duckdb", "-w", "orders.py", "--json", "found.json", "--junit", "found.xml")
    done = recorded(*command)
    assert done.exit_code == 1
    found = json.loads((recorded.folder / "found.json").read_text())
    assert (found["runs"], found["replayed"], found["diverged"], found["ok"]) == (3, 1, 2, False)
    (first,) = found["divergences"]
    assert (first["run_id"], first["runs"], first["run_ids"]) == ("r2", 2, ["r2", "r1"])
    assert first["cause"] == "output changed"
    assert first["position"] == 3
    assert '$.outcome: "done" → "finished"' in first["evidence"]
    root = ElementTree.parse(recorded.folder / "found.xml").getroot()
    assert len(root.findall(".//testcase")) == 3
    failures = root.findall(".//failure")
    assert [failure.get("type") for failure in failures] == ["output changed", "output changed"]
    assert "recorded" in (failures[0].text or "")


def test_json_on_standard_output_is_alone_there(recorded: Any) -> None:
    done = recorded("replay-check", "orders.duckdb", "-w", "orders.py", "--json", "-")
    assert json.loads(done.stdout)["ok"] is True
    assert "All 3 runs replayed" in done.stderr


def test_checking_leaves_the_ledger_as_it_is(recorded: Any) -> None:
    def files() -> dict[str, bytes]:
        return {each.name: each.read_bytes() for each in recorded.folder.glob("orders.duckdb*") if each.is_file()}

    before = files()
    assert recorded("replay-check", "orders.duckdb", "-w", "orders.py").exit_code == 0
    after = files()
    assert {name: after[name] for name in before if not name.endswith(".lock")} == {
        name: text for name, text in before.items() if not name.endswith(".lock")
    }


def test_the_same_command_is_part_of_perdure(recorded: Any) -> None:
    done = recorded.process("perdure", "replay-check", "orders.duckdb", "-w", "orders.py")
    assert done.returncode == 0
    assert "All 3 runs replayed" in done.stdout
