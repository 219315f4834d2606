"""The ledger alone: what a batch costs beside a bare sync, how fast it is absorbed, and look-ups among parked runs.

    python benchmarks/ledger.py [PARKED_RUNS]

Prints one line per figure, as `name value unit`. Quote ratios: times are those of the machine at hand.
"""

from __future__ import annotations

import json
import os
import resource
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from perdure.storage import entries as kinds
from perdure.storage.batch import prepare
from perdure.storage.duckdb_ledger import DuckDBLedger
from perdure.storage.entries import Entry
from perdure.storage.ledger import RunFilter
from perdure.storage.memory_ledger import MemoryLedger
from perdure.storage.payload import write_batch

BATCHES = 4000


def created(run: int, at: int) -> Entry:
    facts = {"run_id": f"{run:032x}", "version": "1", "definition": "d", "tags": {"team": "a"}}
    return Entry(run, 0, kinds.CREATED, at, name="shop", attempt=1, body='{"order":1}', detail=json.dumps(facts))


def step(run: int, position: int) -> Entry:
    body = '{"args":[{"order_id":"o1","cents":4200}]}'
    return Entry(run, position, kinds.STEP, 1000, f"0/{position}", "charge", 1, body=body, detail='{"retries":2}')


def completed(run: int, position: int) -> Entry:
    return Entry(run, position, kinds.STEP_COMPLETED, 1000, f"0/{position - 1}", "charge", 1, body='{"amount":4200}')


def wait(run: int, position: int, due: int) -> Entry:
    detail = json.dumps({"type": "paid", "match": {"order": run}})
    return Entry(run, position, kinds.WAIT_EVENT, 1000, f"0/{position}", "paid", due=due, detail=detail)


def report(name: str, value: float, unit: str) -> None:
    print(f"{name:<58} {value:>12.2f} {unit}", flush=True)


def percentile(values: list[float], share: float) -> float:
    return sorted(values)[min(len(values) - 1, int(len(values) * share))]


def timed(call: Callable[[], object], rounds: int = 15) -> float:
    """The median time of a call in milliseconds."""
    times = []
    for _ in range(rounds):
        begun = time.perf_counter()
        call()
        times.append((time.perf_counter() - begun) * 1000)
    return statistics.median(times)


def resident_kib() -> int:
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * resource.getpagesize() // 1024


