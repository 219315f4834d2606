"""The same simulations on the real ledger: crashes leave its files as they are, and every entry is the same."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from plans import WORKFLOWS
from scripts import Script

import perdure.testing.simulation as simulated
from perdure.errors import LedgerFull
from perdure.storage.cells import Cell
from perdure.storage.duckdb_ledger import DuckDBLedger
from perdure.storage.entries import DefinitionRow, Entry
from perdure.storage.verify import verify
from perdure.testing import Crash, FullDisk, Restart, Simulation
from perdure.testing.simulated_ledger import SimulatedCrash

SEEDS, SOAK_SEEDS = range(14), range(14, 400)


class Lives:
    """The ledgers of one simulation: each life opens a copy of what the one before had on its disk."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.ledgers: list[CrashingLedger] = []

    def next_folder(self) -> Path:
        """A folder with all files as the last life has them at this moment, as if it were killed now."""
        folder = self.folder / str(len(self.ledgers))
        if not self.ledgers:
            folder.mkdir()
            return folder
        last = self.ledgers[-1]
        with last._absorbing:  # files that are written to while they are copied are no moment's files
            shutil.copytree(last.path.parent, folder, ignore=shutil.ignore_patterns("*.lock"))
        last.close()
        return folder

    def open(self, disk: object, commit: int = 0) -> CrashingLedger:
        """What stands in for the simulated ledger."""
        ledger = CrashingLedger(self.next_folder() / "ledger.duckdb", commit)
        self.ledgers.append(ledger)
        return ledger


class CrashingLedger(DuckDBLedger):
    """A real ledger that fails at a commit as it is told."""

    def __init__(self, path: Path, commit: int) -> None:
        super().__init__(path)
        self.commit = commit
        self.fault: Any = None
        self.on_strike: Any = lambda fault: None

    def append(
        self, entries: Sequence[Entry], definitions: Sequence[DefinitionRow] = (), cells: Sequence[Cell] = ()
    ) -> None:
        """Append, or fail."""
        fault, self.fault = self.fault, None
        if fault is not None:
            self.on_strike(fault)
        if isinstance(fault, FullDisk):
            raise LedgerFull("no room.")
        self.commit += 1
        if isinstance(fault, (Crash, Restart)) and getattr(fault, "when", "before") == "before":
            raise SimulatedCrash
        super().append(entries, definitions, cells)
        if isinstance(fault, Crash):
            raise SimulatedCrash


def lived(seed: int) -> dict[str, list[Entry]]:
    """Live a seed; give all entries of all runs, but for the runs' numbers, which a real ledger skips at each start."""
    script = Script(seed)
    kinds = ("TornTail", "LyingSync")  # these are faults of the simulated disk
    faults = [fault for fault in script.faults if type(fault).__name__ not in kinds]
    with Simulation(*WORKFLOWS, seed=seed, faults=faults, **script.traffic.limits()) as simulation:
        script.disturb(simulation, script.begin(simulation))
        script.finish(simulation, script.post)
        return {run.run_id: [entry._replace(run=0, digest=b"") for entry in run.entries()] for run in simulation.runs()}


def agree(seeds: range, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Live seeds on both, and compare."""
    deaths = 0
    for seed in seeds:
        expected = lived(seed)
        folder = tmp_path / str(seed)
        folder.mkdir()
        lives = Lives(folder)
        with monkeypatch.context() as patch:
            patch.setattr(simulated, "SimulatedLedger", lives.open)
            assert lived(seed) == expected, f"seed {seed}"
        lives.ledgers[-1].close()
        assert verify(lives.ledgers[-1].path).ok, f"seed {seed}"
        deaths += len(lives.ledgers) - 1
        shutil.rmtree(folder)
    assert deaths > len(seeds) // 4


def test_real_files_and_simulated_ones_hold_the_same_entries(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    agree(SEEDS, tmp_path, monkeypatch)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.soak
@pytest.mark.timeout(1800)
def test_many_real_files_hold_the_same_entries(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    agree(SOAK_SEEDS, tmp_path, monkeypatch)
    assert list(tmp_path.iterdir()) == []
