"""The window over due times answers like a full list, however small it is."""

from __future__ import annotations

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from perdure.storage.due_window import DueWindow

runs = st.integers(1, 40)
times = st.integers(0, 12)


class WindowAgrees(RuleBasedStateMachine):
    @initialize(size=st.integers(1, 5), known=st.dictionaries(runs, times), bounded=st.booleans())
    def begin(self, size: int, known: dict[int, int], bounded: bool) -> None:
        self.all = known if bounded else {}
        self.reads = 0
        self.window = DueWindow(self.read if bounded else None, size)

    def read(self, limit: int) -> list[tuple[int, int]]:
        self.reads += 1
        return self.sorted()[:limit]

    def sorted(self) -> list[tuple[int, int]]:
        return sorted((time, run) for run, time in self.all.items())

    @rule(run=runs, time=st.none() | times)
    def set(self, run: int, time: int | None) -> None:
        self.all.pop(run, None)
        if time is not None:
            self.all[run] = time
        self.window.set(run, time)

    @rule(until=times, limit=st.integers(1, 8))
    def due(self, until: int, limit: int) -> None:
        assert self.window.due(until, limit) == [pair for pair in self.sorted() if pair[0] <= until][:limit]

    @rule()
    def next_due(self) -> None:
        assert self.window.next_due() == min(self.all.values(), default=None)

    @invariant()
    def memory_is_bounded(self) -> None:
        if hasattr(self, "window"):
            assert len(self.window._heap) <= 2 * len(self.window._times) + 65


WindowAgrees.TestCase.settings = settings(max_examples=60, stateful_step_count=30, deadline=None)
TestWindowAgrees = WindowAgrees.TestCase


def test_a_window_over_many_times_stays_small_and_reads_seldom() -> None:
    everything = {run: run for run in range(10_000)}
    reads = []

    def read(limit: int) -> list[tuple[int, int]]:
        reads.append(limit)
        return sorted((time, run) for run, time in everything.items())[:limit]

    window = DueWindow(read, size=1000)
    for expected in range(5000):
        assert window.next_due() == expected
        del everything[expected]
        window.set(expected, None)
        window.set(expected + 20_000, expected + 20_000)
        everything[expected + 20_000] = expected + 20_000
    assert len(reads) < 10
    assert len(window._heap) < 3000
