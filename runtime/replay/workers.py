"""A check spread over processes: each opens the ledger by itself, imports the workflows by itself, and takes chunk
after chunk of run numbers.

    parent                                   worker
      chunks of numbers, newest first  ──►     survey of the chunk
      adds the reports up              ◄──     a report

A worker that dies is an error of the whole check, never a wait for ever: the parent watches the processes as well as
their answers. When the parent dies, the workers' next word to it ends them.

Knows processes. Must not know how a survey is opened: the recipe for that is handed in.
"""

from __future__ import annotations

import multiprocessing
import signal
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, suppress
from dataclasses import dataclass, replace
from multiprocessing.connection import Connection, wait
from multiprocessing.context import SpawnProcess
from typing import TypeAlias

from perdure.errors import InternalError, PerdureError
from perdure.replay.report import Report
from perdure.replay.selection import Selection
from perdure.replay.survey import Survey

#: Opens a survey in a worker: must pickle.
Opening: TypeAlias = Callable[[], AbstractContextManager[Survey]]

#: Run numbers handed out at a time: a fraction of a second's work, so that the end comes for all at once.
CHUNK_RUNS = 500
_GRACE_S = 5.0


@dataclass(frozen=True, slots=True)
class Task:
    """What every worker is told once."""

    opening: Opening
    selection: Selection
    ledger: str
    keep_cases: bool


@dataclass(slots=True)
class _Worker:
    process: SpawnProcess
    connection: Connection
    busy: bool = False


class Workers:
    """Processes that check chunks of one ledger: `with Workers(task, 4) as workers: for report in workers.check(…)`."""

    def __init__(self, task: Task, count: int) -> None:
        self._task = task
        self._count = count
        self._workers: list[_Worker] = []

    def __enter__(self) -> Workers:
        return self

    def __exit__(self, *_: object) -> None:
        """End every process, whatever it does."""
        for worker in self._workers:
            worker.connection.close()
            worker.process.terminate()
        for worker in self._workers:
            worker.process.join(_GRACE_S)
            if worker.process.is_alive():
                worker.process.kill()
                worker.process.join()

    def check(self, last_run: int) -> Iterator[Report]:
        """Check the selected runs up to a number; give the report of each chunk as it comes.

        Raises:
            PerdureError: a worker could not open the ledger or import the workflows, or died.
        """
        chunks = iter(range(last_run, 0, -CHUNK_RUNS))
        for _ in range(min(self._count, -(-last_run // CHUNK_RUNS))):
            self._workers.append(self._started())
        for worker in self._workers:
            _hand_out(worker, chunks)
        while any(worker.busy for worker in self._workers):
            for worker in self._ready():
                yield _answer(worker)
                _hand_out(worker, chunks)

    def _started(self) -> _Worker:
        # A fresh interpreter: a copy of this one would have its locks and DuckDB's threads half-way.
        context = multiprocessing.get_context("spawn")
        here, there = context.Pipe()
        process = context.Process(target=_work, args=(there, self._task), daemon=True, name="replay-check worker")
        process.start()
        there.close()  # so that its end is closed when the worker ends
        return _Worker(process, here)

    def _ready(self) -> list[_Worker]:
        """Wait for answers; a worker that died is ready too, and its answer tells."""
        by_source: dict[object, _Worker] = {}
        for worker in self._workers:
            if worker.busy:
                by_source[worker.connection] = worker
                by_source[worker.process.sentinel] = worker
        found = {id(worker): worker for worker in (by_source[source] for source in wait([*by_source]))}  # type: ignore[list-item]
        return list(found.values())


def _hand_out(worker: _Worker, chunks: Iterator[int]) -> None:
    chunk = next(chunks, None)
    worker.busy = chunk is not None
    with suppress(OSError):  # it died: waiting for its answer finds out
        worker.connection.send(chunk)


def _answer(worker: _Worker) -> Report:
    try:
        answer = worker.connection.recv() if worker.connection.poll() else None
    except (EOFError, OSError):
        answer = None
    if isinstance(answer, Report):
        return answer
    if isinstance(answer, PerdureError):
        raise answer
    worker.process.join(_GRACE_S)
    raise PerdureError(
        f"a worker process died {_how(worker.process.exitcode)}.",
        why="the system ends a process that takes too much memory, and a body or a library can crash one",
        fix="try again with --jobs 1, which shows what happens; `--run` and `--since` narrow it down",
    )


def _how(code: int | None) -> str:
    if code is None:
        return "without an answer"
    if code < 0:
        name = signal.Signals(-code).name if -code in signal.valid_signals() else str(-code)
        return f"of signal {name}"
    return f"with exit code {code}"


def _work(connection: Connection, task: Task) -> None:
    """What a worker does, from its start to the parent's last word."""
    # Ctrl-C reaches the parent too, which ends the workers: they need not all complain.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        with task.opening() as survey:
            while (last := connection.recv()) is not None:
                connection.send(_checked(survey, task, last))
    except (EOFError, BrokenPipeError, ConnectionResetError):
        return  # the parent is gone, or wants no more
    except PerdureError as error:
        with suppress(OSError):
            connection.send(error)
    except (Exception, MemoryError) as error:  # noqa: BLE001  # the parent raises it; a traceback of a worker helps nobody
        with suppress(OSError):
            connection.send(
                InternalError(
                    f"a worker process failed: {type(error).__name__}: {error}",
                    fix="send us the message, and what --jobs 1 does",
                )
            )


def _checked(survey: Survey, task: Task, last: int) -> Report:
    wanted = replace(task.selection.wanted, from_run=max(last - CHUNK_RUNS + 1, 1), before_run=last + 1)
    report = Report(task.ledger, task.keep_cases)
    for finding in survey.check_all(replace(task.selection, wanted=wanted)):
        report.take(finding)
    return report
