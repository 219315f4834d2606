"""`perdure history`: export, show and check, as a user types them."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from perdure.replay.history_file import read_history

EXPORT = ("history", "export", "orders.duckdb")


def test_a_run_is_exported_to_standard_output_a_line_an_entry(recorded) -> None:
    lines = [json.loads(line) for line in recorded.ok(*EXPORT, "r1").splitlines()]
    assert lines[0]["perdure_history"] == 1
    assert lines[0]["run_id"] == "r1"
    assert [line["kind"] for line in lines[1:]] == ["created", "step", "step_completed", "completed"]


def test_a_run_is_exported_to_a_file_in_a_folder_that_is_made(recorded) -> None:
    recorded.ok(*EXPORT, "w1", "--out", "tests/histories/w1.history.jsonl")
    assert read_history("tests/histories/w1.history.jsonl").row.status == "waiting_event"


def test_selected_runs_are_exported_into_a_folder(recorded) -> None:
    recorded.ok(*EXPORT, "--workflow", "fulfill-order", "--out", "golden")
    assert sorted(path.name for path in Path("golden").iterdir()) == ["r1.history.jsonl", "r2.history.jsonl"]
    recorded.ok(*EXPORT, "--status", "completed", "--limit", "1", "--out", "newest")
    assert [path.name for path in Path("newest").iterdir()] == ["r2.history.jsonl"]


def test_the_same_run_gives_the_same_text(recorded) -> None:
    assert recorded.ok(*EXPORT, "r1") == recorded.ok(*EXPORT, "r1")


def test_an_exported_history_is_checked_and_shown(recorded) -> None:
    recorded.ok(*EXPORT, "--out", "golden")
    assert "All 3 runs replayed" in recorded.ok("history", "check", "golden", "--workflows", "orders.py")
    assert "fulfill-order v1  run r1  completed" in recorded.ok("history", "show", "golden/r1.history.jsonl")
    shown = json.loads(recorded.ok("history", "show", "golden/r1.history.jsonl", "--at", "2", "--json"))
    assert shown["value"] == "charge-r1"


def test_a_divergence_names_the_command_that_looks_into_the_file(recorded) -> None:
    recorded.ok(*EXPORT, "r1", "--out", "r1.history.jsonl")
    recorded.rewrite("charge = await charge_card(input)", "charge = await charge_card.options(name='pay')(input)")
    result = recorded("history", "check", "r1.history.jsonl", "--workflows", "orders.py")
    assert result.exit_code == 1
    assert "perdure history show r1.history.jsonl --at 1" in result.output
    assert "charge_card" in recorded.ok("history", "show", "r1.history.jsonl", "--at", "1")


def test_replay_check_takes_histories_too(recorded) -> None:
    recorded.ok(*EXPORT, "--out", "golden")
    report = ("--json", "report.json", "--junit", "report.xml")
    assert "All 3 runs replayed" in recorded.ok("replay-check", "golden", "--workflows", "orders.py", *report)
    assert json.loads(Path("report.json").read_text())["replayed"] == 3
    assert Path("report.xml").read_text().count("<testcase") == 3
    assert "1 run replayed" in recorded.ok("replay-check", "golden/r1.history.jsonl", "--workflows", "orders.py")
    recorded.rewrite("charge = await charge_card(input)", "charge = await charge_card.options(name='pay')(input)")
    assert recorded("replay-check", "golden", "--workflows", "orders.py").exit_code == 1


@pytest.mark.parametrize(
    "option",
    ["--run r1", "--open", "--since 7d", "--workflow fulfill-order", "--sample 0.5", "--jobs 2", "--code pinned"],
)
def test_replay_check_does_not_select_among_histories(recorded, option) -> None:
    recorded.ok(*EXPORT, "--out", "golden")
    result = recorded("replay-check", "golden", "--workflows", "orders.py", *option.split())
    assert (result.exit_code, "histories are named" in result.output) == (2, True)


def test_replay_check_of_a_folder_without_histories_is_no_success(recorded) -> None:
    Path("golden").mkdir()
    result = recorded("replay-check", "golden", "--workflows", "orders.py")
    assert (result.exit_code, "there is no *.history.jsonl" in result.output) == (2, True)


def test_a_redacted_export_hides_the_value_and_replays(recorded) -> None:
    redact = ("--redact", "charge_card.result", "--redact", "input.cents")
    text = recorded.ok(*EXPORT, "r1", *redact, "--workflows", "orders.py")
    assert "charge-r1" not in text
    assert json.loads(text.splitlines()[0])["redacted"] == ["charge_card.result", "input.cents"]


def test_stand_ins_differ_from_export_to_export_unless_a_key_is_given(recorded) -> None:
    redact = (*EXPORT, "r1", "--redact", "charge_card.result")
    assert recorded.ok(*redact) != recorded.ok(*redact)
    keyed = (*redact, "--redaction-key", "k")
    assert recorded.ok(*keyed) == recorded.ok(*keyed)


def test_a_redacted_history_that_no_longer_replays_is_not_exported(recorded) -> None:
    recorded.rewrite('return {"outcome": "done", "charge": charge}', 'return {"outcome": charge[:3], "charge": charge}')
    recorded.start("fulfill-order", {"order_id": "o9", "cents": 5}, "--run-id", "looks", "--wait")
    refused = recorded(
        *EXPORT, "looks", "--redact", "charge_card.result", "--workflows", "orders.py", "--out", "x.history.jsonl"
    )
    assert refused.exit_code == 2
    assert "run looks no longer replays once it is redacted, so it was not exported." in refused.output
    assert not Path("x.history.jsonl").exists()


def test_of_several_runs_those_that_do_not_replay_are_left_out_and_named(recorded) -> None:
    recorded.rewrite("charge = await charge_card(input)", "charge = await charge_card.options(name='pay')(input)")
    result = recorded(*EXPORT, "--workflows", "orders.py", "--out", "golden")
    assert result.exit_code == 1
    assert "left out: run r1 does not replay." in result.output
    assert [path.name for path in Path("golden").iterdir()] == ["w1.history.jsonl"]


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (("nobody",), "the ledger has no run 'nobody'"),
        ((), "several runs need a folder"),
        (("r1", "--status", "failed"), "RUN names one run"),
        (("r1", "--redact", "charge_card"), "names no part of a history"),
        (("r1", "--redact", "charge_card.result.token"), "charge_card.result.token selects nothing"),
        (("--workflow", "none", "--out", "golden"), "no run was selected"),
    ],
)
def test_what_can_not_be_exported_is_told_and_writes_nothing(recorded, arguments, told) -> None:
    result = recorded(*EXPORT, *arguments)
    assert result.exit_code == 2
    assert told in result.output
    assert not Path("golden").exists()


def test_a_damaged_history_is_named_with_its_line(recorded) -> None:
    recorded.ok(*EXPORT, "r1", "--out", "r1.history.jsonl")
    file = Path("r1.history.jsonl")
    file.write_text(file.read_text(encoding="utf-8").replace("charge-r1", "charge-r2", 1), encoding="utf-8")
    result = recorded("history", "check", "r1.history.jsonl", "--workflows", "orders.py")
    assert result.exit_code == 2
    assert "r1.history.jsonl:4" in result.output


def test_help_has_examples_and_the_patterns(recorded) -> None:
    text = recorded.ok("history", "export", "--help")
    assert "perdure history export orders.duckdb order-1 --redact" in text
    assert "*.arguments.**.password" in text
    for name in ("show", "check"):
        assert f"perdure history {name} " in recorded.ok("history", name, "--help")


def test_what_goes_to_standard_output_is_utf_8_whatever_the_console_has(recorded) -> None:
    recorded.start("fulfill-order", {"order_id": "ü→漢", "cents": 5}, "--run-id", "far", "--wait")
    program = "from perdure.cli.main import main; main()"
    for encoding in ("ascii", "latin-1"):
        done = subprocess.run(
            [sys.executable, "-c", program, *EXPORT, "far"], check=True, capture_output=True, timeout=60,
            env={**os.environ, "PYTHONIOENCODING": encoding},
        )  # fmt: skip
        Path("far.history.jsonl").write_bytes(done.stdout)
        assert "charge-ü→漢" in (read_history("far.history.jsonl").entries[2].body or "")
        shown = subprocess.run(
            [sys.executable, "-c", program, "show", "orders.duckdb", "far"], check=True, capture_output=True,
            timeout=60, env={**os.environ, "PYTHONIOENCODING": encoding},
        )  # fmt: skip
        assert b"\\u6f22" in shown.stdout


def test_a_full_disk_behind_standard_output_is_told(recorded) -> None:
    if not Path("/dev/full").exists():
        pytest.skip("no device that is full")
    with open("/dev/full", "wb") as full:
        done = subprocess.run(
            [sys.executable, "-c", "from perdure.cli.main import main; main()", *EXPORT, "r1"], check=False,
            stdout=full, stderr=subprocess.PIPE, timeout=60,
        )  # fmt: skip
    assert done.returncode == 2
    assert done.stderr.startswith(b"PerdureError [PERDURE]: standard output can't be written.")
