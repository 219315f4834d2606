"""What steps tell while they work: chunks of streams, that a stream is closed, and heartbeats. All of them are notes.

Knows who may write where, and which number a chunk gets. Must not know how a step says it, nor who reads it.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from perdure.core.stream import Stream
from perdure.engine.attempts import Attempt, Outcome
from perdure.engine.batch import Batch
from perdure.engine.channel import over
from perdure.errors import BudgetExceeded, UnknownRun, WorkflowError
from perdure.storage import entries as kinds
from perdure.storage.encoding import Encoded
from perdure.storage.ledger import ENDED, Ledger, Pending, RunRow

if TYPE_CHECKING:
    from perdure.engine.engine import Engine

_OVER = kinds.ENDINGS - {kinds.RETRYING}


class Streams:
    """The streams of one engine's runs."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def write(self, writer: Attempt, stream: Stream, chunk: Encoded, batch: Batch) -> int:
        """Record a chunk; give its offset.

        Raises:
            WorkflowError: the attempt is over, the stream is closed, or its run has ended.
            UnknownRun: nobody has that run. BudgetExceeded: the run has as many entries as it may.
        """
        if not self._is_at_work(writer):
            raise over(writer.call.name, writer.run_id, writer.number)
        row = self._row_of(writer, stream)
        if self._has_ended(row, batch):
            raise _refusal(stream, f"run {row.run_id} has ended")
        self._check_length(row)
        counts = self._counts(row, stream.namespace, batch)
        if counts[1]:
            raise _refusal(stream, f"the stream is closed, after {counts[0]:,} chunks")
        detail: dict[str, Any] = {"offset": counts[0], "step": writer.call.name}
        if row.run != writer.run:
            detail["writer"] = writer.run_id
        self._engine.notes.add(
            row, batch, kinds.STREAM_WRITTEN,
            command=writer.command, name=stream.namespace, attempt=writer.number, body=chunk.body, shape=chunk.shape,
            detail=json.dumps(detail, ensure_ascii=False),
        )  # fmt: skip
        counts[0] += 1
        return counts[0] - 1

    def close(self, outcome: Outcome, batch: Batch) -> None:
        """Close what a completed attempt closes; what is closed or over already stays as it is."""
        for stream in outcome.closes:
            row = self._target(outcome.run, stream)
            if row is None or self._has_ended(row, batch):
                continue
            counts = self._counts(row, stream.namespace, batch)
            if not counts[1]:
                counts[1] = 1
                self._engine.notes.add(row, batch, kinds.STREAM_CLOSED, command=outcome.command, name=stream.namespace)

    def heartbeat(self, attempt: Attempt, details: Encoded, batch: Batch) -> None:
        """Record a sign of life; that of an attempt nobody waits for is ignored."""
        row = self._engine.ledger.run_numbered(attempt.run) if self._is_at_work(attempt) else None
        if row is None or self._has_ended(row, batch):
            return
        machine = self._engine.residents.get(row.run)
        if machine is not None and (machine.ended or attempt.command not in machine.waiting):
            return  # in this very batch the body went on without it
        self._engine.notes.add(
            row, batch, kinds.STEP_HEARTBEAT,
            command=attempt.command, name=attempt.call.name, attempt=attempt.number,
            body=details.body, shape=details.shape,
        )  # fmt: skip

    def _is_at_work(self, attempt: Attempt) -> bool:
        return self._engine.in_flight.get(attempt.run, {}).get(attempt.command) == attempt.serial

    def _row_of(self, writer: Attempt, stream: Stream) -> RunRow:
        row = self._target(writer.run, stream)
        if row is None:
            raise UnknownRun(
                f"the ledger has no run {stream.run_id!r}, to whose stream {stream.namespace!r} a step wrote.",
                where=f"step {writer.call.name}, run {writer.run_id}, attempt {writer.number}",
                fix='get the stream in a body, with step.stream("…"), or in a step, with current_step().stream("…")',
            )
        return row

    def _target(self, writing: int, stream: Stream) -> RunRow | None:
        """The run that a chunk goes to. What a fork's body got before the cut names the run it comes from."""
        ledger = self._engine.ledger
        row = own = ledger.run_numbered(writing)
        if own is not None and own.run_id == stream.run_id:
            return own
        while row is not None and row.forked_from is not None:
            if row.forked_from == stream.run_id:
                return own
            row = ledger.run(row.forked_from)
        return ledger.run(stream.run_id)

    def _has_ended(self, row: RunRow, batch: Batch) -> bool:
        if row.status in ENDED:
            return True
        return row.run in batch.ended and any(each.run == row.run and each.kind in _OVER for each in batch.entries)

    def _check_length(self, row: RunRow) -> None:
        machine = self._engine.residents.get(row.run)
        if machine is not None and machine.length >= machine.executable.options.max_entries:
            raise BudgetExceeded(
                f"run {row.run_id} has {machine.length:,} entries, its max_entries, and chunks are entries.",
                where=f"{row.workflow} v{row.version}",
                fix="write fewer and larger chunks, or raise max_entries",
            )

    def _counts(self, row: RunRow, namespace: str, batch: Batch) -> list[int]:
        counts = batch.streams.get((row.run, namespace))
        if counts is None:
            counts = batch.streams[row.run, namespace] = list(row.streams.get(namespace, (0, 0)))
        return counts


def newest_heartbeat(ledger: Ledger, run: int, pending: Pending) -> Encoded | None:
    """Read the newest details that a step's earlier attempts recorded, as they were given."""
    if pending.heartbeat is None:
        return None
    beats = ledger.selected(run, {kinds.STEP_HEARTBEAT}, pending.position)
    newest = next((each for each in reversed(beats) if each.command == pending.command), None)
    return None if newest is None else Encoded(newest.body or "null", newest.shape)


def _refusal(stream: Stream, why: str) -> WorkflowError:
    return WorkflowError(
        f"stream {stream.namespace!r} takes no more chunks.",
        where=f"run {stream.run_id}",
        why=why,
        fix="write to another namespace, or before the stream is closed and its run has ended",
    )
