"""A card is charged once: whatever gets lost on the way, and wherever the process dies."""

import pytest
from bank import open_bank
from workflows import CardDeclined, Payment, charge, charge_card

from perdure.strict import RunFailed
from perdure.testing import RuntimeClock, RuntimeFactory, Simulation, crash_everywhere, idempotent

ADA = Payment(customer="Ada", cents=4200)


def test_a_lost_answer_charges_nobody_twice(
    perdure_runtime: RuntimeFactory, perdure_clock: RuntimeClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    with open_bank() as bank, perdure_runtime(charge) as runtime:
        monkeypatch.setenv("BANK_URL", bank.url)
        run = runtime.start(charge, ADA)
        perdure_clock.advance("1m")  # the time that the retries wait
        assert run.result(timeout="10s") == "Ada paid 42.00: ch_0"
        assert (bank.requests, len(bank.charges)) == (2, 1)


def test_one_charge_wherever_the_process_dies() -> None:
    def one_key(simulation: Simulation) -> bool:
        return len({effect.key for effect in simulation.effects("charge_card")}) == 1

    report = crash_everywhere(charge, ADA, steps={"charge_card": idempotent("ch_0")}, invariants=[one_key])
    assert report.outcome == ("completed", "Ada paid 42.00: ch_0")


def test_a_declined_card_is_not_asked_for_again() -> None:
    with Simulation(charge, steps={charge_card: CardDeclined("no funds")}) as simulation:
        run = simulation.start(charge, ADA)
        with pytest.raises(RunFailed, match="no funds"):
            run.result()
        assert len(simulation.effects("charge_card")) == 1
