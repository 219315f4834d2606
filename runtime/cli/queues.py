"""`perdure queues LEDGER`: what waits and runs on the queues of a ledger."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from perdure.cli.arguments import AsJson, LedgerPath
from perdure.cli.opening import reading
from perdure.cli.output import cells, console, moment_text, print_json, print_table, table
from perdure.durations import moment
from perdure.engine.clock import SystemClock
from perdure.storage.ledger import ENDED, QueueRow

_FOR_EVER = 2**62


@dataclass
class _Counted:
    """What is on one queue, as its ledger says."""

    queued: int = 0
    delayed: int = 0
    running: int = 0
    diverged: int = 0
    keys: set[str] = field(default_factory=set)
    waits_since: int | None = None

    def as_json(self, name: str) -> dict[str, Any]:
        since = None if self.waits_since is None else moment(self.waits_since).isoformat()
        return {
            "name": name, "queued": self.queued, "delayed": self.delayed, "running": self.running,
            "diverged": self.diverged, "keys": len(self.keys), "waits_since": since,
        }  # fmt: skip


def list_queues(ledger: LedgerPath, as_json: AsJson = False) -> None:
    """Count the runs on a ledger's queues.

    Limits are the application's: `runtime.queues()` tells them there.
    """
    with reading(ledger) as opened:
        counted = _count(opened.on_queues(_FOR_EVER), SystemClock().now_us())
    if as_json:
        print_json([each.as_json(name) for name, each in counted.items()])
        return
    if not counted:
        console().print("No run is on a queue.")
        return
    numbers = ["queued", "delayed", "running", "diverged", "keys"]
    shown = table("queue", *numbers, "waits since", right=numbers)
    for name, each in counted.items():
        since = "" if each.waits_since is None else moment_text(moment(each.waits_since))
        row = [name, each.queued, each.delayed, each.running, each.diverged, len(each.keys), since]
        shown.add_row(*cells(row))
    print_table(shown)


def _count(rows: Iterable[QueueRow], now: int) -> dict[str, _Counted]:
    """By name: queued runs are those that could begin if there were room; delayed ones can't yet."""
    found: dict[str, _Counted] = {}
    for row in sorted(rows, key=lambda row: (row.queue, row.run)):
        if row.status in ENDED:
            continue
        counted = found.setdefault(row.queue, _Counted())
        if row.queue_key:
            counted.keys.add(row.queue_key)
        if row.status == "diverged":
            counted.diverged += 1
        elif row.began_at is not None and row.requeued_at is None:
            counted.running += 1
        elif row.due is not None and row.due > now:
            counted.delayed += 1
        else:
            counted.queued += 1
            since = row.requeued_at or row.created_at
            counted.waits_since = min(counted.waits_since or since, since)
    return found
