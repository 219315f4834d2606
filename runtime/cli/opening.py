"""Ledgers and workflows, as commands open them.

Knows paths and modules. What goes wrong is raised as an error of the tree, for `command.py` to show.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from perdure.declare.discovery import USUAL_PLACES, usual_places
from perdure.declare.imported import registry_of
from perdure.declare.registry import Registry
from perdure.errors import DefinitionError, LedgerError, UnknownRun
from perdure.storage.duckdb_ledger import DuckDBLedger
from perdure.storage.ledger import Ledger, RunRow

__all__ = ["need_ledger", "need_run", "need_workflows", "reading", "registry_of", "usual_workflows", "workflows_at"]


@contextmanager
def reading(path: Path) -> Iterator[DuckDBLedger]:
    """Open a stopped ledger to look at it; nothing of it is changed.

    Raises:
        LedgerError: there is none, or it can't be read. LedgerLocked: a process owns it.
    """
    need_ledger(path)
    ledger = DuckDBLedger(path, read_only=True)
    try:
        yield ledger
    finally:
        ledger.close()


def need_ledger(path: Path) -> None:
    """Refuse a path where no ledger is; a typing error must not make a new one."""
    if not path.exists():
        raise LedgerError(
            f"there is no ledger {str(path)!r}.",
            where=str(Path.cwd()),
            fix=f"mend the path (the ledger comes first), or begin a new one: perdure run {path}",
        )


def workflows_at(given: str | None) -> str:
    """Where the workflows are: where the user says, else in one of the usual places.

    Raises:
        DefinitionError: nobody says, and they are in neither.
    """
    if given is not None:
        return given
    found, note = usual_workflows()
    if found is None:
        raise DefinitionError(
            "there are no workflows here.",
            where=note[:1].lower() + note[1:].removesuffix("."),
            fix="write workflows.py, begin with an example (perdure new), or say where they are: --workflows with a "
            "module, a .py file or a folder",
        )
    return found


def usual_workflows() -> tuple[str | None, str]:
    """The usual place that has workflows, None when neither is there; and what is to be said about where was looked."""
    found = usual_places(Path.cwd())
    places = [_as_typed(place) for place in USUAL_PLACES]
    if not found:
        return None, f"Looked for {' and '.join(places)} in {Path.cwd()}."
    passed_over = [_as_typed(place) for place in found[1:]]
    if passed_over:
        return found[0], f"{_as_typed(found[0])} is there, so {' and '.join(passed_over)} was not looked at."
    return found[0], ""


def _as_typed(place: str) -> str:
    return place if place.endswith(".py") else f"{place}/"


def need_workflows(given: str | None) -> Registry:
    """Import the workflows, and refuse to go on with none.

    Raises:
        DefinitionError, PolicyViolation: they can't be found or used, or there are none.
    """
    place = workflows_at(given)
    registry = registry_of(place)
    if not registry.all():
        raise DefinitionError(
            f"{place!r} has no workflows.",
            where=str(Path.cwd()),
            fix="name the module whose functions are decorated with @workflow",
        )
    return registry


def need_run(ledger: Ledger, run_id: str, path: Path) -> RunRow:
    """Find a run.

    Raises:
        UnknownRun: the ledger has none of that id.
    """
    row = ledger.run(run_id)
    if row is None:
        raise UnknownRun(f"the ledger has no run {run_id!r}.", where=str(path), fix=f"see the ids: perdure runs {path}")
    return row
