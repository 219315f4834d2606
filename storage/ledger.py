"""The contract of a ledger: what the runtime may ask of the place where entries are kept.

Two back ends keep it, DuckDB in a file and plain dictionaries in memory; `tests/storage/` drives both with one state
machine and demands that they agree. All calls are synchronous and come from one thread at a time (the engine's), but
for `sql` and the readers of cells, which may come from any.

This file knows the questions. It must not know how they are answered, nor what a body does.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Final, NamedTuple, Protocol

from perdure.errors import InternalError
from perdure.storage.cells import Cell, Cells
from perdure.storage.entries import DIVERGED, ENDINGS, DefinitionRow, Entry

#: What `handle.status()` may show. A run that nothing will ever touch again is in ENDED.
STATUSES = (
    "queued", "running", "sleeping", "waiting_event", "awaiting_retry", "completed", "failed", "cancelled", "diverged",
)  # fmt: skip
ENDED = frozenset({"completed", "failed", "cancelled"})


@dataclass(slots=True)
class Pending:
    """One command of a run that nothing has answered yet."""

    command: str  # identity
    kind: str  # STEP, SLEEP, WAIT_EVENT, WAIT_SIGNAL, HOOK, WAIT_HOOK, WAIT_UNTIL, CHILD, CHILD_RESULT
    name: str
    position: int  # of the command's entry
    due: int | None = None  # a timer, a timeout, or the next attempt of a step
    attempt: int = 0  # of a step: the attempt that runs or waits; 0 for others
    retrying: bool = False  # a step between two attempts
    event_type: str = ""  # of WAIT_EVENT; of HOOK it is HOOK_TYPE
    match: str = (
        ""  # of WAIT_EVENT: the match mapping as canonical JSON, keys sorted; of HOOK its token, as such a mapping
    )
    child_run_id: str = ""  # of CHILD and CHILD_RESULT
    hook: str = ""  # of WAIT_HOOK: the identity of its HOOK; with `once`, its answer closes the hook
    once: bool = False
    closed: bool = False  # of HOOK: a payload has answered it, and it takes no other
    heartbeat: str | None = None  # of STEP: the newest details that it recorded, as JSON text
    heartbeat_at: int | None = None
    site: str = ""  # of WAIT_UNTIL: the line of its condition


#: The event type under which hooks are found by their token. A user's type does not begin with a colon.
HOOK_TYPE: Final = ":hook"


@dataclass(slots=True)
class RunRow:
    """What is known of a run without reading its history: the fold of its entries (see fold.py)."""

    run: int
    run_id: str
    workflow: str
    version: str
    definition: str  # digest of the definition that it started with
    status: str
    attempt: int  # of the run: 1 on the first
    created_at: int  # microseconds since 1970 UTC, as all times here
    updated_at: int
    finished_at: int | None = None
    tags: Mapping[str, str] = field(default_factory=dict)
    idempotency_key: str | None = None
    parent_run_id: str | None = None
    parent_command: str | None = None
    due: int | None = None  # begin of a queued run, next attempt of a run, or None
    timeout_at: int | None = None  # the run's own deadline
    cancel_requested: bool = False
    error: str | None = None  # first line of the latest error, None when there is none
    length: int = 0  # entries so far: the next position
    digest: bytes = b""  # of the newest entry
    verdict: bool | None = None  # of the newest verification since it ended: whether it replayed; None without one
    pending: dict[str, Pending] = field(default_factory=dict)  # by command
    forked_from: str | None = None  # run_id of the run that it was forked from
    continued_as: str | None = None  # run_id of the run that goes on with it
    continued_from: str | None = None  # run_id of the run that it goes on with
    queue: str | None = None  # name of the queue that it is on
    queue_key: str = ""  # within the queue: what concurrency per key and fairness go by
    priority: int = 0  # within the queue: smaller ones first
    began_at: int | None = None  # when its body first ran, or again with a place on its queue
    #: Messages by box, as [received, taken]: `signal:<name>`, and `hook:<identity of its HOOK>`.
    boxes: dict[str, list[int]] = field(default_factory=dict)
    #: Streams by namespace, as [chunks written, 1 once it is closed].
    streams: dict[str, list[int]] = field(default_factory=dict)
    requeued_at: int | None = None  # since when it waits on its queue for the next attempt that somebody asked for

    @property
    def next_due(self) -> int | None:
        """When the clock next has something to do for this run; None when only the outside can move it.

        The run's deadline counts until a cancel was asked for: it can do no more than ask for one. A run that waits on
        a queue is begun by the queue, which holds it back until `due` too.
        """
        if self.status in ENDED or self.status == "diverged":
            return None
        earliest = None if self.queue is not None and self.status == "queued" else self.due
        if self.timeout_at is not None and not self.cancel_requested:
            earliest = self.timeout_at if earliest is None else min(earliest, self.timeout_at)
        for pending in self.pending.values():
            if pending.due is not None and (earliest is None or pending.due < earliest):
                earliest = pending.due
        return earliest


class QueueRow(NamedTuple):
    """What a queue has to know of a run; the fields are as in `RunRow`. A tuple, because a start may read 100,000."""

    run: int
    run_id: str
    workflow: str
    version: str
    status: str
    created_at: int
    finished_at: int | None
    parent_run_id: str | None
    due: int | None
    continued_from: str | None
    queue: str
    queue_key: str
    priority: int
    began_at: int | None
    requeued_at: int | None


def queue_row(row: RunRow) -> QueueRow:
    """What a queue has to know of this run."""
    return QueueRow(*(getattr(row, name) for name in QueueRow._fields))


@dataclass(frozen=True, slots=True)
class RunFilter:
    """Which runs a listing wants; None and empty mean any. Newest first."""

    workflow: str | None = None
    version: str | None = None
    statuses: tuple[str, ...] = ()
    tags: Mapping[str, str] = field(default_factory=dict)  # all of them, equal
    since: int | None = None  # created at or after, microseconds
    before_run: int | None = None  # for paging: only runs with a smaller number
    limit: int | None = 100
    from_run: int | None = None  # only runs with this number or a greater one
    unverified: bool = False  # only runs without a verdict

    def unpaged(self) -> RunFilter:
        """The same without `limit`, `before_run` and `from_run`."""
        return replace(self, limit=None, before_run=None, from_run=None)

    def admits(self, row: RunRow) -> bool:
        """Whether a listing wants this row, whatever its place in the order (`limit` is not regarded)."""
        return (
            (self.workflow is None or row.workflow == self.workflow)
            and (self.version is None or row.version == self.version)
            and (not self.statuses or row.status in self.statuses)
            and (self.since is None or row.created_at >= self.since)
            and (self.before_run is None or row.run < self.before_run)
            and (self.from_run is None or row.run >= self.from_run)
            and not (self.unverified and row.verdict is not None)
            and all(row.tags.get(name) == value for name, value in self.tags.items())
        )


_LOOKED_BACK_AT = 8


@dataclass(frozen=True, slots=True)
class Waiter:
    """A run that waits for an event."""

    run: int
    run_id: str
    command: str


@dataclass(frozen=True, slots=True)
class SqlResult:
    """What a read-only query gives: column names, and rows as tuples of Python values."""

    columns: tuple[str, ...]
    rows: tuple[tuple[Any, ...], ...]


class Ledger(Cells, Protocol):
    """The append-only record of all runs. Errors are the `LedgerError`s of `perdure.errors`."""

    def next_run(self) -> int:
        """Give out a run number greater than any before, also across restarts (numbers may be skipped)."""
        ...

    def append(
        self, entries: Sequence[Entry], definitions: Sequence[DefinitionRow] = (), cells: Sequence[Cell] = ()
    ) -> None:
        """Add one batch, all or nothing, and return only when it would survive a power cut.

        Of two cells with the same name the later one counts.

        Positions must continue each run without gaps; a new run's first entry is CREATED. Raises `LedgerFull` or
        `LedgerReadOnly` with nothing of the batch kept; the caller may try again.
        """
        ...

    def run(self, run_id: str) -> RunRow | None:
        """Find a run by its id. The row stays as it is when the run goes on: a later call gives a new one."""
        ...

    def run_numbered(self, run: int) -> RunRow | None:
        """Find a run by its number."""
        ...

    def run_by_key(self, workflow: str, idempotency_key: str) -> RunRow | None:
        """Find the run of `workflow` that was started under this key, the newest if there are several."""
        ...

    def runs(self, wanted: RunFilter) -> list[RunRow]:
        """List runs, newest first. `pending` is filled in."""
        ...

    def count(self, wanted: RunFilter) -> dict[str, int]:
        """Count runs by status; `limit`, `before_run` and `from_run` are not regarded."""
        ...

    def children(self, run_id: str) -> list[RunRow]:
        """List the runs that this one started, oldest first."""
        ...

    def entries(self, run: int, start: int = 0, limit: int | None = None) -> list[Entry]:
        """Read a run's entries from position `start` on, in order."""
        ...

    def selected(self, run: int, kinds: Collection[str], start: int = 0, limit: int | None = None) -> list[Entry]:
        """Read a run's entries of some kinds from position `start` on, in order, at most `limit` of them."""
        ...

    def on_queues(self, since: int) -> list[QueueRow]:
        """List the runs on queues that have not ended, and those that began at or after `since`, by run number."""
        ...

    def walk(self, row: RunRow) -> Sequence[Entry]:
        """Read a run's entries as a replay needs them, which may be quicker than `entries`.

        Digests may be missing, and of steps that just ran and completed the attempt and the detail. A long history
        is read while one goes through it, a window at a time (see windows.py).
        """
        ...

    def walk_many(self, rows: Sequence[RunRow], *, whole: bool = False) -> Sequence[Sequence[Entry]]:
        """Read several runs' entries at once, in the order of `rows`, each as `walk` gives it.

        All but a long one are held in memory together: the caller sees to it that the sum of `length` stays bounded.

        Args:
            whole: give them as `entries` does, with nothing left out.
        """
        ...

    def interrupted(self) -> Iterator[RunRow]:
        """Go through the runs that a restart has to resume, oldest first.

        Those are the diverged ones, and the open ones that have a step which is not between two attempts, a child
        that was never created or has ended meanwhile, or nothing pending and no time to begin at.
        """
        ...

    def due(self, until: int, limit: int) -> list[tuple[int, int]]:
        """List `(time, run)` of runs whose `next_due` is at or before `until`, earliest first."""
        ...

    def next_due(self) -> int | None:
        """The earliest `next_due` of all runs."""
        ...

    def prefetch(self, runs: Sequence[int]) -> None:
        """Say that these runs, a page of them, are looked at and walked next. It changes no answer, only their cost."""
        ...

    def waiters(self, event_type: str, payload: Mapping[str, Any]) -> list[Waiter]:
        """List the waits whose type is equal and whose every `match` key is in the payload with an equal value.

        `payload` holds plain JSON values. Equal are values of the same JSON type with equal content; 1 and 1.0 are
        equal, 1 and true are not. In order of run and command position.
        """
        ...

    def definition(self, digest: str) -> DefinitionRow | None:
        """Find a definition by its digest."""
        ...

    def has_definition(self, digest: str) -> bool:
        """Whether there is a definition with this digest; quick, because each start asks."""
        ...

    def sql(self, query: str, parameters: Sequence[Any] = ()) -> SqlResult:
        """Run one read-only query over the documented views; it sees everything that was acknowledged."""
        ...

    def close(self) -> None:
        """Give the file back. What was acknowledged is already safe."""
        ...


def is_on_queue(row: RunRow, since: int) -> bool:
    """Whether `on_queues` lists this row."""
    if row.queue is None:
        return False
    return row.finished_at is None or (row.began_at is not None and row.began_at >= since)


def ending(ledger: Ledger, row: RunRow) -> Entry:
    """Read the entry that ended a run, or that stopped it as diverged. Causes and notes may follow it."""
    stop = row.length
    while stop > 0:
        start = max(0, stop - _LOOKED_BACK_AT)
        for entry in reversed(ledger.entries(row.run, start, stop - start)):
            if entry.kind in ENDINGS or entry.kind == DIVERGED:
                return entry
        stop = start
    raise InternalError(
        f"run {row.run_id} is {row.status}, and no entry says so.", where=f"run {row.run}", fix="send us the ledger"
    )
