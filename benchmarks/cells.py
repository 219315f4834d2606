"""What a cell costs: in a batch beside the same batch without it, and to read, among ten cells and among a million.

Usage: python benchmarks/cells.py [CELLS] [--json]

Ratios come from the same run: appends with and without a cell are taken in turns. Times are of the ledger alone.
"""

from __future__ import annotations

import argparse
import json
import statistics
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path

from ledger import completed, created, step

from perdure.storage.cells import Cell
from perdure.storage.duckdb_ledger import DuckDBLedger

FEW = 10
BATCHES = 1500
LOOKED_UP = 300
AT_ONCE = 5000
#: A value such as one keeps: where an invitation stands.
BODY = json.dumps({"state": "clicked", "count": 3, "invitee": "grace@example.com", "last": "2026-04-01T09:30:00Z"})


def value(number: int, at: int) -> Cell:
    return Cell("kv/invites", f"invite:{number:07}", at, at, BODY)


def filled(path: Path, cells: int) -> None:
    ledger = DuckDBLedger(path)
    for first in range(0, cells, AT_ONCE):
        ledger.append([], (), [value(number, 1000) for number in range(first, min(first + AT_ONCE, cells))])
        # One of another namespace here and there among the many.
        ledger.append([], (), [Cell("kv/few", f"few:{first:07}", 1000, 1000, BODY)])
    for number in range(FEW):
        ledger.append([], (), [Cell("queue/mail", f"{number:03}", 1000, 1000, BODY, due=number)])
    ledger.close()


def took_us(call: Callable[[], object]) -> float:
    begun = time.perf_counter()
    call()
    return (time.perf_counter() - begun) * 1e6


def appends(ledger: DuckDBLedger, cells: int) -> dict[str, float]:
    """Batches of two entries: plain, with a cell that is written over and over, with ever other and with new ones."""
    kinds: dict[str, Callable[[int], list[Cell]]] = {
        "plain": lambda _: [],
        "hot": lambda at: [value(0, at)],
        "other": lambda at: [value(at * 7919 % cells, at)],
        "new": lambda at: [value(cells + at, at)],
    }
    runs = {}
    for name in kinds:
        runs[name] = ledger.next_run()
        ledger.append([created(runs[name], 1000), step(runs[name], 1)])
    taken: dict[str, list[float]] = {name: [] for name in kinds}
    for position in range(2, 2 * BATCHES, 2):
        for name, made in kinds.items():
            batch, changed = [completed(runs[name], position), step(runs[name], position + 1)], made(position)
            taken[name].append(took_us(lambda batch=batch, changed=changed: ledger.append(batch, (), changed)))  # type: ignore[misc]
    medians = {f"append_{name}_us": statistics.median(times) for name, times in taken.items()}
    for name in ("hot", "other", "new"):
        medians[f"append_{name}_ratio"] = medians[f"append_{name}_us"] / medians["append_plain_us"]
    return medians


def look_ups(ledger: DuckDBLedger, cells: int) -> dict[str, float]:
    """Reads of what is hot, of what was not read for long, of what is not there; a page of a space, all of a small
    one (first when it was not asked for before), and what is due."""
    ledger.sql("SELECT 1")
    first_listing = took_us(lambda: ledger.cells("kv/few", limit=100))
    cold = iter(range(cells - 1, -1, -max(1, cells // (LOOKED_UP + 1))))
    calls: dict[str, Callable[[], object]] = {
        "hot": lambda: ledger.cell("kv/invites", "invite:0000000"),
        "cold": lambda: ledger.cell("kv/invites", f"invite:{next(cold):07}"),
        "new": lambda: ledger.cell("kv/invites", f"none:{time.perf_counter_ns()}"),
        "page": lambda: ledger.cells("kv/invites", after="invite:0000003", limit=100),
        "small": lambda: ledger.cells("kv/few", limit=100),
        "due": lambda: ledger.cells("queue/mail", due_until=5, limit=10),
    }
    found = {"read_small_first_us": first_listing}
    for name, call in calls.items():
        rounds = min(LOOKED_UP, cells // 2) if name == "cold" else LOOKED_UP
        found[f"read_{name}_us"] = statistics.median(took_us(call) for _ in range(rounds))
    return found


def beside_writers(ledger: DuckDBLedger, cells: int) -> dict[str, float]:
    """The slowest of a hundred reads from another thread while batches are appended and absorbed."""
    done = threading.Event()

    def write() -> None:
        at = 5000
        while not done.is_set():
            ledger.append([], (), [value((at + number) % cells, at) for number in range(20)])
            at += 20

    writer = threading.Thread(target=write)
    writer.start()
    times = sorted(took_us(lambda: ledger.cells("queue/mail", due_until=5, limit=10)) for _ in range(100))
    done.set()
    writer.join()
    return {"due_beside_writer_p99_us": times[98]}


def measured(folder: Path, cells: int) -> dict[str, float]:
    path = folder / f"{cells}.duckdb"
    filled(path, cells)
    begun = time.perf_counter()
    ledger = DuckDBLedger(path)
    opened = time.perf_counter() - begun
    found = {"open_s": opened, **look_ups(ledger, cells), **appends(ledger, cells), **beside_writers(ledger, cells)}
    begun = time.perf_counter()
    ledger.close()
    return {**found, "close_s": time.perf_counter() - begun, "file_mib": path.stat().st_size / 2**20}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("cells", nargs="?", type=int, default=1_000_000)
    parser.add_argument("--json", action="store_true", help="print one JSON object, for other programs")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        few, many = measured(Path(folder), FEW), measured(Path(folder), options.cells)
    if options.json:
        print(json.dumps({"cells": options.cells, "few": few, "many": many}))
        return
    print(f"{'':<28} {FEW:>12,} {options.cells:>12,} cells")
    for name, amount in few.items():
        print(f"{name:<28} {amount:>12.3f} {many[name]:>12.3f}")


if __name__ == "__main__":
    main()
