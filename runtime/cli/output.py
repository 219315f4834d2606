"""How commands show things: tables and colours for people, JSON for programs.

Knows rich and JSON. Must not know ledgers.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from datetime import UTC, date, datetime, timedelta
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

STATUS_STYLES = {
    "completed": "green", "failed": "bold red", "diverged": "bold magenta", "cancelled": "yellow", "running": "cyan",
    "awaiting_retry": "yellow",
}  # fmt: skip


def console(*, stderr: bool = False) -> Console:
    """A console on the stream as it is now; highlighting is off, because values speak for themselves."""
    return Console(file=sys.stderr if stderr else sys.stdout, highlight=False, soft_wrap=False)


def print_json(value: Any) -> None:
    """Print one JSON document; what JSON has no word for becomes text."""
    print(json.dumps(value, ensure_ascii=False, indent=2, default=as_plain))


def table(*columns: str, right: Sequence[str] = ()) -> Table:
    """A table without lines; the columns in `right` hold numbers."""
    made = Table(box=None, header_style="bold", pad_edge=False)
    for column in columns:
        made.add_column(Text(column), justify="right" if column in right else "left", overflow="fold")
    return made


def print_table(made: Table) -> None:
    """Print a table as wide as it needs when nobody looks at a terminal."""
    shown = console()
    if not shown.is_terminal:
        shown.width = 10_000
        made.expand = False
    shown.print(made)


def status_text(status: str) -> Text:
    """A status in its colour."""
    return Text(status, style=STATUS_STYLES.get(status, ""))


def cells(values: Sequence[Any]) -> list[Text]:
    """Values as cells that rich does not take for markup."""
    return [value if isinstance(value, Text) else Text(_cell(value)) for value in values]


def moment_text(when: datetime | None) -> str:
    """A moment for people, in UTC, to the second."""
    return "" if when is None else when.astimezone(UTC).strftime("%Y-%m-%d %H:%M:%SZ")


def elapsed_text(micros: int) -> str:
    """How long after the begin: `+0.012s`, `+3m07s`, `+2d04h`."""
    seconds = micros / 1_000_000
    if seconds < 60:
        return f"+{seconds:.3f}s"
    minutes, rest = divmod(int(seconds), 60)
    if minutes < 60:
        return f"+{minutes}m{rest:02}s"
    hours, minutes = divmod(minutes, 60)
    if hours < 48:
        return f"+{hours}h{minutes:02}m"
    return f"+{hours // 24}d{hours % 24:02}h"


def _cell(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, (dict, list)):
        return json.dumps(value, ensure_ascii=False, default=as_plain)
    return str(value)


def as_plain(value: Any) -> Any:
    """What stands in JSON for a value that it has no word for."""
    if isinstance(value, (datetime, date)):
        return value.isoformat()
    if isinstance(value, timedelta):
        return value.total_seconds()
    if isinstance(value, bytes):
        return value.hex()
    return str(value)
