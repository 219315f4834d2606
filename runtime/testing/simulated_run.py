"""A handle on one run of a simulation: what `RunHandle` gives, at once instead of awaited."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from perdure.client.handle import end_of
from perdure.client.status import HistoryEntry, RunStatus, history_entry, status_of
from perdure.engine.batch import Batch
from perdure.engine.engine import Engine
from perdure.engine.retrying import retry
from perdure.engine.stopping import cancel
from perdure.errors import RunTimeout, UnknownRun
from perdure.replay.check import Verdict, check_run
from perdure.storage import entries as kinds
from perdure.storage.encoding import decode, encode
from perdure.storage.entries import Entry
from perdure.storage.ledger import ENDED, RunRow

if TYPE_CHECKING:
    from perdure.testing.simulation import Simulation


class SimulatedRun:
    """One run of a simulation; it holds nothing but the `run_id`, so it outlives crashes."""

    def __init__(self, simulation: Simulation, run_id: str) -> None:
        self._simulation = simulation
        self.run_id = run_id

    def __repr__(self) -> str:
        return f"<run {self.run_id}>"

    def status(self) -> RunStatus:
        """Look at the run."""
        return status_of(self.row())

    def row(self) -> RunRow:
        """The ledger's row of the run. Raises `UnknownRun`."""
        row = self._simulation.ledger.run(self.run_id)
        if row is None:
            raise UnknownRun(f"the simulation has no run {self.run_id!r}.", fix="look at simulation.runs()")
        return row

    def _newest(self) -> RunRow:
        row = self.row()
        while row.continued_as is not None:
            row = SimulatedRun(self._simulation, row.continued_as).row()
        return row

    def history(self) -> list[HistoryEntry]:
        """Read all entries, in order."""
        return [history_entry(entry) for entry in self.entries()]

    def entries(self) -> list[Entry]:
        """Read all entries as the ledger has them."""
        return self._simulation.ledger.entries(self.row().run)

    def result(self) -> Any:
        """Give the run's output, letting things happen until it, and whatever it continued as, has ended.

        Raises:
            RunFailed, RunCancelled, RunTimeout: as it ended. Divergence: it stopped so.
            RunTimeout: it waits for something that nobody sends.
        """
        simulation = self._simulation
        simulation.run(until=lambda: self._newest().status in ENDED or self._newest().status == "diverged")
        row = self._newest()
        if row.status in ENDED or row.status == "diverged":
            entries = simulation.ledger.entries(row.run)
            entry = next(each for each in reversed(entries) if each.kind in kinds.ENDINGS | {kinds.DIVERGED})
            if row.status == "completed":
                return decode(entry.body or "null", entry.shape)
            error, cause = end_of(row, entry)
            raise error from cause
        waits = ", ".join(f"{each.kind} {each.name}" for each in row.pending.values()) or "nothing that is recorded"
        steps = [each.name for each in row.pending.values() if each.kind == kinds.STEP]
        raise RunTimeout(
            f"run {self.run_id} has not ended: it is {row.status}, and nothing can happen any more.",
            why=f"it waits for: {waits}",
            fix=f"let step {steps[0]!r} answer, or give it a fake"
            if steps
            else "send the event, or let the body time out: step.wait_for_event(…, timeout=…)",
        )

    def outcome(self) -> tuple[str, Any]:
        """How the run, or what it continued as, stands: its status, and its output or the text of its error."""
        row = self._newest()
        if row.status != "completed":
            return row.status, row.error
        entries = self._simulation.ledger.entries(row.run)
        entry = next(each for each in reversed(entries) if each.kind == kinds.COMPLETED)
        return row.status, decode(entry.body or "null", entry.shape)

    def cancel(self) -> bool:
        """Ask the run to stop; False when it had ended already."""
        run_id = self.run_id
        self._simulation.story.add("cancel", str, run_id)

        return self._simulation.ask(lambda engine, batch: cancel(engine, run_id, batch))

    def retry(self) -> None:
        """Try the run again, which has failed or was cancelled. Sent again after a crash, unless it has begun then."""
        run_id, attempt = self.run_id, self.row().attempt
        self._simulation.story.add("retry", str, run_id)

        def begin(engine: Engine, batch: Batch) -> None:
            row = engine.ledger.run(run_id)
            if row is None or (row.attempt == attempt and row.requeued_at is None):
                retry(engine, run_id, batch)

        self._simulation.ask(begin)

    def signal(self, name: str, payload: Any = None) -> None:
        """Hand the run a signal. Sent again after a crash. Raises `SignalRefused`."""
        run_id = self.run_id
        self._simulation.story.add("signal", lambda: f"{run_id} {name} {payload!r}")
        self._simulation.ask(lambda engine, batch: engine.messages.signal(run_id, name, encode(payload), batch))

    def replay(self) -> Verdict:
        """Replay the run on the code that the simulation has now, performing nothing."""
        row = self.row()
        ledger = self._simulation.ledger
        definition = self._simulation.definition(row.workflow, row.version)
        return check_run(row, definition, self.entries(), recorded=ledger.definition(row.definition))