def appends(folder: Path) -> None:
    """A batch of two entries, beside a 4 KiB append and `fdatasync`, taken in turns."""
    ledger = DuckDBLedger(folder / "appends.duckdb")
    fd = os.open(folder / "bare", os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    run = ledger.next_run()
    ledger.append([created(run, 1000), step(run, 1)])
    batches, bare = [], []
    for position in range(2, 2 * BATCHES, 2):
        batch = [completed(run, position), step(run, position + 1)]
        begun = time.perf_counter()
        ledger.append(batch)
        between = time.perf_counter()
        os.write(fd, bytes(4096))
        os.fdatasync(fd)
        batches.append((between - begun) * 1e6)
        bare.append((time.perf_counter() - between) * 1e6)
    os.close(fd)
    report("append of 2 entries, p50", percentile(batches, 0.5), "µs")
    report("append of 2 entries, p99", percentile(batches, 0.99), "µs")
    report("bare 4 KiB append + fdatasync, p50", percentile(bare, 0.5), "µs")
    report("bare 4 KiB append + fdatasync, p99", percentile(bare, 0.99), "µs")
    report("append / bare, p50", percentile(batches, 0.5) / percentile(bare, 0.5), "×")
    length = 2 * BATCHES
    ledger.sql("SELECT 1")
    report(f"entries() of one run with {length} entries", timed(lambda: ledger.entries(run), 7), "ms")
    report(
        "sql: sum of a field of all results",
        timed(lambda: ledger.sql("SELECT sum(result.amount::INT) FROM steps")),
        "ms",
    )
    ledger.close()


def computing() -> None:
    """The share of a batch that is not the disk."""
    memory = MemoryLedger()
    run = memory.next_run()
    memory.append([created(run, 1000), step(run, 1)])
    row = memory.run_numbered(run)
    batch = [completed(run, 2), step(run, 3)]
    cost = timed(lambda: [write_batch(prepare(batch, {run: row}.get), ()) for _ in range(200)], 15)
    report("check, chain, fold and write out 2 entries", cost / 200 * 1000, "µs")


def parked(folder: Path, runs: int) -> None:
    """Look-ups among many runs that sleep and wait for an event."""
    before = resident_kib()
    ledger = DuckDBLedger(folder / "parked.duckdb")
    begun = time.perf_counter()
    for _ in range(runs // 100):
        batch = []
        for _ in range(100):
            run = ledger.next_run()
            batch += [created(run, 1000), step(run, 1), completed(run, 2), wait(run, 3, 10**6 + run)]
        ledger.append(batch)
    report("append of batches of 400 entries", (time.perf_counter() - begun) / runs / 4 * 1e6, "µs/entry")
    begun = time.perf_counter()
    ledger.close()
    report("close (the rest absorbed, checkpoint)", (time.perf_counter() - begun) * 1000, "ms")
    size = (folder / "parked.duckdb").stat().st_size
    report("file", size / runs / 4, "bytes/entry")
    begun = time.perf_counter()
    ledger = DuckDBLedger(folder / "parked.duckdb")
    ledger.next_due()
    report(f"open with {runs} parked runs, next due known", (time.perf_counter() - begun) * 1000, "ms")
    report("memory per parked run since the start", (resident_kib() - before) * 1024 / runs, "bytes")
    middle, hot = runs // 2, [0]
    ids = (f"{number:032x}" for number in range(1, runs))

    def wake() -> object:
        hot[0] += 1
        return ledger.waiters("paid", {"order": middle + hot[0], "cents": 5})

    assert len(ledger.waiters("paid", {"order": middle})) == 1
    report("run() by id", timed(lambda: ledger.run(next(ids))), "ms")
    report("run() of an unknown id", timed(lambda: ledger.run("unknown")), "ms")
    report("waiters() of one event", timed(wake), "ms")
    report("next_due()", timed(ledger.next_due), "ms")
    report("due() of 100", timed(lambda: ledger.due(10**6 + 100, 100)), "ms")
    report("runs() newest 100", timed(lambda: ledger.runs(RunFilter())), "ms")
    report("count() by status", timed(lambda: ledger.count(RunFilter())), "ms")
    report("entries() of a short run", timed(lambda: ledger.entries(next_number(hot))), "ms")
    report("interrupted(), none", timed(lambda: list(ledger.interrupted()), 5), "ms")
    ledger.close()


def next_number(counter: list[int]) -> int:
    counter[0] += 1
    return counter[0]


def passing_through(folder: Path, runs: int) -> None:
    """Short runs that begin and end: memory must not grow with their number."""
    ledger = DuckDBLedger(folder / "passing.duckdb")
    sizes = []
    begun = time.perf_counter()
    for number in range(runs):
        run = ledger.next_run()
        ledger.append([created(run, 1000), step(run, 1)])
        ledger.append([completed(run, 2), Entry(run, 3, kinds.COMPLETED, 1000, body="1")])
        if number % (runs // 4) == runs // 4 - 1:
            sizes.append(resident_kib() / 1024)
    report("short runs of 2 batches", runs / (time.perf_counter() - begun), "runs/s")
    for quarter, size in enumerate(sizes, 1):
        report(f"memory after {quarter * runs // 4} of them", size, "MiB")
    begun = time.perf_counter()
    ledger.close()
    report("close", (time.perf_counter() - begun) * 1000, "ms")


def absorption(folder: Path) -> None:
    """How fast the columns take what the journal has: opening after a kill does nothing else."""
    path = folder / "absorb.duckdb"
    ledger = DuckDBLedger(path, gather_s=3600)
    for _ in range(200):
        batch = []
        for _ in range(50):
            run = ledger.next_run()
            batch += [created(run, 1000), step(run, 1), completed(run, 2), step(run, 3)]
        ledger.append(batch)
    begun = time.perf_counter()
    ledger.sql("SELECT 1")
    report("absorption of 40,000 entries of 10,000 runs", 40_000 / (time.perf_counter() - begun), "entries/s")
    ledger.close()


def main() -> None:
    runs = int(sys.argv[1]) if len(sys.argv) > 1 else 100_000
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        computing()
        appends(folder)
        absorption(folder)
        parked(folder, runs)
        passing_through(folder, runs // 5)


if __name__ == "__main__":
    main()
