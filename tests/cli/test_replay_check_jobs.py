"""`replay-check --jobs`: processes share the work, find the same, and none of their ends hangs the check."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

CHECK = ("replay-check", "orders.duckdb", "-w", "orders.py")
HOLD = "from perdure import Runtime\nwith Runtime('orders.duckdb'):\n    print('open', flush=True)\n    input()"
#: What a module does only in a worker, when it is imported.
IN_A_WORKER = "import multiprocessing\nif multiprocessing.parent_process() is not None:\n    "


@pytest.mark.parametrize("jobs", ["2", "auto"])
def test_processes_find_what_one_finds(recorded: Any, jobs: str) -> None:
    recorded.rewrite("await charge_card(input)", "await charge_card(Order(order_id=input.order_id, cents=9))")
    outputs = []
    for number in ("1", jobs):
        done = recorded.process(*CHECK, "--jobs", number, "--json", f"{number}.json", "--junit", f"{number}.xml")
        assert done.returncode == 1, done.stderr
        outputs.append((done.stdout, json.loads((recorded.folder / f"{number}.json").read_text())))
    assert outputs[0] == outputs[1]
    assert outputs[0][1]["runs"] == 3
    assert outputs[0][1]["divergences"][0]["run_ids"] == ["r2", "r1"]


def test_a_ledger_without_runs_needs_no_process(recorded: Any) -> None:
    (recorded.folder / "empty.py").write_text("from perdure import Runtime\nwith Runtime('empty.duckdb'): pass\n")
    subprocess.run([sys.executable, "empty.py"], cwd=recorded.folder, check=True, timeout=60)
    done = recorded.process("replay-check", "empty.duckdb", "-w", "orders.py", "--jobs", "4")
    assert done.returncode == 0, done.stderr
    assert "No run was selected" in done.stdout


@pytest.mark.parametrize(
    ("does", "said"),
    [
        ("import os, signal; os.kill(os.getpid(), signal.SIGKILL)", "a worker process died of signal SIGKILL"),
        ("import os; os._exit(3)", "a worker process died with exit code 3"),
        ("raise MemoryError('no room')", "MemoryError"),
        ("raise ImportError('not here')", "'orders.py' fails to import: ImportError: not here"),
    ],
)
def test_a_worker_that_fails_ends_the_check_with_2_and_says_how(recorded: Any, does: str, said: str) -> None:
    recorded.rewrite("from pydantic", f"{IN_A_WORKER}{does}\nfrom pydantic")
    done = recorded.process(*CHECK, "--jobs", "2")
    assert done.returncode == 2, done.stdout
    assert said in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.skipif(sys.platform == "win32", reason="signals of process groups are POSIX's")
def test_ctrl_c_ends_every_process(recorded: Any) -> None:
    ready = recorded.folder / "ready"
    recorded.rewrite(
        "from pydantic",
        f"{IN_A_WORKER}import os, time, pathlib; pathlib.Path({str(ready)!r}).write_text(str(os.getpid())); "
        "time.sleep(60)\nfrom pydantic",
    )
    program = Path(sys.executable).parent / CHECK[0]
    process = subprocess.Popen(
        [str(program), *CHECK[1:], "--jobs", "2"], cwd=recorded.folder, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        text=True, start_new_session=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),  # a test run in the background ignores it
    )  # fmt: skip
    try:
        deadline = time.monotonic() + 30
        while not (ready.exists() and ready.read_text()) and time.monotonic() < deadline:
            time.sleep(0.02)
        worker = int(ready.read_text())
        os.killpg(process.pid, signal.SIGINT)
        _, told = process.communicate(timeout=20)
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
    assert process.returncode not in (0, 1)
    assert "replay-check worker" not in told
    assert not is_alive(worker)


def is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def test_a_ledger_that_a_process_owns_is_refused_as_without_workers(recorded: Any) -> None:
    holder = subprocess.Popen(
        [sys.executable, "-c", HOLD],
        cwd=recorded.folder, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    try:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "open\n"
        done = recorded.process(*CHECK, "--jobs", "2")
        assert done.returncode == 2
        assert f"process {holder.pid} has it open" in done.stderr
    finally:
        holder.communicate("\n", timeout=30)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--jobs", "0"), "is no number of processes"),
        (("--jobs", "many"), "is no number of processes"),
        (("--code", "old"), "give today or pinned"),
        (("--sample", "0"), "is no share of the runs"),
        (("--sample", "5"), "is no share of the runs"),
        (("--run", "r1", "--sample", "0.5"), "nothing to sample"),
    ],
)
def test_options_that_make_no_sense_are_refused(recorded: Any, arguments: tuple[str, ...], said: str) -> None:
    done = recorded(*CHECK, *arguments)
    assert done.exit_code == 2
    assert said in done.stderr


def test_a_sample_is_a_part_of_the_runs(recorded: Any) -> None:
    found = recorded.ok(*CHECK, "--sample", "0.999")
    assert "3 runs replayed" in found


def test_pinned_code_replays_whatever_the_body_became(recorded: Any) -> None:
    recorded.rewrite("await charge_card(input)", "await charge_card(Order(order_id=input.order_id, cents=9))")
    assert recorded(*CHECK).exit_code == 1
    assert "All 3 runs replayed" in recorded.ok(*CHECK, "--code", "pinned")
    assert recorded.process(*CHECK, "--code", "pinned", "--jobs", "2").returncode == 0
