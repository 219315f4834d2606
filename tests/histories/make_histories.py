"""Makes the golden ledger and histories of a release: `python make_histories.py FOLDER`.

Run it once for a release, before it is tagged; afterwards its folder is never written again. For the next release copy
the workflows to a new file, add what is new to them, and point WORKFLOWS there.
"""

from __future__ import annotations

import asyncio
import gzip
import json
import os
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

from perdure import Runtime, __version__
from perdure.declare.registry import workflows_of
from perdure.replay.history_file import SUFFIX, history_of, write_history
from perdure.storage.duckdb_ledger import DuckDBLedger
from perdure.storage.entries import VERIFIED, Entry
from perdure.storage.ledger import RunFilter
from perdure.strict import workflow
from perdure.testing import RuntimeClock

WORKFLOWS = "workflows_0_1"
HERE = Path(__file__).parent


def load() -> ModuleType:
    """Import the workflows under a name without a folder: no path of this machine goes into what is recorded."""
    module = ModuleType(WORKFLOWS)
    module.__file__ = f"{WORKFLOWS}.py"
    sys.modules[WORKFLOWS] = module
    exec(compile(Path(module.__file__).read_text(encoding="utf-8"), module.__file__, "exec"), module.__dict__)
    return module


@workflow(id="approve")
async def approve_differently(input: str, step: Any) -> str:
    """What `approve` is for a while, so that a run of it diverges."""
    await step.run("look first", str, input)
    return ""


async def record(path: Path, workflows: ModuleType) -> None:
    """Let the workflows live through five weeks, with one bad deploy."""
    clock = RuntimeClock()

    async def open_runtime(*definitions: object) -> Runtime:
        runtime = Runtime(path, workflows=list(definitions), clock=clock)
        clock.drive(runtime)
        return runtime

    definitions = workflows_of(workflows)
    async with await open_runtime(*definitions) as runtime:
        for number in (1, 2):
            order = {"order_id": f"o{number}", "cents": 1250 * number, "items": ["kettle", "cup"][:number]}
            await runtime.start("fulfill-order", order, run_id=f"order-{number}", tags={"customer": "ada"})
        await runtime.start("family", "f1", run_id="family", idempotency_key="only-once")
        await runtime.start("at-once", 4, run_id="at-once")
        await runtime.start("third-time-lucky", "hope", run_id="lucky")
        await runtime.start("undo", "seat 7", run_id="undone")
        await runtime.start("undo", "seat 8", run_id="timed-out")
        await runtime.start("ship", {"order_id": "later"}, run_id="delayed", delay="3d")
        await runtime.start("lost-parcel", "p1", run_id="failed")
        await runtime.start("approve", "doc-1", run_id="approved")
        await runtime.start("sleepy", "bear", run_id="sleepy")
        await runtime.start("wait-for-ever", "w1", run_id="waiting")
        await clock.advance("1h")
        await runtime.send_event("payment.completed", {"order_id": "o1", "by": "card"})
        await clock.advance("7d")
        await runtime.handle("undone").cancel()
        await clock.settle()
    others = [each for each in definitions if each.id != "approve"]
    async with await open_runtime(approve_differently, *others) as runtime:
        await runtime.send_event("approved", {"id": "doc-1", "by": "ada"})
        await clock.settle()
    async with await open_runtime(*definitions):
        await clock.advance("28d")


def verify_two(path: Path) -> None:
    """Leave two verdicts of a verification behind: one that it replays, one that it would not on other code."""
    ledger = DuckDBLedger(path)
    for run_id, ok in (("order-1", True), ("lucky", False)):
        row = ledger.run(run_id)
        assert row is not None
        detail: dict[str, object] = {"ok": ok, "definition": row.definition, "python": "3.11", "perdure": __version__}
        if not ok:
            detail |= {"position": 3, "cause": "step removed", "message": "entry 3 is step second", "report": ""}
        ledger.append([Entry(row.run, row.length, VERIFIED, row.updated_at, detail=json.dumps(detail))])
    ledger.close()


def export(path: Path, folder: Path) -> None:
    """Write every run as text."""
    ledger = DuckDBLedger(path, read_only=True)
    for row in ledger.runs(RunFilter(limit=None)):
        with (folder / f"{row.run_id}{SUFFIX}").open("w", encoding="utf-8", newline="\n") as file:
            write_history(history_of(ledger, row), file)
    ledger.close()


def main(folder: Path) -> None:
    """Make the folder anew."""
    folder.mkdir(parents=True)
    os.chdir(HERE)
    ledger = folder / "ledger.duckdb"
    asyncio.run(record(ledger, load()))
    verify_two(ledger)
    export(ledger, folder)
    (folder / "ledger.duckdb.gz").write_bytes(gzip.compress(ledger.read_bytes(), mtime=0))
    ledger.unlink()


if __name__ == "__main__":
    main(Path(sys.argv[1]).absolute())
