"""`kill -9` while signals and payloads of hooks are sent: what was acknowledged is taken, in order, once."""

from __future__ import annotations

import random
import signal
from pathlib import Path

import signal_worker
from forked import Worker

from perdure.declare.registry import Registry
from perdure.replay.check import check_run
from perdure.storage.duckdb_ledger import DuckDBLedger
from perdure.storage.encoding import decode
from perdure.storage.verify import verify

LAST = 60
KILLS = 6


def test_what_was_acknowledged_before_a_kill_is_taken_in_order_and_once(tmp_path: Path) -> None:
    ledger, chance = tmp_path / "l.duckdb", random.Random(1)
    acknowledged, doubtful = -1, set()
    for life in range(KILLS + 1):
        process = Worker(signal_worker.__file__, ledger, acknowledged + 1, LAST)
        left = chance.randrange(1, 12)
        for line in process.stdout:
            if line.startswith("sent"):
                acknowledged = int(line.split()[1])
                left -= 1
            if left == 0 and life < KILLS:
                process.kill()
                break
        rest, errors, code = process.rest()
        # While we read, it may have gone on; what it said last counts.
        acknowledged = max([acknowledged, *(int(line.split()[1]) for line in rest.splitlines() if line[:4] == "sent")])
        if code == -signal.SIGKILL:
            doubtful.add(acknowledged + 1)
        assert verify(ledger).ok
    assert code == 0, errors
    opened = DuckDBLedger(ledger, read_only=True)
    try:
        row = opened.run("r")
        assert row is not None
        assert row.status == "completed"
        entries = opened.entries(row.run)
        signals, payloads = decode(entries[-1].body or "null", entries[-1].shape)
        assert check_run(row, Registry([signal_worker.collector]).newest("collector"), entries).ok
    finally:
        opened.close()
    assert doubtful, "no kill struck the sending"
    for taken, wanted in ((signals, range(LAST)), (payloads, range(LAST + 1))):
        assert taken == sorted(taken)
        assert set(taken) == set(wanted)
        assert {number for number in taken if taken.count(number) > 1} <= doubtful
