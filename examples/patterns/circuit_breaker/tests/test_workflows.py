"""A service that is down is left in peace, and every job is done in the end."""

from collections.abc import Callable
from datetime import timedelta

from workflows import BadJob, Batch, Unavailable, call_guarded

from perdure.testing import Simulation, crash_everywhere, results

JOBS = Batch(jobs=["ann", "bob"], trips_after=2, pause_s=60)


def down(first: int, last: int) -> Callable[[str], str]:
    """A service that is down from one call to another, over all jobs."""
    calls = 0

    def call(job: str) -> str:
        nonlocal calls
        calls += 1
        if first <= calls <= last:
            raise Unavailable(f"call {calls}")
        return job.upper()

    return call


def test_a_service_that_answers_is_never_waited_for() -> None:
    with Simulation(call_guarded, steps={"call_service": down(0, 0)}) as simulation:
        outcome = simulation.start(call_guarded, JOBS).result()
        assert (outcome.done, outcome.pauses_s, simulation.calls) == (["ANN", "BOB"], [], 2)


def test_one_failure_opens_nothing() -> None:
    with Simulation(call_guarded, steps={"call_service": down(1, 1)}) as simulation:
        assert simulation.start(call_guarded, JOBS).result().pauses_s == []


def test_the_circuit_opens_for_longer_each_time_that_the_trial_fails() -> None:
    with Simulation(call_guarded, steps={"call_service": down(1, 4)}) as simulation:
        began = simulation.clock.now
        outcome = simulation.start(call_guarded, JOBS).result()
        assert (outcome.done, outcome.pauses_s) == (["ANN", "BOB"], [60, 120, 240])
        assert simulation.clock.now - began == timedelta(minutes=7)
        assert simulation.calls == 6


def test_a_bad_job_is_refused_and_does_not_open_the_circuit() -> None:
    def refuse(job: str) -> str:
        raise BadJob(job)

    with Simulation(call_guarded, steps={"call_service": refuse}) as simulation:
        outcome = simulation.start(call_guarded, JOBS).result()
        assert (outcome.refused, outcome.pauses_s) == (["ann", "bob"], [])


def test_a_crash_in_the_pause_neither_shortens_it_nor_begins_it_anew() -> None:
    answers = results(*[Unavailable("down")] * 3, "ANN", "BOB")
    report = crash_everywhere(call_guarded, JOBS, steps={"call_service": answers})
    assert report.outcome[1].pauses_s == [60, 120]
