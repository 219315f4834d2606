"""Makes the golden ledger and histories of a release: `python make_histories.py FOLDER`.

Run it once for a release, before it is tagged; afterwards its folder is never written again. For the next release copy
the workflows to a new file, add what is new to them, and point WORKFLOWS there.
"""

from __future__ import annotations

import asyncio
import gzip
import os
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

from perdure import Runtime
from perdure.declare.registry import workflows_of
from perdure.replay.history_file import SUFFIX, history_of, write_history
from perdure.storage.duckdb_ledger import DuckDBLedger
from perdure.storage.ledger import ENDED, RunFilter
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


@workflow(id="approve-twice")
async def approve_twice_differently(input: str, step: Any) -> str:
    """Likewise."""
    await step.run("look first", str, input)
    return ""


@workflow(id="third-time-lucky")
async def lucky_differently(input: str, step: Any) -> str:
    """What `third-time-lucky` is when it is verified, so that one verdict is no."""
    await step.sleep("pause", "1m")
    return ""


@workflow(id="grow")
async def grow_differently(input: str, step: Any) -> list[Any]:
    """What `grow` was when the run that is upgraded was started."""
    grown = [await step.run("seed", str, input)]
    grown.append(await step.wait_for_signal("sun"))
    return grown


async def record(path: Path, workflows: ModuleType) -> None:
    """Let the workflows live through five weeks, with one bad deploy; verify what has ended."""
    clock = RuntimeClock()

    async def open_runtime(*definitions: object, **options: Any) -> Runtime:
        runtime = Runtime(path, workflows=list(definitions), clock=clock, **options)
        clock.drive(runtime)
        return runtime

    definitions = workflows_of(workflows)
    younger = [each for each in definitions if each.id != "grow"]
    async with await open_runtime(grow_differently, *younger) as runtime:
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
        await runtime.start("approve-twice", "doc-2", run_id="approved-twice")
        await runtime.start("values", None, run_id="values")
        await runtime.start("shapes", 3, run_id="shapes", tags={"a": "b"})
        await runtime.start("tidy-up", "t1", run_id="tidied")
        await runtime.start("sleepy", "bear", run_id="sleepy")
        await runtime.start("wait-for-ever", "w1", run_id="waiting")
        await talk(runtime, clock)
        await clock.advance("1h")
        await runtime.resume_hook("votes", {"yes": True})
        await runtime.resume_hook("votes", {"yes": False})
        await runtime.resume_hook("decide:doc", {"by": "ada", "yes": True})
        await runtime.send_event("payment.completed", {"order_id": "o1", "by": "card"})
        await clock.advance("7d")
        await runtime.handle("undone").cancel()
        await clock.settle()
    bad = [approve_differently, approve_twice_differently]
    others = [each for each in definitions if each.id not in {changed.id for changed in bad}]
    async with await open_runtime(*bad, *others, code="today") as runtime:
        await runtime.send_event("approved", {"id": "doc-1", "by": "ada"})
        for number in (1, 2):
            await runtime.send_event("approved", {"id": "doc-2", "number": number, "by": "ada"})
        await clock.settle()
    async with await open_runtime(*definitions) as runtime:
        await runtime.handle("order-1").fork(at="declined", run_id="forked")
        await runtime.upgrade(workflow="grow", dry_run=False)
        await runtime.start("grow", "oak", run_id="grown-new")
        for run_id in ("grown", "grown-new"):
            await runtime.handle(run_id).signal("sun", [1, 2])
        await clock.advance("28d")
    others = [each for each in definitions if each.id != "third-time-lucky"]
    async with await open_runtime(lucky_differently, *others, verify="always", code="today") as runtime:
        while any(run.verdict is None for run in await runtime.runs(status=sorted(ENDED), limit=None)):
            await asyncio.sleep(0.01)  # the verifier gives way to whatever else there is


async def talk(runtime: Runtime, clock: RuntimeClock) -> None:
    """Start what listens, and tell it something."""
    asked = await runtime.start("ask-around", "doc", run_id="asked")
    await asked.signal("hello", {"number": 1})
    await asked.signal("hello", [2])
    await runtime.start("write-a-log", "a few words", run_id="logged")
    await runtime.start("count-down", 2, run_id="counted")
    await runtime.handle("counted").signal("lift-off", "now")
    for text in ("draft", "final"):
        await runtime.start("send-mail", {"to": "ada", "text": text}, run_id=None if text == "final" else "mailed")
    again = await runtime.start("send-mail", {"to": "bob", "text": "wait"}, run_id="mailed-again")
    await again.cancel()
    await again.retry()
    await runtime.start("grow", "ash", run_id="grown")
    await clock.settle()


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
    ledger = Path(os.path.relpath(folder)) / "ledger.duckdb"  # reports name it, and must not name this machine
    asyncio.run(record(ledger, load()))
    export(ledger, folder)
    (folder / "ledger.duckdb.gz").write_bytes(gzip.compress(ledger.read_bytes(), mtime=0))
    ledger.unlink()


if __name__ == "__main__":
    main(Path(sys.argv[1]).absolute())
