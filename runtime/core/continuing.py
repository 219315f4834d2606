"""A run that goes on as another one: what leaves the body then, and how the next run of the chain is called.

Knows an exception and names. Must not know how the next run is started.
"""

from __future__ import annotations

from perdure.core.facts import RunFacts
from perdure.storage.encoding import Encoded


class ContinueAs(BaseException):  # a control signal, not an error anybody handles
    """Leaves the body of a run that goes on as another one; `except Exception` lets it pass, `finally` runs."""

    def __init__(self, input: Encoded) -> None:
        super().__init__("step.continue_as ends the run here; it leaves the body")
        self.input = input


def next_input(error: BaseException | None) -> Encoded | None:
    """The input with which the next run starts, when this is why the body was left; else None."""
    if isinstance(error, ContinueAs):
        return error.input
    if isinstance(error, BaseExceptionGroup) and len(error.exceptions) == 1:
        return next_input(error.exceptions[0])  # a task group wraps what leaves one of its tasks
    return None


def successor_run_id(facts: RunFacts) -> str:
    """Derive the next run's id from the first one's and the count: `loop`, `loop+2`, `loop+3`, …"""
    first = facts.first_run_id or facts.run_id
    number = facts.run_id.removeprefix(f"{first}+").partition("~")[0]
    return f"{first}+{int(number) + 1 if facts.first_run_id and number.isdigit() else 2}"
