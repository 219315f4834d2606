"""The first answer counts, and none comes too late."""

from workflows import Question, Quote, find_quote

from perdure.testing import Simulation, SlowStep, crash_everywhere

MUG = Question(sku="MUG", suppliers={"ann": 0, "bob": 0})
ANN, BOB = Quote(supplier="ann", cents=1), Quote(supplier="bob", cents=2)


def answer(supplier: str, sku: str, takes_s: float) -> Quote:
    return {"ann": ANN, "bob": BOB}[supplier]


def test_somebody_wins_in_whatever_order_they_answer() -> None:
    winners = set()
    for seed in range(10):
        with Simulation(find_quote, seed=seed, steps={"ask": answer}) as simulation:
            winners.add(simulation.start(find_quote, MUG).result().supplier)
    assert winners == {"ann", "bob"}


def test_a_single_runner_wins_wherever_the_process_dies() -> None:
    alone = MUG.model_copy(update={"suppliers": {"bob": 0}})
    assert crash_everywhere(find_quote, alone, steps={"ask": answer}).outcome == ("completed", BOB)


def test_who_is_slower_than_our_patience_is_not_waited_for() -> None:
    slow = [SlowStep(call=1, takes="2h"), SlowStep(call=2, takes="3h")]
    with Simulation(find_quote, steps={"ask": answer}, faults=slow) as simulation:
        assert simulation.start(find_quote, MUG).result() is None


def test_the_slower_one_loses() -> None:
    with Simulation(find_quote, steps={"ask": answer}, faults=[SlowStep(call=1, takes="10m")]) as simulation:
        winner = simulation.start(find_quote, MUG).result()
        slow = simulation.effects("ask")[0].args[0]
    assert winner.supplier != slow


def test_who_can_not_answer_drops_out_and_the_others_run_on() -> None:
    def only_bob(supplier: str, sku: str, takes_s: float) -> Quote:
        if supplier == "ann":
            raise ConnectionError("the line is dead")
        return BOB

    for seed in range(5):
        slow_bob = [SlowStep(call=2, takes="10m")]
        with Simulation(find_quote, seed=seed, steps={"ask": only_bob}, faults=slow_bob) as simulation:
            assert simulation.start(find_quote, MUG).result() == BOB


def test_when_nobody_can_answer_the_race_ends_at_once() -> None:
    def nobody(supplier: str, sku: str, takes_s: float) -> Quote:
        raise ConnectionError("the line is dead")

    with Simulation(find_quote, steps={"ask": nobody}) as simulation:
        began = simulation.clock.now
        assert simulation.start(find_quote, MUG).result() is None
        assert (simulation.clock.now - began).total_seconds() < 60
