"""Steps that write streams and give heartbeats, and the laws of what they wrote.

The laws read the disk's entries; of production they use only what a reader of a stream uses.
"""

from __future__ import annotations

import asyncio
import json
from collections import defaultdict
from typing import Any

from perdure import Stream, current_step
from perdure.client.streams import chunks_of, read_page
from perdure.storage.entries import Entry
from perdure.strict import workflow
from perdure.testing import SimulatedRun, Simulation

WRITERS = ("write_chunks", "write_slowly", "write_to")


def write_chunks(name: str, count: int) -> str:
    """Write some chunks, without waiting for them, and close the stream."""
    stream = current_step().stream(name)
    for number in range(count):
        stream.write([name, number])
        current_step().heartbeat(number)
    stream.close()
    return name


async def write_slowly(name: str, count: int, seconds: float) -> str:
    """Write some chunks, each durable before the next, and pause after each."""
    for number in range(count):
        await current_step().stream(name).write([name, number])
        await asyncio.sleep(seconds)
        current_step().heartbeat([name, number])
    return name


async def write_to(stream: Stream, count: int) -> str:
    """Write to a stream that the body handed over."""
    for number in range(count):
        await stream.write([stream.namespace, number])
    return stream.namespace


@workflow(id="lent", version="1")
async def lent(input: list[Any], step: Any, ctx: Any) -> Any:
    """Write to the stream of whoever started this run."""
    stream, count = input
    return await step.run("write", write_to, stream, count)


# ── laws ──


def check_streams(simulation: Simulation, histories: list[list[Entry]]) -> None:
    """Check the streams of all runs."""
    for history in histories:
        offsets_have_no_gaps(history)
        chunks_come_before_their_steps_outcome(history)
        completed_writers_wrote_everything(history)
        readers_miss_and_repeat_nothing(simulation, history)


def offsets_have_no_gaps(history: list[Entry]) -> None:
    """The chunks of each stream are numbered 0, 1, 2, …, and none comes after it was closed."""
    counts: defaultdict[str, int] = defaultdict(int)
    closed: set[str] = set()
    for entry in history:
        if entry.kind == "stream_written":
            offset = json.loads(entry.detail or "{}")["offset"]
            assert offset == counts[entry.name], f"{entry.name}: chunk {offset} for {counts[entry.name]}"
            assert entry.name not in closed, f"{entry.name}: a chunk came after it was closed"
            counts[entry.name] += 1
        elif entry.kind == "stream_closed":
            assert entry.name not in closed, f"{entry.name} was closed twice"
            closed.add(entry.name)


def chunks_come_before_their_steps_outcome(history: list[Entry]) -> None:
    """What a step of the run says, it says while the ledger has this attempt of it at work."""
    at_work: dict[str, int] = {}
    for entry in history:
        match entry.kind:
            case "restarted" | "retrying" | "completed" | "failed" | "cancelled":
                at_work = {}
            case "step":
                at_work[entry.command] = 1
            case "step_started":
                at_work[entry.command] = entry.attempt
            case "step_completed" | "step_failed" | "step_retrying" | "dropped":
                at_work.pop(entry.command, None)
            case "stream_written" | "step_heartbeat" if "writer" not in json.loads(entry.detail or "{}"):
                found = at_work.get(entry.command)
                assert found == entry.attempt, f"attempt {entry.attempt} of {entry.command} wrote, not {found}"


def completed_writers_wrote_everything(history: list[Entry]) -> None:
    """A step that completed has its last life's chunks in the ledger, all and in order."""
    written: defaultdict[str, list[Any]] = defaultdict(list)
    asked: dict[str, Entry] = {}
    for entry in history:
        if entry.kind == "step":
            asked[entry.command] = entry
        elif entry.kind == "stream_written":
            written[entry.command].append(json.loads(entry.body or "null"))
        elif entry.kind == "step_completed":
            function = json.loads(asked[entry.command].detail or "{}").get("function", "").rpartition(":")[2]
            if function in ("write_chunks", "write_slowly"):
                name, count = json.loads(asked[entry.command].body or "[]")[:2]
                expected = [[name, number] for number in range(count)]
                assert written[entry.command][len(written[entry.command]) - count :] == expected, f"{name} lacks chunks"


def readers_miss_and_repeat_nothing(simulation: Simulation, history: list[Entry]) -> None:
    """Whoever reads from an offset gets exactly what is from there on, whole chunks as they were written."""
    run_id = json.loads(history[0].detail or "{}")["run_id"]
    chunks = [entry for entry in history if entry.kind == "stream_written"]
    for name in {entry.name for entry in chunks}:
        values = [json.loads(entry.body or "null") for entry in chunks if entry.name == name]
        for start in {0, len(values) // 2, len(values)}:
            found, _ = chunks_of(read_page(simulation.ledger, run_id, 0), name, start)
            assert [chunk.value for chunk in found] == values[start:], f"{name} from {start} on"


def has_chunks(run: SimulatedRun) -> bool:
    """Whether a run has any."""
    return bool(run.row().streams)
