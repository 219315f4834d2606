"""`perdure start LEDGER WORKFLOW`: record a new run, for a worker to begin; with --wait, run it to its end."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

from perdure.cli.administering import running_one
from perdure.cli.arguments import AsJson, LedgerPath, Tags, Workflows, parse_json, parse_json_lines, parse_tags
from perdure.cli.opening import need_workflows
from perdure.cli.output import console, print_json
from perdure.cli.run import spinning
from perdure.cli.several import bar
from perdure.cli.worker import worker_command
from perdure.client.starts import RUNS_PER_BATCH, Starts, start_each
from perdure.client.status import RunStatus, status_of
from perdure.declare.registry import Registry
from perdure.durations import duration_us
from perdure.engine.attempts import Attempt, Place
from perdure.engine.batch import Batch
from perdure.engine.clock import SystemClock
from perdure.engine.engine import Engine
from perdure.engine.starting import Start
from perdure.errors import DefinitionError, InternalError
from perdure.storage.duckdb_ledger import DuckDBLedger

WorkflowName = Annotated[str, typer.Argument(metavar="WORKFLOW", help="The workflow's id.")]
Input = Annotated[
    str | None,
    typer.Option("--input", "-i", metavar="JSON", help="The input; @file.json reads a file, - standard input."),
]
Version = Annotated[str | None, typer.Option("--version", metavar="V", help="The newest by default.")]
GivenId = Annotated[
    str | None, typer.Option("--run-id", metavar="ID", help="An id of your own; the same id is the same run.")
]
IdempotencyKey = Annotated[
    str | None, typer.Option("--idempotency-key", metavar="KEY", help="The same key is the same run.")
]
OnQueue = Annotated[str | None, typer.Option("--queue", metavar="NAME", help="The queue; the workflow's by default.")]
Key = Annotated[str | None, typer.Option("--key", metavar="KEY", help="What the queue's limits per key go by.")]
Priority = Annotated[
    int | None, typer.Option("--priority", metavar="N", help="On the queue: smaller numbers begin first.")
]
Delay = Annotated[
    str | None, typer.Option("--delay", metavar="DURATION", help="How long it stays queued, such as 10m.")
]
Each = Annotated[
    str | None,
    typer.Option("--each", metavar="FILE", help="Start a run for each line of FILE, a JSON each; - is standard input."),
]
Wait = Annotated[bool, typer.Option("--wait", help="Run it to its end here, and print its output.")]

_AT_ONCE_US = 1


def start_run(
    ledger: LedgerPath,
    workflow: WorkflowName,
    workflows: Workflows = None,
    input: Input = None,
    version: Version = None,
    run_id: GivenId = None,
    idempotency_key: IdempotencyKey = None,
    queue: OnQueue = None,
    key: Key = None,
    priority: Priority = None,
    delay: Delay = None,
    tag: Tags = None,
    each: Each = None,
    wait: Wait = False,
    as_json: AsJson = False,
) -> None:
    """Start a run.

    A worker (perdure run) does its work; with --wait it is done here, and its output printed. With --each many are
    started; an input that can't be used is named by its place, from 0, and nothing is started then.
    """
    _check_each(each, input=input, run_id=run_id, idempotency_key=idempotency_key, wait=wait)
    registry = need_workflows(workflows)
    value = None if input is None else parse_json(input, "--input")
    definition = registry.newest(workflow) if version is None else registry.get(workflow, version)
    wanted = Start(
        definition,
        value,
        run_id=run_id,
        idempotency_key=idempotency_key,
        queue=queue,
        key=key,
        priority=priority,
        delay_us=max(_AT_ONCE_US, 0 if delay is None else duration_us(delay, "delay")),
        tags=parse_tags(tag),
    )
    if each is not None:
        _tell_many(record_many(ledger, registry, wanted, each), worker_command(ledger, workflows), as_json=as_json)
        return
    if wait:
        output = asyncio.run(_run_to_end(ledger, registry, wanted, delay))
        print_json(output)
        return
    status = record_start(ledger, registry, wanted)
    if as_json:
        print_json(status.as_json())
        return
    console().print(f"Run {status.run_id} is {status.status}.", soft_wrap=True)
    if status.status == "queued":
        console(stderr=True).print(f"A worker begins it: {worker_command(ledger, workflows)}", soft_wrap=True)


def record_start(path: Path, registry: Registry, wanted: Start) -> RunStatus:
    """Record a queued run and nothing else: no body runs, so no step's intent is written that nobody would perform."""
    ledger = DuckDBLedger(path)
    try:
        clock = SystemClock()
        engine = Engine(ledger, registry, clock, _Refusing())
        batch = Batch(clock.now_us())
        run_id = engine.starting.start(wanted, batch)
        _append(ledger, batch, run_id)
        row = ledger.run(run_id)
        assert row is not None  # it was appended, or found
        return status_of(row)
    finally:
        ledger.close()


