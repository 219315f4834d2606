"""All figures as ratios against something measured in the same run: the disk's `fdatasync`, DBOS, plain CPython.

Usage: python benchmarks/run.py [--rounds 3] [--memory]
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
from pathlib import Path
from typing import Any

import simulator
from rich.console import Console
from rich.table import Table

HERE = Path(__file__).parent


def measure(script: str, *arguments: str) -> dict[str, Any]:
    """Run a script that prints JSON on its last line."""
    done = subprocess.run(
        [sys.executable, str(HERE / script), *arguments], capture_output=True, text=True, cwd=HERE, check=False
    )
    if done.returncode:
        raise SystemExit(f"{script} failed:\n{done.stderr[-3000:]}")
    result: dict[str, Any] = json.loads(done.stdout.strip().splitlines()[-1])
    return result


def median(rounds: list[dict[str, Any]], name: str) -> float:
    return statistics.median(each[name] for each in rounds)


def scale_table(parked: dict[str, Any], long_run: dict[str, float]) -> Table:
    """What many parked runs and one very long one cost."""
    many, few = parked["many"], parked["few"]
    table = Table(title=f"{parked['runs']:,} parked runs beside a tenth of them, and a run of 100,000 steps")
    for name in ("work", "Perdure", "beside it", "bar"):
        table.add_column(name)
    for label, name, bar in (
        ("s to start them", "start_s", "≤ 10 s"),
        ("bytes of memory each", "memory_bytes", "≤ 1,024"),
        ("s until a restart is ready", "ready_s", "≤ 1 s"),
        ("ms to send an event to one", "send_event_ms", "≤ 2 ms"),
        ("share of a core while idle", "idle_share", ""),
    ):
        table.add_row(label, f"{many[name]:,.3f}", f"{few[name]:,.3f}", bar)
    table.add_row("last step beside the first", f"{long_run['last_to_first']:.2f} ×", "", "≤ 1.5 ×")
    table.add_row("replayed steps/s", f"{long_run['replayed_steps_per_s']:,.0f}", "", "")
    table.add_row("MiB that the replay takes", f"{long_run['replay_peak_mib']:.0f}", "", "")
    return table


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=3, help="how often both are measured, in turn")
    parser.add_argument("--memory", action="store_true", help="also pass 100,000 runs through one process")
    wanted = parser.parse_args()
    console = Console()
    ours, peer = [], []
    with console.status("measuring, Perdure and DBOS in turn …"):
        for _ in range(wanted.rounds):
            ours.append(measure("durable.py"))
            peer.append(measure("peer_dbos.py"))
    sync = median(ours, "fdatasync_ms")
    w1, w2, w3 = median(ours, "w1_ms"), median(ours, "w2_steps_per_s"), median(ours, "w3_ms")
    table = Table(title=f"medians of {wanted.rounds} rounds; a 4 KiB append + fdatasync took {sync:.3f} ms")
    for name in ("work", "Perdure", "beside it", "ratio", "bar"):
        table.add_column(name)
    beside = median(peer, "w1_ms")
    table.add_row("W1 ms per sequential step", f"{w1:.3f}", f"fdatasync {sync:.3f}", f"{w1 / sync:.2f} ×", "≤ 2 ×")
    table.add_row("", "", f"DBOS {beside:.3f}", f"{w1 / beside:.2f} ×", "≤ 0.4 ×")
    beside = median(peer, "w2_steps_per_s")
    table.add_row("W2 steps/s, 200 runs × 10", f"{w2:,.0f}", f"DBOS {beside:,.0f}", f"{w2 / beside:.1f} ×", "≥ 8 ×")
    beside = median(peer, "w3_ms")
    table.add_row("W3 ms from start to result", f"{w3:.3f}", f"DBOS {beside:.3f}", f"{w3 / beside:.2f} ×", "≤ 0.4 ×")
    replay = median(ours, "w7_steps_per_s")
    table.add_row("W7 replayed steps/s, from the file", f"{replay:,.0f}", "", "", "≥ 100,000")
    with console.status("live verification, on and off in turn …"):
        live = measure("live.py", str(wanted.rounds))
    table.add_row(
        'W2 with verify="always"', f"{live['w2_verified_steps_per_s']:,.0f}", f"off {live['w2_steps_per_s']:,.0f}",
        f"{live['verified_ratio']:.2f} ×", "≥ 0.9 ×",
    )  # fmt: skip
    console.print(table)
    with console.status("measuring the simulator …"):
        simulated = measure("simulator.py", "--json", "--rounds", str(wanted.rounds))
    console.print(simulator.show(simulated["works"], simulated["rounds"]))
    with console.status("100,000 parked runs, and a run of 100,000 steps …"):
        parked, long_run = measure("parked.py", "--json"), measure("long_run.py", "--json")
    console.print(scale_table(parked, long_run))
    if wanted.memory:
        with console.status("100,000 runs through one process …"):
            seen = measure("durable.py", "memory")["memory_mib"]
        console.print("resident MiB after so many runs: " + ", ".join(f"{runs:,}: {mib:.0f}" for runs, mib in seen))


if __name__ == "__main__":
    main()
