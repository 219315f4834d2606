"""Ledgers and workflows, as commands open them.

Knows paths and modules. What goes wrong is raised as an error of the tree, for `command.py` to show.
"""

from __future__ import annotations

import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from perdure.declare.discovery import find_workflows
from perdure.declare.registry import Registry
from perdure.errors import DefinitionError, LedgerError, PerdureError, UnknownRun
from perdure.storage.duckdb_ledger import DuckDBLedger
from perdure.storage.ledger import Ledger, RunRow


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
            f"there is no ledger {str(path)!r}.", where=str(Path.cwd()), fix="mend the path; the ledger comes first"
        )


def registry_of(workflows: str) -> Registry:
    """Import workflows and check them.

    Raises:
        DefinitionError: the module fails to import. PolicyViolation: with all findings.
    """
    try:
        return Registry(find_workflows(workflows))
    except PerdureError:
        raise
    except Exception as error:  # the user's module may raise anything; told as an error with its place
        raise DefinitionError(
            f"{workflows!r} fails to import: {type(error).__name__}: {error}",
            where=_place(error),
            fix="make `python -c 'import …'` of it work first",
        ) from error
    except SystemExit as error:
        raise DefinitionError(
            f"{workflows!r} ends the process when it is imported (exit {error.code}).",
            fix='put what it runs under `if __name__ == "__main__":`',
        ) from error


def some_workflows(registry: Registry, workflows: str) -> None:
    """Refuse a module without any workflow."""
    if not registry.all():
        raise DefinitionError(
            f"{workflows!r} has no workflows.", fix="name the module whose functions are decorated with @workflow"
        )


def need_run(ledger: Ledger, run_id: str, path: Path) -> RunRow:
    """Find a run.

    Raises:
        UnknownRun: the ledger has none of that id.
    """
    row = ledger.run(run_id)
    if row is None:
        raise UnknownRun(f"the ledger has no run {run_id!r}.", where=str(path), fix=f"see the ids: perdure runs {path}")
    return row


def _place(error: BaseException) -> str:
    if isinstance(error, SyntaxError):
        return f"{error.filename}:{error.lineno}"
    frames = [
        frame
        for frame in traceback.extract_tb(error.__traceback__)
        if "importlib" not in frame.filename and Path(__file__).parent.parent not in Path(frame.filename).parents
    ]
    return f"{frames[-1].filename}:{frames[-1].lineno}" if frames else ""
