"""What a worker sees happen: each entry that was appended, with what is known of its run, and each line of a log.

Knows entries and runs. Must not know how it is shown.
"""

from __future__ import annotations

import logging
import traceback
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeAlias

from perdure.core.facts import Output, RunFacts
from perdure.engine.engine import Engine
from perdure.storage import entries as kinds
from perdure.storage.entries import Entry
from perdure.storage.ledger import RunRow

logger = logging.getLogger("perdure")

#: What a step says while it works is for readers of its stream.
_UNTOLD = frozenset({kinds.STREAM_WRITTEN, kinds.STREAM_CLOSED, kinds.STEP_HEARTBEAT})
_BEGINS = frozenset({kinds.STEP, kinds.STEP_STARTED})
_ENDS = frozenset({kinds.STEP_COMPLETED, kinds.STEP_FAILED, kinds.STEP_RETRYING, kinds.DROPPED})
_RUN_LOGGER = "perdure.run."


@dataclass(frozen=True, slots=True)
class Activity:
    """One entry.

    Attributes:
        status, error, due, queue: the run's, after the batch that the entry came in.
        took_us: how long the step's attempt, or the run, took; None for what takes no time, or began before this
            process did.
    """

    entry: Entry
    run_id: str
    workflow: str
    version: str
    status: str
    error: str | None
    due: int | None
    queue: str | None
    parent_run_id: str | None
    continued_as: str | None
    took_us: int | None


@dataclass(frozen=True, slots=True)
class LogLine:
    """One line of a log, or of a body's `print`.

    Attributes:
        level: such as `WARNING`; empty for what a body printed.
        logger: the name of its logger, empty when a body wrote it.
    """

    at: int
    level: str
    text: str
    logger: str = ""
    run_id: str = ""
    workflow: str = ""
    attempt: int = 0
    fields: dict[str, Any] = field(default_factory=dict)
    exception: str = ""


Told: TypeAlias = Activity | LogLine


class Observer:
    """Sees what an engine appends and what bodies write, and passes it on. All of it on the engine's thread.

    Args:
        prints: whether to pass on what bodies print, too; else it is printed.
    """

    def __init__(self, engine: Engine, tell: Callable[[Told], None], *, prints: bool) -> None:
        self._engine = engine
        self._tell = tell
        self._prints = prints
        self._began: dict[int, dict[str, int]] = {}  # when attempts of steps at work began, by run and command
        self._written: list[tuple[RunFacts, Output]] = []  # by bodies, in the batch that is being told
        self._show = engine.show
        engine.show = lambda facts, output: self._written.append((facts, output))
        engine.on_appended = self._appended

    def _appended(self, entries: Sequence[Entry]) -> None:
        """Tell a batch as one would have seen it: a run begins, its body writes, it ends."""
        try:
            activities = list(self._activities(entries))
            for told in activities:
                if told.entry.kind not in kinds.ENDINGS:
                    self._tell(told)
            written, self._written = self._written, []
            for facts, output in written:
                self._pass_on(facts, output)
            for told in activities:
                if told.entry.kind in kinds.ENDINGS:
                    self._tell(told)
        except Exception:  # no run is to suffer for what is shown of it
            logger.exception("What happened can't be shown.")

    def _activities(self, entries: Sequence[Entry]) -> Iterator[Activity]:
        rows: dict[int, RunRow | None] = {}
        for entry in entries:
            if entry.kind in _UNTOLD:
                continue
            if entry.run not in rows:
                rows[entry.run] = self._engine.ledger.run_numbered(entry.run)
            row = rows[entry.run]
            if row is not None:
                yield self._activity(entry, row)

    def _activity(self, entry: Entry, row: RunRow) -> Activity:
        return Activity(
            entry, row.run_id, row.workflow, row.version, row.status, row.error, row.due, row.queue, row.parent_run_id,
            row.continued_as, self._took_us(entry, row),
        )  # fmt: skip

    def _took_us(self, entry: Entry, row: RunRow) -> int | None:
        if entry.kind in _BEGINS:
            self._began.setdefault(entry.run, {})[entry.command] = entry.at
        elif entry.kind in _ENDS:
            began = self._began.get(entry.run, {}).pop(entry.command, None)
            return None if began is None else entry.at - began
        elif entry.kind in kinds.ENDINGS:
            self._began.pop(entry.run, None)
            return entry.at - (row.began_at or row.created_at)
        return None

    def _pass_on(self, facts: RunFacts, output: Output) -> None:
        if output.level == 0 and self._prints:
            at = self._engine.clock.now_us()
            self._tell(LogLine(at, "", output.text.removesuffix("\n"), "", facts.run_id, facts.workflow, facts.attempt))
        else:
            self._show(facts, output)  # a line of the log comes back as a record


class TellingHandler(logging.Handler):
    """Passes the records of the log on."""

    def __init__(self, tell: Callable[[Told], None]) -> None:
        super().__init__()
        self._tell_line = tell

    def emit(self, record: logging.LogRecord) -> None:
        """Pass on one record; one that can't be formatted is reported as logging does."""
        try:
            of_run = record.name.startswith(_RUN_LOGGER)
            facts = vars(record)
            self._tell_line(
                LogLine(
                    int(record.created * 1_000_000),
                    record.levelname,
                    facts["text"] if of_run and "text" in facts else record.getMessage(),
                    "" if of_run else record.name,
                    facts.get("run_id", "") if of_run else "",
                    facts.get("workflow_id", "") if of_run else "",
                    facts.get("attempt", 0) if of_run else 0,
                    dict(facts.get("fields") or {}) if of_run else {},
                    "".join(traceback.format_exception(*record.exc_info)) if record.exc_info else "",
                )
            )
        except Exception:  # noqa: BLE001  # logging's own way: it goes to stderr, and whoever logged goes on
            self.handleError(record)
