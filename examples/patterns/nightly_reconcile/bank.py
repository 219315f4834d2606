"""The bank's side, as a folder: a statement for each day, as CSV, which comes when the bank gets round to it."""

from __future__ import annotations

import csv
from pathlib import Path

STATEMENTS = "statements"


def put_statement(day: str, lines: dict[str, int]) -> None:
    """What the bank does: lay down the statement of a day, whole or not at all."""
    folder = Path(STATEMENTS)
    folder.mkdir(exist_ok=True)
    draft = folder / f"{day}.draft"
    with draft.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(("order", "cents"))
        writer.writerows(lines.items())
    draft.replace(folder / f"{day}.csv")


def statement(day: str) -> dict[str, int] | None:
    """The statement of a day: cents by order; None when it has not come yet."""
    file = Path(STATEMENTS) / f"{day}.csv"
    if not file.exists():
        return None
    with file.open(encoding="utf-8", newline="") as lines:
        return {row["order"]: int(row["cents"]) for row in csv.DictReader(lines)}
