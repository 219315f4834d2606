"""What a user does in a new project, as calls: play it, run its tests, replay what was recorded.

Each call is a process of its own, forked from one that has imported Perdure and pytest already, which takes a fraction
of the time of starting Python for each. Knows commands. Must not know what they should say.
"""

from __future__ import annotations

import multiprocessing
import os
import runpy
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Final

METHOD: Final = "forkserver" if "forkserver" in multiprocessing.get_all_start_methods() else "spawn"
TIMEOUT_S: Final = 100
_PROCESSES = multiprocessing.get_context(METHOD)
_IMPORTED = """
perdure.client.runtime perdure.cli.main perdure.testing.pytest_plugin perdure.testing.collected
perdure.testing.everywhere hypothesis.strategies hypothesis.internal.observability pytest sqlite3
"""
_PROCESSES.set_forkserver_preload(_IMPORTED.split())


def run(folder: Path, command: Sequence[str]) -> tuple[int, str]:
    """Run `python FILE`, `pytest …` or `replay-check …` in a folder; give its exit code and what it printed."""
    output = folder.parent / "output.txt"
    process = _PROCESSES.Process(target=_perform, args=(str(folder), list(command), str(output)))
    process.start()
    process.join(TIMEOUT_S)
    if process.is_alive():
        process.kill()
        process.join()
    code = process.exitcode
    process.close()
    assert code is not None
    return code, output.read_text(encoding="utf-8", errors="replace")


def _perform(folder: str, command: list[str], output: str) -> None:
    os.chdir(folder)
    descriptor = os.open(output, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    os.dup2(descriptor, 1)
    os.dup2(descriptor, 2)
    sys.stdout = open(1, "w", encoding="utf-8", closefd=False)  # noqa: SIM115  # until the process ends
    sys.stderr = open(2, "w", encoding="utf-8", closefd=False)  # noqa: SIM115
    os.environ.pop("PYTEST_ADDOPTS", None)
    sys.path[:] = [each for each in sys.path if each not in ("", os.path.dirname(__file__))]
    program, *arguments = command
    sys.argv = [program, *arguments]
    match program:
        case "python":
            sys.path.insert(0, folder)
            runpy.run_path(arguments[0], run_name="__main__")
        case "pytest":
            import pytest

            # Perdure is imported already, so that pytest can't rewrite its assertions, of which there are none.
            sys.exit(pytest.main(["--assert=plain", "-p", "no:cacheprovider", *arguments]))
        case "replay-check":
            from perdure.cli.replay_check import main

            main()
        case _:
            raise ValueError(program)
