"""A year of sales in one SQLite file, the same on every machine. It plays the warehouse that reports are made from."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path
from random import Random

REGIONS = ("north", "east", "south", "west")


def fill(file: Path, count: int = 5_000) -> None:
    """Make the sales, once."""
    if file.exists():
        return
    chance = Random(2030)
    rows = [
        (f"2030-{chance.randint(1, 12):02}", chance.choice(REGIONS), chance.randint(500, 50_000)) for _ in range(count)
    ]
    with closing(sqlite3.connect(file)) as warehouse, warehouse:
        warehouse.execute("CREATE TABLE sales (month TEXT, region TEXT, cents INTEGER)")
        warehouse.executemany("INSERT INTO sales VALUES (?, ?, ?)", rows)


def of_month(file: Path, month: str, region: str) -> tuple[int, int]:
    """How many sales there were, and their sum in cents."""
    query = "SELECT count(*), coalesce(sum(cents), 0) FROM sales WHERE month = ? AND region = ?"
    with closing(sqlite3.connect(file)) as warehouse:
        count, cents = warehouse.execute(query, (month, region)).fetchone()
    return int(count), int(cents)
