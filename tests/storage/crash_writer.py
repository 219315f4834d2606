"""A process that appends batches and prints each one that was acknowledged, until it is killed. Not a test itself."""

from __future__ import annotations

import os
import sys

from ledger_histories import DEFINITION, completed, created, step

from perdure.storage import entries as kinds
from perdure.storage.cells import Cell
from perdure.storage.duckdb_ledger import DuckDBLedger
from perdure.storage.entries import Entry


def length(run: int, entries: int) -> list[Cell]:
    """Say in a cell how long the run is, and take away what the batch before said by itself."""
    said = Cell("kv/lengths", f"r{run}", entries, entries, str(entries))
    return [said, Cell("kv/marks", f"r{run} {entries}", 1, 1, "1"), Cell("kv/marks", f"r{run} {entries - 2}", 1, 1)]


def main(path: str) -> None:
    # Absorbing all the time, in segments that last for some batches: a kill may hit any part of it.
    ledger = DuckDBLedger(path, gather_s=0.001, segment_bytes=8192)
    os.write(1, b"ready\n")
    open_runs: list[int] = []
    while True:
        run = ledger.next_run()
        ledger.append([created(run, 1000), step(run, 1)], [DEFINITION._replace(digest=f"d{run}")], length(run, 2))
        os.write(1, f"{run} 2\n".encode())
        open_runs.append(run)
        ledger.append([completed(run, 2, 1, 1000, f'{{"amount":{run}}}'), step(run, 3)], (), length(run, 4))
        os.write(1, f"{run} 4\n".encode())
        if len(open_runs) > 5:
            done = open_runs.pop(0)
            ledger.append([completed(done, 4, 3), Entry(done, 5, kinds.COMPLETED, 1001, body="1")], (), length(done, 6))
            os.write(1, f"{done} 6\n".encode())


if __name__ == "__main__":
    main(sys.argv[1])
