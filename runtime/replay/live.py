"""Live verification: runs that have ended are replayed in the background, and the verdicts go into their histories.

    engine ──► a run has ended ──► queue ──► replay, giving way to production ──► engine: the note `verified`

Rules:
- the ledger is asked on the engine's thread alone, a bounded number of entries at a time;
- production comes first: see `paced.py`. A run that diverges here is not touched but for the note: it has completed;
- the queue is bounded and forgotten at the end. What was left out is found again by looking in the ledger, when the
  runtime opens and whenever the queue has run over: the newest runs without a verdict, up to a limit;
- a run is replayed on what it was walked on: today's code, or the recorded code that it started with;
- a run that moved on meanwhile gets no note: it comes again when it ends again.

This file knows when to verify what. It must not know how a replay is done (check.py).
"""

from __future__ import annotations

import json
import logging
import os
import threading
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Final, Literal

from perdure.core.facts import Executable, RunFacts
from perdure.core.history import Reused
from perdure.core.machine import Machine
from perdure.declare.pinned import PinnedDefinition
from perdure.declare.registry import Definition
from perdure.engine.batch import Batch
from perdure.engine.created import PYTHON
from perdure.engine.engine import Engine
from perdure.engine.thread import EngineThread
from perdure.errors import DefinitionError, LedgerCorrupt, LedgerError, PerdureError, WorkflowError
from perdure.replay.check import Verdict, check_run
from perdure.replay.paced import OutOfTime, Pace, PacedMachine
from perdure.replay.selection import in_share
from perdure.storage import entries as kinds
from perdure.storage.entries import DefinitionRow, Entry
from perdure.storage.ledger import ENDED, RunFilter, RunRow
from perdure.version import __version__

logger = logging.getLogger("perdure")

_QUEUE_MAX: Final = 5_000
#: How much one request may read, and so how long it may hold up the engine.
_ENTRIES_AT_ONCE: Final = 1_000
_RUNS_AT_ONCE: Final = 64
#: How far a look into the ledger goes: so many of the newest ended runs without a verdict.
_PAGE: Final = 500
_LOOKED_AT_MAX: Final = 10_000
#: Above it the cause of a divergence is not looked for: that would keep bodies from running for too long.
_EXPLAINED_MAX: Final = 2_000
_PAUSE_AFTER_FULL_DISK_S: Final = 30.0
_FRESH: Final = 2**63 - 1  # a run number above all


def share_of(verify: Literal["off", "always"] | float) -> float:
    """Read `Runtime(verify=…)` as the share of runs to verify: 0 is none, 1 is all."""
    if verify == "off":
        return 0.0
    if verify == "always":
        return 1.0
    if isinstance(verify, (int, float)) and not isinstance(verify, bool) and 0 < verify <= 1:
        return float(verify)
    raise DefinitionError(
        f"verify={verify!r} can't be used.",
        fix='give "always", "off", or a share of the runs above 0 and up to 1, such as 0.01',
    )


@dataclass(frozen=True, slots=True)
class _Finding:
    """What is to be noted about a run."""

    row: RunRow  # as it was when it was replayed
    definition: str  # digest of what it was replayed against
    verdict: Verdict

    def detail(self) -> str:
        facts: dict[str, object] = {
            "ok": self.verdict.ok, "definition": self.definition, "python": PYTHON, "perdure": __version__,
        }  # fmt: skip
        divergence = self.verdict.divergence
        if divergence is not None:
            facts |= {
                "position": divergence.position, "cause": divergence.cause, "message": divergence.message,
                "report": str(divergence),
            }  # fmt: skip
        return json.dumps(facts, ensure_ascii=False)


