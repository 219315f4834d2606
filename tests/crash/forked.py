"""Python programs as processes of their own, forked from one that has imported Perdure and pytest already.

Starting Python and importing all of that takes half a second of a core, forking a few hundredths; the tests start a
thousand processes. What runs is a process like any other: it has a pid, is killed, dies, and shares nothing. Only its
hash seed is that of all of this test process's forks; tests which are about that start Python itself.

Knows how a program is run. Must not know what it should do or say.
"""

from __future__ import annotations

import atexit
import contextlib
import importlib
import multiprocessing
import os
import runpy
import sys
import tempfile
import traceback
import warnings
from collections.abc import Mapping, Sequence
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, Final

METHOD: Final = "forkserver" if "forkserver" in multiprocessing.get_all_start_methods() else "spawn"
#: What can be run by name, as installing it puts it on PATH.
PROGRAMS: Final = {
    "python": None,
    "pytest": ("pytest", "main"),
    "perdure": ("perdure.cli.main", "main"),
    "replay-check": ("perdure.cli.replay_check", "main"),
}
_PROCESSES = multiprocessing.get_context(METHOD)
_IMPORTED = """
perdure.client.runtime perdure.cli.main perdure.cli.replay_check perdure.testing.pytest_plugin
perdure.testing.collected perdure.testing.everywhere hypothesis.strategies hypothesis.internal.observability pytest
sqlite3
"""
_PROCESSES.set_forkserver_preload(_IMPORTED.split())


class Worker:
    """A script as a process, whose lines are read while it lives; as much of `Popen` as the tests of kills need."""

    def __init__(self, script: str | Path, *arguments: object) -> None:
        self._errors = tempfile.NamedTemporaryFile("r", encoding="utf-8")  # noqa: SIM115  # as long as this lives
        reader, writer = _PROCESSES.Pipe(duplex=False)
        command = ["python", str(script), *map(str, arguments)]
        given = (command, os.getcwd(), dict(os.environ), writer, self._errors.name)
        self._process = _PROCESSES.Process(target=_perform, args=given)
        self._process.start()
        writer.close()
        self.stdout = os.fdopen(os.dup(reader.fileno()), encoding="utf-8")
        reader.close()

    def poll(self) -> int | None:
        """Its exit code, negative for a signal; None while it lives."""
        return self._process.exitcode

    def kill(self) -> None:
        """Kill it, with a signal that nobody can answer."""
        if self.poll() is None:  # what has ended is waited for elsewhere, and its pid may be another's by now
            self._process.kill()

    def wait(self, timeout_s: float = 60) -> int:
        """Wait until it has ended; its exit code."""
        self._process.join(timeout_s)
        code = self._process.exitcode
        assert code is not None, f"it lives after {timeout_s} s"
        return code

    def rest(self, timeout_s: float = 60) -> tuple[str, str, int]:
        """What it prints until it ends, its errors, and its exit code."""
        printed = self.stdout.read()
        code = self.wait(timeout_s)
        self.stdout.close()
        self._process.close()
        with self._errors:
            return printed, self._errors.read(), code


def run(
    folder: Path, command: Sequence[str], environment: Mapping[str, str] | None = None, timeout_s: float = 100
) -> tuple[int, str]:
    """Run `python FILE`, `pytest …`, `perdure …` or `replay-check …` in a folder; its exit code and output."""
    with tempfile.NamedTemporaryFile("r", encoding="utf-8", errors="replace") as output:
        return _run(folder, command, environment, timeout_s, output.name, None), output.read()


def run_apart(
    folder: Path, command: Sequence[str], environment: Mapping[str, str] | None = None
) -> tuple[int, str, str]:
    """Run it likewise; its exit code, its output, and its errors."""
    with tempfile.NamedTemporaryFile("r", encoding="utf-8") as out, tempfile.NamedTemporaryFile("r") as errors:
        return _run(folder, command, environment, 100, out.name, errors.name), out.read(), errors.read()


def _run(
    folder: Path,
    command: Sequence[str],
    environment: Mapping[str, str] | None,
    timeout_s: float,
    output: str,
    errors: str | None,
) -> int:
    given = (list(command), str(folder), dict(environment or os.environ), output, errors)
    process = _PROCESSES.Process(target=_perform, args=given)
    process.start()
    process.join(timeout_s)
    if process.is_alive():
        process.kill()
        process.join()
    code = process.exitcode
    process.close()
    assert code is not None
    return code


def can_run(command: Sequence[str]) -> bool:
    """Whether a command is one that `run` knows; `python -c` and `-m` are not."""
    return command[0] in PROGRAMS and (command[0] != "python" or command[1][:1] != "-")


def _perform(
    command: list[str], folder: str, environment: dict[str, str], output: Connection | str, errors: str | None
) -> None:
    """In the new process: be the program."""
    os.environ.clear()
    os.environ.update(environment)
    os.environ.pop("PYTEST_ADDOPTS", None)  # meant for the suite, and not for what its tests run
    sys.dont_write_bytecode = bool(environment.get("PYTHONDONTWRITEBYTECODE"))
    os.chdir(folder)
    into = output.fileno() if isinstance(output, Connection) else os.open(output, os.O_WRONLY | os.O_APPEND)
    os.dup2(into, 1)
    os.dup2(into if errors is None else os.open(errors, os.O_WRONLY | os.O_APPEND), 2)
    os.close(into)
    encoding = environment.get("PYTHONIOENCODING", "utf-8")
    # By the line, as at a terminal: what a process printed before it was killed is seen.
    sys.stdout = open(1, "w", 1, encoding=encoding, closefd=False)  # noqa: SIM115  # until the process ends
    sys.stderr = open(2, "w", 1, encoding=encoding, errors="backslashreplace", closefd=False)  # noqa: SIM115
    if environment.get("PYTHONWARNINGS"):
        warnings.simplefilter(environment["PYTHONWARNINGS"])  # type: ignore[arg-type]
    sys.path[:] = [each for each in sys.path if each not in ("", os.path.dirname(__file__))]
    sys.orig_argv[:] = command
    if environment.get("PYTHONPATH"):
        _heed(environment["PYTHONPATH"])
    program, *arguments = command
    entry = PROGRAMS[program]
    script = os.path.abspath(arguments[0]) if entry is None else ""
    sys.argv = arguments if entry is None else [program, *arguments]
    if program == "pytest":
        # Perdure is imported already, so that pytest can't rewrite its assertions, of which there are none.
        sys.argv[1:1] = ["-W", "ignore::pytest.PytestAssertRewriteWarning", "-p", "no:cacheprovider"]
    try:
        if entry is None:
            sys.path.insert(0, os.path.dirname(script))
            runpy.run_path(script, run_name="__main__")
        else:
            started: Any = getattr(importlib.import_module(entry[0]), entry[1])
            sys.exit(started())
    except Exception as error:  # noqa: BLE001  # the program's; told as Python itself tells what nobody caught
        frames = error.__traceback__
        while frames is not None and frames.tb_frame.f_code.co_filename != script and frames.tb_next:
            frames = frames.tb_next
        traceback.print_exception(error.with_traceback(frames))
        sys.exit(1)
    finally:
        atexit._run_exitfuncs()  # what multiprocessing leaves out before Python 3.13


def _heed(path: str) -> None:
    """Take `PYTHONPATH`, and the `sitecustomize` that it may bring, as Python does when it starts."""
    sys.path[:0] = [each for each in path.split(os.pathsep) if each and each not in sys.path]
    sys.modules.pop("sitecustomize", None)
    with contextlib.suppress(ImportError):
        importlib.import_module("sitecustomize")
