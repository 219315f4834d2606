"""Ledgers and histories as pytest collects them: a test a run, whose failure is the report of the divergence."""

from __future__ import annotations

import re
import subprocess
import sys

import pytest

LEDGER = ("--replay-check=orders.duckdb", "--replay-workflows=orders.py")
ITEMS = [
    "histories/o1.history.jsonl::replays",
    "orders.duckdb::fulfill-order v1::o1",
    "orders.duckdb::fulfill-order v1::o2",
    "orders.duckdb::fulfill-order v1::o3",
    "orders.duckdb::ping v7::p1",
]


def collected(output: str) -> list[str]:
    return [line for line in output.splitlines() if "::" in line]


def test_each_run_and_each_history_is_a_test(project) -> None:
    code, output = project.pytest(*LEDGER, "--collect-only", "-q")
    assert (code, collected(output)) == (0, ITEMS)


def test_all_replay_also_on_several_workers(project) -> None:
    code, output = project.pytest(*LEDGER, "-n", "2", "--replay-since=2020-01-01T00:00:00Z")
    assert code == 0, output
    assert "5 passed" in output


def test_a_single_run_can_be_named(project) -> None:
    code, output = project.pytest(*LEDGER, ITEMS[2], "-v")
    assert (code, "1 passed" in output) == (0, True), output


def test_runs_can_be_narrowed(project) -> None:
    selections = {
        ("--replay-open",): ["o3"],
        ("--replay-limit=2",): ["o3", "p1"],
        ("--replay-since=2030-01-01T12:00:00Z",): ["o3", "p1"],
        ("-k", "o2"): ["o2"],
    }
    for options, runs in selections.items():
        code, output = project.pytest(*LEDGER, "--collect-only", "-q", "--ignore=histories", *options)
        assert (code, [line.rpartition("::")[2] for line in collected(output)]) == (0, runs), output


def test_a_failure_is_the_report_alone(project) -> None:
    project.rewrite('step.sleep("grace", "1d")', 'step.sleep("grace", "2d")')
    code, output = project.pytest(*LEDGER, "-k", "o1 or replays")
    assert code == 1
    assert output.count("Divergence [REPLAY201]: entry 3 asked for sleep grace with other arguments") == 2
    assert "inspect   perdure show orders.duckdb o1 --at 3" in output
    assert "inspect   perdure history show histories/o1.history.jsonl --at 3" in output
    assert "Traceback" not in output
    assert "collected.py" not in output
    assert re.search(r"^_+ replay of fulfill-order v1 run o1 _+$", output, re.MULTILINE)
    assert "FAILED orders.duckdb::fulfill-order v1::o1 - Divergence [REPLAY201]" in output


def test_workflows_of_the_ini_file_are_meant_from_where_it_lies(project) -> None:
    project.write("pytest.ini", "[pytest]\nperdure_workflows = src/orders.py\n")
    (project.folder / "src").mkdir()
    (project.folder / "orders.py").rename(project.folder / "src/orders.py")
    code, output = project.pytest("--replay-check=orders.duckdb", "histories", "--rootdir=.")
    assert (code, "5 passed" in output) == (0, True), output


def test_without_workflows_a_ledger_says_how_to_name_them(project) -> None:
    code, output = project.pytest("--replay-check=orders.duckdb", "--ignore=histories")
    assert code == 2
    assert "ERROR collecting orders.duckdb" in output
    assert "no workflows were named to replay on." in output
    assert "INTERNALERROR" not in output


def test_a_history_whose_module_is_gone_fails_with_what_to_do(project) -> None:
    (project.folder / "orders.py").unlink()
    code, output = project.pytest("histories")
    assert code == 1
    assert "fulfill-order v1 was recorded in the module 'orders', which can't be had." in output
    assert "perdure_workflows" in output


def test_a_history_whose_module_fails_to_import_fails_with_its_line(project) -> None:
    project.rewrite('@workflow(id="ping", version="7")', "1 / 0")
    code, output = project.pytest("histories")
    assert code == 1
    assert "fails to import: ZeroDivisionError" in output
    assert "orders.py:13" in output
    assert "perdure_workflows" not in output  # naming them would not help
    assert "Traceback" not in output


def test_what_has_no_workflows_is_named(project) -> None:
    project.write("empty.py", "")
    code, output = project.pytest("--replay-check=orders.duckdb", "--replay-workflows=empty.py")
    assert code == 2
    assert "empty.py has no workflows to replay on." in output
    code, output = project.pytest("--replay-workflows=empty.py", "histories")
    assert (code, "empty.py has no workflows to replay on." in output) == (1, True), output
    project.write("orders.py", "")
    code, output = project.pytest("histories")
    assert (code, "recorded in the module 'orders', which has no workflows now." in output) == (1, True), output


