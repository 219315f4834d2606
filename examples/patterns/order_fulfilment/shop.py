"""The shop's own back end, in one SQLite file: stock, payments, parcels and support tickets. It knows no workflows.

What changes something takes a key, and does for the same key what it did the first time.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager

FILE = "shop.sqlite"
STOCK = {"MUG": 40, "LAMP": 3}

_TABLE = "CREATE TABLE IF NOT EXISTS done (key TEXT PRIMARY KEY, what TEXT, order_id TEXT, detail TEXT)"


@contextmanager
def opened() -> Iterator[sqlite3.Connection]:
    """The books, in one transaction."""
    with closing(sqlite3.connect(FILE, timeout=10)) as books, books:
        books.execute("PRAGMA synchronous = OFF")  # these books are a toy's, and need not outlive a power failure
        books.execute(_TABLE)
        yield books


def do(key: str, what: str, order_id: str, detail: str = "") -> str:
    """Do something for an order, once per key; give a number for it."""
    with opened() as books:
        books.execute("INSERT OR IGNORE INTO done VALUES (?, ?, ?, ?)", (key, what, order_id, detail))
        (number,) = books.execute("SELECT rowid FROM done WHERE key = ?", (key,)).fetchone()
    return f"{what}-{number}"


def in_stock(sku: str) -> int:
    """How many are left on the shelf."""
    with opened() as books:
        (taken,) = books.execute("SELECT count(*) FROM done WHERE what = 'reserved' AND detail = ?", (sku,)).fetchone()
    return STOCK.get(sku, 0) - int(taken)


def done(order_id: str) -> list[str]:
    """What was done for an order, in order."""
    with opened() as books:
        rows = books.execute("SELECT what FROM done WHERE order_id = ? ORDER BY rowid", (order_id,))
        return [what for (what,) in rows]
