"""The laws that every simulation must keep, checked from outside: from the ledger and the world.

Knows entries, effects and replay. Must not know how the engine keeps them.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from typing import TYPE_CHECKING, Protocol, TypeAlias

from perdure.core.lifecycle import is_interruption
from perdure.errors import DefinitionError
from perdure.replay.check import check_run
from perdure.storage import entries as kinds
from perdure.storage.entries import Entry
from perdure.storage.ledger import ENDED, RunFilter, RunRow
from perdure.storage.verify import verify_run

if TYPE_CHECKING:
    from perdure.testing.simulation import Simulation

Invariant: TypeAlias = "Callable[[Simulation], object]"


class LawBroken(AssertionError):
    """A simulation did what must not happen.

    Attributes:
        law: what was broken, in a line. story: all that happened. faults: the schedule under which it did.
    """

    def __init__(self, law: str, simulation: Simulation) -> None:
        super().__init__(f"{law}\n\n{simulation.tell()}")
        self.law = law
        self.story = str(simulation.story)
        self.faults = simulation.faults


class Raised(Protocol):
    """What pytest knows of an exception when it asks which frames to show."""

    def errisinstance(self, exc: type[BaseException], /) -> bool:
        """Whether it is one of these."""
        ...


def told_by_its_story(raised: Raised) -> bool:
    """Hide a module's frames from pytest's tracebacks, as its `__tracebackhide__`: the story has said it."""
    return raised.errisinstance(LawBroken)


__tracebackhide__ = told_by_its_story


def check_laws(simulation: Simulation, invariants: Iterable[Invariant], *, only_invariants: bool = False) -> None:
    """Check every law, then the invariants.

    Raises:
        LawBroken: the first one that does not hold.
    """
    if not only_invariants:
        broken = next(_broken(simulation), None)
        if broken is not None:
            raise LawBroken(broken, simulation)
    for invariant in invariants:
        before = simulation.ledger.commit, simulation.clock.now_us()
        try:
            held = invariant(simulation)
            fails = held is not None and not held
        except AssertionError as error:
            raise LawBroken(f"{_name(invariant)}: {error}".rstrip(": "), simulation) from error
        except Exception as error:  # it could not look at what this world became: a find too, for its author
            if type(error).__module__.startswith("hypothesis."):  # assume() and the like are for Hypothesis
                raise
            raise LawBroken(f"{_name(invariant)} raised {type(error).__name__}: {error}", simulation) from error
        if fails:
            raise LawBroken(f"{_name(invariant)} does not hold", simulation)
        if before != (simulation.ledger.commit, simulation.clock.now_us()):
            raise DefinitionError(
                f"{_name(invariant)} changed the simulation.",
                why="it may be asked at any moment, so it may only look",
                fix="let a test or during=… act, and the invariant judge what came of it",
            )


def checked_invariants(invariants: Iterable[Invariant], option: str) -> tuple[Invariant, ...]:
    """Refuse what can't be asked.

    Raises:
        DefinitionError: it is no list, or something in it is no function.
    """
    if not isinstance(invariants, Iterable):
        raise DefinitionError(f"{option}={invariants!r} is no list.", fix=f"write {option}=[…] around it")
    found = tuple(invariants)
    for each in found:
        if not callable(each):
            raise DefinitionError(f"{option}=[{each!r}] can't be asked.", fix="give functions of a simulation")
    return found


def _broken(simulation: Simulation) -> Iterator[str]:
    ledger = simulation.ledger
    once = Counter(each.key for each in simulation.effects() if each.delivery == "at_most_once")
    for row in ledger.runs(RunFilter(limit=None)):
        entries = ledger.entries(row.run)
        if once and not simulation.lied:  # a disk that forgot the intent forgets the law
            yield from _called_again(row, entries, once)
        fault = verify_run(row, entries)
        if fault is not None:
            yield f"the ledger is not as it was written: {fault}"
        if row.status == "diverged":
            yield f"run {row.run_id} diverged: {row.error}"
        if row.status in ENDED:
            recorded = ledger.definition(row.definition)
            # A life with other code can't replay what one before has ended.
            definitions = simulation.definitions(row.workflow, row.version)
            if not any(check_run(row, definition, entries, explain=False) for definition in definitions):
                verdict = check_run(row, definitions[0], entries, recorded=recorded)
                yield f"run {row.run_id} ended, but does not replay:\n{verdict.divergence}"


def _called_again(row: RunRow, entries: Iterable[Entry], once: Counter[str]) -> Iterator[str]:
    """An at-most-once step is called again only after the ledger has it that the call before failed."""
    known = Counter(
        f"{row.run_id}:{each.command}"
        for each in entries
        if each.kind == kinds.STEP_RETRYING or (each.kind == kinds.STEP_FAILED and not is_interruption(each))
    )
    prefix = f"{row.run_id}:"
    for key, count in once.items():
        if key.startswith(prefix) and count > 1 + known[key]:
            yield f"a step with at-most-once delivery was called {count} times: {key}"


def _name(invariant: Invariant) -> str:
    name = getattr(invariant, "__name__", repr(invariant))
    if name == "<lambda>":
        code = invariant.__code__
        return f"the invariant at {code.co_filename}:{code.co_firstlineno}"
    return f"invariant {name}"