def test_a_history_of_a_script_that_was_run_is_replayed_on_the_script(project) -> None:
    script = (
        (project.folder / "orders.py").read_text(encoding="utf-8")
        + """
if __name__ == "__main__":
    from perdure import Runtime
    from perdure.testing import SimulatedClock
    with Runtime("script.duckdb", workflows=[ping], clock=SimulatedClock()) as runtime:
        runtime.start(ping, 1, run_id="s1").wait()
"""
    )
    project.write("script.py", script)
    subprocess.run([sys.executable, "script.py"], cwd=project.folder, check=True, timeout=60)
    export = "from perdure.cli.main import app; app()"
    arguments = ("history", "export", "script.duckdb", "s1", "--out", "scripts/s1.history.jsonl")
    subprocess.run([sys.executable, "-c", export, *arguments], cwd=project.folder, check=True, timeout=60)
    code, output = project.pytest("scripts")
    assert (code, "1 passed" in output) == (0, True), output


def test_a_ledger_is_found_from_a_folder_below(project) -> None:
    (project.folder / "below").mkdir()
    options = ("--replay-check=../orders.duckdb", "--replay-workflows=../orders.py")
    below = type(project)(project.folder / "below")
    code, output = below.pytest(*options, "--rootdir=..")
    assert (code, "4 passed" in output) == (0, True), output
    code, output = below.pytest(*options, "--rootdir=..", "../orders.duckdb::ping v7::p1")
    assert (code, "1 passed" in output) == (0, True), output


def test_a_ledger_of_which_no_run_is_selected_is_told(project) -> None:
    code, output = project.pytest(*LEDGER, "--replay-since=2040-01-01T00:00:00Z", "histories")
    assert (code, "1 passed" in output) == (0, True), output
    assert "no run of orders.duckdb was selected, so nothing of it was checked." in output


@pytest.mark.parametrize("number", ["0", "-3", "x", "1.5"])
def test_a_limit_is_a_number_of_runs(project, number) -> None:
    code, output = project.pytest(*LEDGER, f"--replay-limit={number}")
    assert (code, f"'{number}' is no number of runs" in output) == (4, True), output


def test_a_workflow_that_is_gone_fails_its_runs_only(project) -> None:
    project.rewrite('@workflow(id="ping", version="7")', '@workflow(id="pong", version="7")')
    code, output = project.pytest(*LEDGER)
    assert code == 1
    assert "UnknownWorkflow [RUN101]: no workflow has the id 'ping'." in output
    assert "1 failed, 4 passed" in output


def test_workflows_that_fail_to_import_are_told_with_their_line(project) -> None:
    project.rewrite('@workflow(id="ping", version="7")', "1 / 0")
    code, output = project.pytest(*LEDGER)
    assert code == 2
    assert "fails to import: ZeroDivisionError" in output
    assert "orders.py:13" in output
    assert "INTERNALERROR" not in output


def test_a_ledger_that_is_not_there_or_is_none_is_told(project) -> None:
    code, output = project.pytest("--replay-check=nowhere.duckdb")
    assert code == 4
    assert re.search(r"ERROR: --replay-check: there is no ledger '.*nowhere\.duckdb'", output)
    project.write("broken.duckdb", "this is no database, " * 500)
    code, output = project.pytest("--replay-check=broken.duckdb", "--replay-workflows=orders.py")
    assert code == 2
    assert "ERROR collecting broken.duckdb" in output
    assert "LedgerCorrupt" in output
    assert "INTERNALERROR" not in output


def test_a_ledger_below_the_tests_is_collected_once(project) -> None:
    project.write("pytest.ini", "[pytest]\ntestpaths = .\n")
    code, output = project.pytest(*LEDGER, "--collect-only", "-q")
    assert (code, sorted(collected(output))) == (0, ITEMS)


def test_a_damaged_history_fails_with_its_line(project) -> None:
    file = project.folder / "histories/o1.history.jsonl"
    project.write("histories/o1.history.jsonl", file.read_text(encoding="utf-8").replace("charge-o1", "charge-o2", 1))
    code, output = project.pytest("histories")
    assert code == 1
    assert "histories/o1.history.jsonl:4" in output
    assert "Traceback" not in output


def test_a_run_of_pytest_without_any_of_it_imports_nothing_heavy(project) -> None:
    (project.folder / "histories/o1.history.jsonl").unlink()
    program = """
import sys, pytest
code = pytest.main(["-q", "-p", "no:cacheprovider", "-p", "no:hypothesispytest", "test_plain.py"])
heavy = sorted({name.split(".")[0] for name in sys.modules} & {"duckdb", "pydantic", "RestrictedPython", "typer"})
ours = sorted(name for name in sys.modules if name.startswith("perdure"))
print(int(code), heavy, ours)
"""
    project.write("test_plain.py", "def test_plain(): pass\n")
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=project.folder, capture_output=True, text=True, check=True, timeout=60
    )
    ours = ["perdure", "perdure.testing", "perdure.testing.pytest_plugin", "perdure.version"]
    assert done.stdout.splitlines()[-1] == f"0 [] {ours}"