def _append(ledger: DuckDBLedger, batch: Batch, run_id: str) -> None:
    if batch.perform or batch.cancel:  # it is a singleton that replaces a run whose body has to stop
        raise DefinitionError(
            f"run {run_id} would replace one that is at work, and only a worker can stop that.",
            fix="start it with --wait, or from the application; nothing was recorded",
        )
    if batch.entries:
        ledger.append(batch.entries, batch.definitions)


def _check_each(each: str | None, **others: object) -> None:
    given = [name for name, value in others.items() if value]
    if each is not None and given:
        raise DefinitionError(
            f"--each and --{given[0].replace('_', '-')} don't go together.",
            fix='leave one of them out; a template such as idempotency_key="order-{order_id}" in @workflow makes keys',
        )


def record_many(path: Path, registry: Registry, usual: Start, source: str) -> list[str]:
    """Record a queued run for each line of a file, likewise; all inputs are validated before the first is recorded."""
    starts = Starts(usual, parse_json_lines(source, "--each"))
    with bar("validating") as progress:
        for start in range(0, len(starts), RUNS_PER_BATCH):
            starts.validate(start, start + RUNS_PER_BATCH)
            progress(start, len(starts))
    ledger = DuckDBLedger(path)
    try:
        engine = Engine(ledger, registry, SystemClock(), _Refusing())
        run_ids: list[str] = []
        with bar("starting") as progress:
            for start in range(0, len(starts), RUNS_PER_BATCH):
                batch = Batch(engine.clock.now_us())
                run_ids += start_each(engine, batch, starts.wanted(start, start + RUNS_PER_BATCH), start)
                _append(ledger, batch, run_ids[-1])
                progress(len(run_ids), len(starts))
        return run_ids
    finally:
        ledger.close()


def _tell_many(run_ids: Sequence[str], worker: str, *, as_json: bool) -> None:
    if as_json:
        print_json({"run_ids": run_ids})
        return
    number = len(set(run_ids))
    console().print(f"{number:,} {'run is' if number == 1 else 'runs are'} recorded.", soft_wrap=True)
    if number:
        console(stderr=True).print(f"A worker begins them: {worker}", soft_wrap=True)


class _Refusing:
    """Performers of a process that only records."""

    def perform(self, attempts: Sequence[Attempt]) -> None:
        raise InternalError("`perdure start` was asked to perform a step.", fix="send us the command line")

    def cancel(self, place: Place) -> None:
        raise InternalError("`perdure start` was asked to cancel a step.", fix="send us the command line")


async def _run_to_end(path: Path, registry: Registry, wanted: Start, delay: str | None) -> Any:
    tags: Mapping[str, str] = wanted.tags
    async with running_one(path, registry) as runtime:
        handle = await runtime.start(
            wanted.definition,
            wanted.value,
            run_id=wanted.run_id,
            idempotency_key=wanted.idempotency_key,
            delay=delay,
            tags=tags,
            queue=wanted.queue,
            key=wanted.key,
            priority=wanted.priority,
        )
        with spinning(f"run {handle.run_id}"):
            return await handle.result()
