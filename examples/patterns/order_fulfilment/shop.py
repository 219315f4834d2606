"""The shop's own back end, in one SQLite file: stock, payments, parcels and support tickets. It knows no workflows.

What changes something takes a key, and does for the same key what it did the first time.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager

FILE = "shop.sqlite"
STOCK = {"MUG": 4_000, "LAMP": 300}

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
        return _enter(books, key, what, order_id, detail)


def _enter(books: sqlite3.Connection, key: str, what: str, order_id: str, detail: str) -> str:
    books.execute("INSERT OR IGNORE INTO done VALUES (?, ?, ?, ?)", (key, what, order_id, detail))
    (number,) = books.execute("SELECT rowid FROM done WHERE key = ?", (key,)).fetchone()
    return f"{what}-{number}"


def reserve(key: str, order_id: str, sku: str) -> str | None:
    """Take one from the shelf; give a number for it, None when the shelf is empty.

    Who has one already is given the same one, also when it was the last.
    """
    others = "SELECT count(*) FROM done WHERE what = 'reserved' AND detail = ? AND key != ?"
    with opened() as books:
        books.execute("BEGIN IMMEDIATE")  # nobody else takes one between the look and the taking
        (taken,) = books.execute(others, (sku, key)).fetchone()
        if taken >= STOCK.get(sku, 0):
            return None
        return _enter(books, key, "reserved", order_id, sku)


def done(order_id: str) -> list[str]:
    """What was done for an order, in order."""
    with opened() as books:
        rows = books.execute("SELECT what FROM done WHERE order_id = ? ORDER BY rowid", (order_id,))
        return [what for (what,) in rows]
