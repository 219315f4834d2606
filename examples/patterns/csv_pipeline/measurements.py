"""A CSV of measurements, the same on every machine, with the dirt that real ones have: the file that comes in."""

from __future__ import annotations

from pathlib import Path
from random import Random

STATIONS = tuple(f"S{number:02}" for number in range(1, 21))
HEADER = "id,station,celsius,taken_at\n"
ONE_IN = 500  # lines that can't be used


def write_csv(file: Path, rows: int) -> int:
    """Write so many rows; give how many of them are dirt."""
    chance = Random(100_000)
    dirt = 0
    with file.open("w", encoding="utf-8", newline="\n") as out:
        out.write(HEADER)
        for number in range(rows):
            celsius = f"{chance.gauss(12, 8):.1f}"
            if chance.randrange(ONE_IN) == 0:
                celsius = chance.choice(("", "n/a", "12,5"))
                dirt += 1
            out.write(f"{number},{chance.choice(STATIONS)},{celsius},2030-01-{chance.randint(1, 31):02}\n")
    return dirt
