"""No message is lost, none is counted twice, and they are taken in their order."""

import pytest
from workflows import Counter, count

from perdure.testing import RuntimeClock, RuntimeFactory, Simulation, crash_everywhere

MESSAGES = [5, "say", 7, "nonsense", "say", "stop"]


def next_message(number: int) -> object:
    """What is sent whenever the counter waits for a message."""
    return MESSAGES[number]


def test_messages_are_counted_once_wherever_the_process_dies() -> None:
    def said_in_order(simulation: Simulation) -> bool:
        said = {effect.key: effect.args for effect in simulation.effects("announce")}
        return list(said.values()) == [("visitors", 5), ("visitors", 12)]

    report = crash_everywhere(
        count, Counter(name="visitors"), steps={"announce": None}, signals={"message": next_message},
        invariants=[said_in_order],
    )  # fmt: skip
    assert report.outcome == ("completed", Counter(name="visitors", total=12, messages=5))


@pytest.mark.parametrize("renew_after", [1, 2, 3, 100])
def test_a_new_run_goes_on_with_what_the_old_one_had_not_taken(
    perdure_runtime: RuntimeFactory, renew_after: int
) -> None:
    with perdure_runtime(count) as runtime:
        run = runtime.start(count, Counter(name="visitors", renew_after=renew_after))
        for number in range(1, 8):
            run.signal("message", number)
        run.signal("message", "stop")
        assert run.result(timeout="10s").total == 28
        assert len(runtime.runs()) == 1 + 7 // renew_after


def test_a_counter_waits_for_months(perdure_runtime: RuntimeFactory, perdure_clock: RuntimeClock) -> None:
    with perdure_runtime(count) as runtime:
        run = runtime.start(count, Counter(name="visitors"))
        perdure_clock.advance("90d")
        run.signal("message", "stop")
        assert run.result(timeout="10s").total == 0