class LiveVerifier:
    """Verifies a share of the runs of one engine, in a thread of its own."""

    def __init__(self, engine_thread: EngineThread, share: float) -> None:
        self._engine_thread = engine_thread
        self._definitions = engine_thread.engine.definitions
        self._unloadable: set[str] = set()  # digests of code that can't be had, each told once
        self._share = share
        # For the commands that reports name. They are kept for ever: folders of today's machine have no place in them.
        self._name = os.path.basename(getattr(engine_thread.engine.ledger, "path", "LEDGER"))
        self._pace = Pace(lambda: not engine_thread.is_idle)
        self._queue: deque[RunRow] = deque()
        self._wanted = threading.Event()
        self._look_below: int | None = _FRESH  # where to go on looking in the ledger; None once it was looked through
        self._looked_at = 0
        self._thread = threading.Thread(target=self._work, name="perdure-verifier", daemon=True)
        engine_thread.engine.on_ended = self._take_ended

    def start(self) -> None:
        """Begin, with what earlier processes left to do."""
        self._wanted.set()
        self._thread.start()

    def stop(self, seconds: float) -> None:
        """Verify what waits for at most so long, without giving way, and end. The rest is for the next start."""
        self._pace.hurry(seconds)
        self._wanted.set()
        if self._thread.is_alive():
            self._thread.join()

    # ── on the engine's thread ───────────────────────────────────────────────────────────────────

    def _take_ended(self, run: int) -> None:
        row = self._engine_thread.engine.ledger.run_numbered(run)
        if row is None or not self._is_chosen(row):
            return
        if len(self._queue) < _QUEUE_MAX:
            self._queue.append(row)
        else:
            self._look_below = _FRESH
        self._wanted.set()

    def _is_chosen(self, row: RunRow) -> bool:
        return (
            row.status in ENDED
            and row.verdict is None
            and in_share(row.run_id, self._share, "verify")
            and self._definitions.may_walk(row)
        )

    def _look(self, engine: Engine, batch: Batch, below: int) -> list[RunRow]:
        wanted = RunFilter(statuses=tuple(sorted(ENDED)), before_run=below, limit=_PAGE, unverified=True)
        return engine.ledger.runs(wanted)

    def _note(self, engine: Engine, batch: Batch, findings: Sequence[_Finding]) -> None:
        for each in findings:
            row = engine.ledger.run_numbered(each.row.run)
            moved_on = row is None or row.length != each.row.length or row.run in batch.touched
            if row is not None and not moved_on:
                batch.add(engine.moves.bare_entry(row, batch, kinds.VERIFIED, detail=each.detail()))

    # ── on its own ───────────────────────────────────────────────────────────────────────────────

    def _work(self) -> None:
        self._pace.begin()
        try:
            while True:
                self._wanted.wait()
                self._wanted.clear()
                is_last = self._pace.hurrying  # asked before, so that what came before the hurry is worked off
                self._work_off()
                if is_last:
                    return
        except OutOfTime:
            logger.info("Closing left runs unverified; the next start goes on with the newest of them.")
        except PerdureError as error:  # the engine has ended; it has said why
            logger.info("Live verification ends: %s", error.message)
        except BaseException:  # our bug: production goes on without it
            logger.exception("Live verification stopped; this is a bug of Perdure.")

    def _work_off(self) -> None:
        while self._queue or self._refill():
            rows = self._next_rows()
            try:
                self._verify(rows)
            except LedgerError as error:  # a full disk: production meets it too, and this can wait
                logger.warning("Verdicts on %d runs could not be recorded: %s", len(rows), error.message)
                self._look_below = _FRESH
                if self._pace.hurrying:
                    return
                self._pace.wait(_PAUSE_AFTER_FULL_DISK_S)

    def _refill(self) -> bool:
        """Look in the ledger for what was left out; False when there is nothing."""
        while self._look_below is not None:
            self._pace.rest()
            below = self._look_below
            if below == _FRESH:
                self._looked_at = 0
            found = self._engine_thread.call(partial(self._look, below=below)).result()
            self._looked_at += len(found)
            if self._look_below == below:  # else the queue has run over again meanwhile
                done = len(found) < _PAGE or self._looked_at >= _LOOKED_AT_MAX
                self._look_below = None if done else found[-1].run
            self._queue.extend(row for row in found if self._is_chosen(row))
            if self._queue:
                return True
        return False

    def _next_rows(self) -> list[RunRow]:
        rows = {row.run: row for row in [self._queue.popleft()]}
        entries = sum(row.length for row in rows.values())
        while self._queue and len(rows) < _RUNS_AT_ONCE:
            entries += self._queue[0].length
            if entries > _ENTRIES_AT_ONCE:
                break
            row = self._queue.popleft()
            rows[row.run] = row
        return list(rows.values())

    def _verify(self, rows: Sequence[RunRow]) -> None:
        findings = []
        try:
            for row, entries in zip(rows, self._read(rows), strict=True):
                finding = self._check(row, entries)
                if finding is not None:
                    findings.append(finding)
        finally:  # also when the time is up
            if findings:
                self._engine_thread.call(partial(self._note, findings=findings)).result()
        for each in findings:
            if not each.verdict.ok:
                row = each.row
                logger.error(
                    "Run %s of %s v%s has ended (%s), but does not replay.\n%s",
                    row.run_id, row.workflow, row.version, row.status, each.verdict.divergence,
                )  # fmt: skip

    def _read(self, rows: Sequence[RunRow]) -> list[list[Entry]]:
        if len(rows) > 1:
            call = self._engine_thread.call(lambda engine, batch: engine.ledger.walk_many(rows))
            return [list(found[: row.length]) for row, found in zip(rows, call.result(), strict=True)]
        return [self._read_whole(row) for row in rows]

    def _read_whole(self, row: RunRow) -> list[Entry]:
        """A long run is read in parts, so that the engine gets on with its work in between."""
        entries: list[Entry] = []
        for start in range(0, row.length, _ENTRIES_AT_ONCE):
            limit = min(_ENTRIES_AT_ONCE, row.length - start)
            ask = partial(_entries, run=row.run, start=start, limit=limit)
            entries += self._engine_thread.call(ask).result()
        return entries

    def _check(self, row: RunRow, entries: Sequence[Entry]) -> _Finding | None:
        try:
            definition = self._definition(row)
            if definition is None:
                return None
            verdict = check_run(row, definition, entries, explain=False, machine_of=self._machine)
            if not verdict.ok:
                # Only what diverges is worth reading whole; and only what diverges then has diverged.
                explain = row.length <= _EXPLAINED_MAX
                whole, recorded = self._read_whole(row), self._recorded(row)
                verdict = check_run(
                    row, definition, whole, recorded=recorded, ledger=self._name, explain=explain,
                    machine_of=self._machine,
                )  # fmt: skip
        except LedgerError:
            raise
        except Exception as error:  # noqa: BLE001  # one run must not keep the others from being verified
            logger.warning("Run %s of %s v%s can't be verified: %r", row.run_id, row.workflow, row.version, error)
            return None
        self._pace.rest()
        return _Finding(row, definition.digest, verdict)

    def _definition(self, row: RunRow) -> Definition | PinnedDefinition | None:
        """What the run was walked on; None when it can't be had. The engine's thread loads it, as it does for runs."""
        try:
            return self._engine_thread.call(lambda engine, batch: engine.definitions.of(row)).result()
        except (WorkflowError, LedgerCorrupt) as error:
            if row.definition not in self._unloadable:
                self._unloadable.add(row.definition)
                logger.warning("Runs of %s v%s can't be verified: %s", row.workflow, row.version, error.message)
            return None

    def _machine(self, executable: Executable, facts: RunFacts, reused: Reused) -> Machine:
        return PacedMachine(executable, facts, reused, pace=self._pace)

    def _recorded(self, row: RunRow) -> DefinitionRow | None:
        return self._engine_thread.call(lambda engine, batch: engine.ledger.definition(row.definition)).result()


def _entries(engine: Engine, batch: Batch, run: int, start: int, limit: int) -> list[Entry]:
    return engine.ledger.entries(run, start, limit)
