"""Open runs, taken over to today's code while their runtime is open.

Each is replayed beside the engine first, which takes as long as it takes. It moves in one turn of the engine, which
replays what is there then: a run is never moved on the word of an older replay.

Knows runs and verdicts. Must not know how a body is replaced.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from perdure.declare.registry import Definition
from perdure.engine.batch import Batch, Unsettled
from perdure.engine.engine import Engine, snapshot
from perdure.engine.upgrade import move
from perdure.errors import DefinitionError, Divergence, InternalError, LedgerError, PerdureError, UnknownRun
from perdure.replay.check import Verdict
from perdure.replay.survey import Finding, Unchecked
from perdure.replay.upgrade import OPEN, Targets, Upgrade, check_upgrade, upgrade_of
from perdure.storage.entries import DefinitionRow, Entry
from perdure.storage.ledger import ENDED, RunFilter, RunRow

if TYPE_CHECKING:
    from perdure.client.runtime import Runtime

_PAGE_RUNS = 500


@dataclass(frozen=True, slots=True)
class _Found:
    row: RunRow
    entries: list[Entry]
    recorded: DefinitionRow | None


async def upgrade_runs(
    runtime: Runtime, *, workflow: str | None, run_id: str | None, version: str | None, dry_run: bool
) -> list[Upgrade]:
    """Check, and unless it is a dry run move, the open runs that are not on today's code."""
    check_target(workflow, run_id, version)
    targets = Targets(runtime.registry, version)
    upgrades = []
    for found_id in await _open_runs(runtime, targets, workflow, run_id):
        upgraded = await _upgrade(runtime, targets, found_id, dry_run=dry_run)
        if upgraded is not None:
            upgrades.append(upgraded)
    return upgrades


def check_target(workflow: str | None, run_id: str | None, version: str | None) -> None:
    """Refuse a version for the runs of any workflow: versions of one mean nothing to another."""
    if version is not None and workflow is None and run_id is None:
        raise DefinitionError(
            f"version {version!r} is of one workflow, and the runs of all were asked for.",
            fix="name the workflow, or one run",
        )


async def _open_runs(runtime: Runtime, targets: Targets, workflow: str | None, run_id: str | None) -> list[str]:
    if run_id is not None:
        row = await runtime.ask(lambda engine, batch: engine.ledger.run(run_id))
        if row is None:
            raise UnknownRun(f"the ledger has no run {run_id!r}.", fix="look at the ids in runtime.runs()")
        need_open(row)
        return [] if targets.is_there(row) else [run_id]
    found: list[str] = []
    before: int | None = None
    while True:
        wanted = RunFilter(workflow=workflow, statuses=OPEN, before_run=before, limit=_PAGE_RUNS)
        rows = await runtime.ask(lambda engine, batch, wanted=wanted: engine.ledger.runs(wanted))  # type: ignore[misc]
        found += [row.run_id for row in rows if not targets.is_there(row)]
        if len(rows) < _PAGE_RUNS:
            return found
        before = rows[-1].run


def need_open(row: RunRow) -> None:
    """Refuse a run that has ended: no code walks it any more."""
    if row.status in ENDED:
        raise DefinitionError(
            f"run {row.run_id} has ended ({row.status}), so there is nothing to upgrade.",
            where=f"{row.workflow} v{row.version}",
            fix=f"to live it again on today's code, fork it: perdure fork LEDGER {row.run_id} --at STEP",
        )


async def _upgrade(runtime: Runtime, targets: Targets, run_id: str, *, dry_run: bool) -> Upgrade | None:
    """Do one run; None when it has ended, or come to this code, since it was found."""
    found = await runtime.ask(lambda engine, batch: _look(engine, run_id))
    row = found.row
    if row.status in ENDED or targets.is_there(row):
        return None
    try:
        target = targets.of(row)
        finding: Finding = await asyncio.to_thread(_checked, found, target)
    except Exception as error:  # noqa: BLE001  # one run must not keep the others from being checked; its report says it
        return upgrade_of(row, targets, _unchecked(row, error))
    if dry_run or not isinstance(finding, Verdict) or not finding.ok:
        return upgrade_of(row, targets, finding)
    moved = await runtime.settled(lambda engine, batch: _move(engine, batch, found, target))
    if moved is None:
        return None
    if moved.ok and row.status == "diverged":
        await runtime.ask(lambda engine, batch: engine.moves.resume(row.run, batch))
    return upgrade_of(row, targets, moved, moved=moved.ok)


def _look(engine: Engine, run_id: str) -> _Found:
    row = engine.ledger.run(run_id)
    assert row is not None  # runs are not deleted while a runtime is open
    return _Found(snapshot(row), engine.ledger.entries(row.run), engine.ledger.definition(row.definition))


def _checked(found: _Found, target: Definition) -> Verdict:
    return check_upgrade(found.row, target, found.entries, recorded=found.recorded)


def _move(engine: Engine, batch: Batch, found: _Found, target: Definition) -> Verdict | None:
    row = engine.ledger.run_numbered(found.row.run)
    if row is None or row.status in ENDED:
        return None
    if row.run in batch.touched:
        raise Unsettled
    if row.length != found.row.length:
        verdict = _checked(replace(found, row=row, entries=engine.ledger.entries(row.run)), target)
        if not verdict.ok:
            return verdict
    try:
        move(engine, row, target, batch)
    except Divergence as divergence:  # it replayed a moment ago: the body is not the same twice
        return Verdict(row.run_id, row.workflow, target.version, row.length, divergence, run=row.run)
    return Verdict(row.run_id, row.workflow, target.version, row.length, run=row.run)


def _unchecked(row: RunRow, error: Exception) -> Unchecked:
    if isinstance(error, LedgerError):
        raise error
    if not isinstance(error, PerdureError):
        bug = InternalError(
            f"run {row.run_id} could not be replayed: {type(error).__name__}: {error}",
            where=f"{row.workflow} v{row.version}",
            fix="send us the history of this run",
        )
        bug.__cause__ = error
        error = bug
    return Unchecked(row.run_id, row.workflow, row.version, error, row.run)
