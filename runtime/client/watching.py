"""Waiting for something to become true in the engine: of one run, or of all.

Knows futures. Must not know who waits, nor on which loop.
"""

from __future__ import annotations

from concurrent.futures import Future
from typing import Any

from perdure.engine.batch import Batch
from perdure.engine.engine import Condition, Engine
from perdure.engine.thread import EngineThread
from perdure.storage.ledger import RunRow


def idle(thread: EngineThread) -> Future[None]:
    """Answered when no step is at work and nothing is due."""
    answer: Future[None] = Future()
    thread.call(lambda engine, batch: engine.when_idle(answer)).add_done_callback(
        lambda begun: _pass_on_error(begun, answer)
    )
    return answer


def watch(thread: EngineThread, run_id: str, condition: Condition) -> Future[RunRow | None]:
    """Answered with the run's row as soon as `condition` is true of it; None when there is no such run."""
    answer: Future[RunRow | None] = Future()
    begun_for_good = False

    def begin(engine: Engine, batch: Batch) -> None:
        nonlocal begun_for_good
        row = engine.ledger.run(run_id)
        if row is not None:
            begun_for_good = True  # whatever becomes of the batch
            engine.watch(row.run, condition, answer)  # type: ignore[arg-type]  # it only ever gets a RunRow
        elif run_id in batch.created:
            engine.watch(batch.created[run_id], condition, answer)  # type: ignore[arg-type]
        elif answer.set_running_or_notify_cancel():
            answer.set_result(None)

    def begun(asked: Future[None]) -> None:
        if not begun_for_good:
            _pass_on_error(asked, answer)

    thread.call(begin).add_done_callback(begun)
    return answer


def _pass_on_error(asked: Future[None], answer: Future[Any]) -> None:
    """Tell whoever waits for an answer that the question could not even be asked."""
    error = asked.exception()
    if error is not None and answer.set_running_or_notify_cancel():
        answer.set_exception(error)
