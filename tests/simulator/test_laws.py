"""Each law is broken once, on purpose, and seen; what is told of it suffices to see it again."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from perdure.storage.memory_ledger import MemoryLedger
from perdure.strict import workflow
from perdure.testing import Crash, LawBroken, Restart, Simulation, SlowStep
from perdure.testing.simulated_ledger import Disk


def charge(cents: int) -> str:
    """A step that takes money."""
    return f"charged {cents}"


@workflow(id="order", version="1")
async def order(input: int, step: Any, ctx: Any) -> str:
    """Charge."""
    return str(await step.run("charge", charge, input, delivery="at_most_once"))


@workflow(id="order", version="1")
async def other_order(input: int, step: Any, ctx: Any) -> str:
    """Charge twice."""
    await step.run("charge", charge, input)
    return str(await step.run("again", charge, input))


@workflow(id="order", version="1")
async def renamed_order(input: int, step: Any, ctx: Any) -> str:
    """Charge under another name."""
    return str(await step.run("charge-card", charge, input))


def broken(simulation: Simulation) -> str:
    """The law that does not hold."""
    with pytest.raises(LawBroken) as caught:
        simulation.check()
    return caught.value.law


def test_an_altered_entry_is_seen() -> None:
    with Simulation(order) as simulation:
        run = simulation.start("order", 5)
        run.result()
        simulation.check()
        entries = simulation.ledger._entries[run.row().run]
        kept = entries[1]
        entries[1] = kept._replace(name="refund")
        assert "not as it was written" in broken(simulation)
        entries[1] = kept


def test_a_row_that_says_otherwise_than_its_entries_is_seen() -> None:
    with Simulation(order) as simulation:
        row = simulation.start("order", 5).row()
        simulation.run()
        row = simulation.handle("run-1").row()
        row.error = "boom"
        assert "its row says otherwise" in broken(simulation)
        row.error = None


def test_a_diverged_run_is_seen() -> None:
    simulation = Simulation(order, faults=[SlowStep(1, takes="1h")], code="today")
    simulation.start("order", 5)
    simulation.advance("1s")
    simulation.restart(renamed_order)
    simulation.run()
    assert "diverged" in broken(simulation)
    simulation.close()


def test_an_ended_run_that_does_not_replay_is_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    with Simulation(order) as simulation:
        simulation.start("order", 5).result()
        with monkeypatch.context() as patch:
            definition = Simulation(other_order).definition("order", "1")
            patch.setattr(simulation, "definitions", lambda workflow, version: [definition])
            assert "does not replay" in broken(simulation)


def test_a_run_that_ended_before_its_code_changed_keeps_the_law() -> None:
    with Simulation(order, faults=[Restart(4, (other_order,))], code="today") as simulation:
        simulation.start("order", 5).result()
        assert simulation.start("order", 6).result() == "charged 6"
        assert simulation.lives == 2
        assert len(simulation.effects("again")) == 1


def test_a_second_call_of_an_at_most_once_step_is_seen() -> None:
    simulation = Simulation(order)
    simulation.start("order", 5).result()
    simulation._world.effects *= 2
    assert "called 2 times" in broken(simulation)
    simulation.close()


def test_an_acknowledged_entry_that_a_crash_lost_is_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    simulation = Simulation(order)
    simulation.start("order", 5)
    monkeypatch.setattr(Disk, "append", lambda self, write: None)
    simulation.run()
    with pytest.raises(LawBroken, match="lost acknowledged entries"):
        simulation.crash()
    simulation.close()


def test_a_disk_that_keeps_nothing_back_agrees_with_the_ledger() -> None:
    with Simulation(order, faults=[Crash(2, "after")]) as simulation:
        run = simulation.start("order", 5)
        simulation.run()
        again = MemoryLedger()
        again.append([entry._replace(digest=b"") for entry in run.entries()])
        assert [entry.digest for entry in again.entries(run.row().run)] == [entry.digest for entry in run.entries()]


def holds(simulation: Simulation) -> bool:
    """An invariant that does not hold."""
    return not simulation.effects("charge")


@pytest.mark.parametrize("when", ["invariants", "always"])
def test_an_invariant_that_does_not_hold_breaks_the_simulation_with_its_name(when: str) -> None:
    def live() -> None:
        with Simulation(order, **{when: [holds]}) as simulation:  # type: ignore[arg-type]
            simulation.start("order", 5).result()

    with pytest.raises(LawBroken, match="invariant holds does not hold") as caught:
        live()
    assert "charge(5)" in caught.value.story


# ── what is told ──

FAILING = """
import asyncio
from perdure.strict import workflow
from perdure.testing import Simulation, random_faults, seeds

def work(name: str) -> str:
    return name

@workflow(id="order-dependent", version="1")
async def order_dependent(input: None, step, ctx) -> list[str]:
    found = []
    async def one(name: str) -> None:
        found.append(await step.run(name, work, name))
    await asyncio.gather(one("a"), one("b"))
    return found

@seeds(50)
def test_the_order_is_always_the_same(seed):
    with Simulation(order_dependent, seed=seed, faults=random_faults(seed)) as simulation:
        assert simulation.start("order-dependent").result() == ["a", "b"]
"""


PASSING = "1"


def pytest_run(folder: Path, *arguments: str, **variables: str) -> subprocess.CompletedProcess[str]:
    """Run pytest as a user would."""
    environment = {**os.environ, "COLUMNS": "200", **variables}
    return subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", *arguments],
        cwd=folder, env=environment, capture_output=True, text=True, check=False, timeout=60,
    )  # fmt: skip


def test_the_command_that_a_failure_prints_reproduces_it(tmp_path: Path) -> None:
    (tmp_path / "test_failing.py").write_text(FAILING)
    first = pytest_run(tmp_path)
    assert first.returncode == 1, first.stdout + first.stderr
    found = re.search(r"again +PERDURE_SEED=(\d+) python -m pytest '([^']+)'", first.stdout)
    assert found, first.stdout
    second = pytest_run(tmp_path, found[2], PERDURE_SEED=found[1])
    assert second.returncode == 1
    assert told(second.stdout) == told(first.stdout)
    assert pytest_run(tmp_path, found[2], PERDURE_SEED=PASSING).returncode == 0


def told(output: str) -> list[str]:
    """The story that a failure printed."""
    return re.findall(r"[+-]\d\d:\d\d:\d\d\.\d+ .*", output)
