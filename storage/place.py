"""Where a ledger may lie.

This file knows paths. It must not know what is in a ledger.
"""

from __future__ import annotations

from pathlib import Path

from perdure.errors import LedgerCorrupt, LedgerReadOnly


def check_place(path: Path, read_only: bool) -> None:
    """Say plainly what DuckDB would say in its own words, or what would make a ledger where none is meant."""
    if path.is_dir():
        raise LedgerCorrupt(
            "a ledger is a file, and this is a folder.",
            where=str(path),
            fix=f"name a file in it, such as {path / 'ledger.duckdb'}",
        )
    if read_only and not path.exists():
        raise LedgerReadOnly(
            "there is no ledger to read.", where=str(path), fix="mend the path; without read_only=True it would be made"
        )
    if not path.parent.is_dir():
        raise LedgerReadOnly("the ledger's folder does not exist.", where=str(path.parent), fix="make the folder first")
