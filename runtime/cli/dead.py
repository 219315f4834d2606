"""Dead letters: runs that nobody started by hand, and that failed for good. What `perdure runs --dead` shows."""

from __future__ import annotations

import json
from datetime import UTC
from pathlib import Path
from typing import Any

from perdure.cli.opening import reading
from perdure.cli.output import cells, console, moment_text, print_json, print_table, table
from perdure.storage.ledger import Ledger

_QUERY = """
    SELECT run_id, workflow, version, kind, source, started_at, error, cause, input FROM triggered
    WHERE status = 'failed' AND ($1 IS NULL OR epoch_us(started_at) >= CAST($1 AS BIGINT))
    ORDER BY run DESC LIMIT CAST($2 AS BIGINT)
"""
_ALL = 2**62


def list_dead(path: Path, since: int | None, limit: int | None, *, as_json: bool) -> None:
    """List them, newest first, with what had started each."""
    with reading(path) as opened:
        rows = _rows(opened, since, limit)
    if as_json:
        print_json([{**row, "cause": json.loads(row["cause"])} for row in rows])
        return
    if not rows:
        console().print("No dead letters: nothing has failed that a schedule, an event or a change started.")
        return
    shown = table("run", "workflow", "started by", "at", "error")
    for row in rows:
        by = f"{row['kind']} {row['source']}"
        shown.add_row(*cells([row["run_id"], row["workflow"], by, moment_text(row["started_at"]), row["error"]]))
    print_table(shown)
    console(stderr=True).print(f"To try one again: perdure retry {path} RUN", soft_wrap=True)


def _rows(ledger: Ledger, since: int | None, limit: int | None) -> list[dict[str, Any]]:
    found = ledger.sql(_QUERY, [since, _ALL if limit is None else limit])
    rows = [dict(zip(found.columns, row, strict=True)) for row in found.rows]
    return [{**row, "started_at": row["started_at"].replace(tzinfo=UTC)} for row in rows]
