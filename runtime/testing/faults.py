"""What may go wrong, as data. A schedule is a tuple of faults; the same schedule strikes at the same places.

A place is a number that the simulation counts: the n-th commit of the ledger, or the n-th call of a step, both from 1.

Knows names and numbers. Must not know how a fault is struck.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, fields
from typing import Any, Literal, TypeAlias

from perdure.durations import Duration, duration_text, duration_us
from perdure.errors import DefinitionError
from perdure.testing.choices import Choices, Seeded


@dataclass(frozen=True, slots=True)
class Crash:
    """The process dies at a commit, and is started again.

    Attributes:
        commit: which one.
        when: `"before"`: what became ready is lost, though steps that gave it did happen; `"after"`: it is durable,
            but nobody was told and nothing that follows from it was begun.
    """

    commit: int
    when: Literal["before", "after"] = "before"


@dataclass(frozen=True, slots=True)
class TornTail:
    """The power fails while a commit is written: a part of its record reaches the disk.

    Attributes:
        share: of the record's bytes, from 0 to 1.
    """

    commit: int
    share: float = 0.5


@dataclass(frozen=True, slots=True)
class LyingSync:
    """The disk says that commits are safe, the power fails at `commit`, and the last `lost` ones are gone.

    No software can keep what it acknowledged on such a disk. What must hold: the ledger opens, its chains are whole,
    and every run goes on from where the disk has it.
    """

    commit: int
    lost: int = 1


@dataclass(frozen=True, slots=True)
class FullDisk:
    """The disk has no room at a commit, and for `times` - 1 more tries."""

    commit: int
    times: int = 1


@dataclass(frozen=True, slots=True)
class ClockJump:
    """The machine's clock is set forward or back before a commit.

    Attributes:
        seconds: how far; negative is back.
    """

    commit: int
    seconds: float


@dataclass(frozen=True, slots=True)
class EventStorm:
    """Many events arrive before a commit, all alike.

    Attributes:
        type, payload, count: as `send_event` would be given them, and how often.
    """

    commit: int
    type: str = "noise"
    payload: Any = None
    count: int = 10


@dataclass(frozen=True, slots=True)
class Restart:
    """The process dies before a commit and comes back with other code.

    Attributes:
        workflows: what it then knows; empty for the same as before.
    """

    commit: int
    workflows: tuple[Any, ...] = ()


@dataclass(frozen=True, slots=True)
class CancelRun:
    """Somebody cancels a run before a commit.

    Attributes:
        run_id: which one; None is the oldest one that has not ended.
    """

    commit: int
    run_id: str | None = None


@dataclass(frozen=True, slots=True)
class StepError:
    """A call of a step raises.

    Attributes:
        call: which call, counted over all runs.
        step: of the step of this name; None counts the calls of all steps.
        when: `"before"` its effect, or `"after"` it: the thing was done, but its answer was lost.
    """

    call: int
    step: str | None = None
    when: Literal["before", "after"] = "before"


@dataclass(frozen=True, slots=True)
class SlowStep:
    """A call of a step takes long: its effect is there, its answer comes late, or not in its timeout."""

    call: int
    step: str | None = None
    takes: Duration = "1m"


@dataclass(frozen=True, slots=True)
class DuplicateOutcome:
    """The outcome of a call is delivered twice."""

    call: int
    step: str | None = None


CommitFault: TypeAlias = Crash | TornTail | LyingSync | FullDisk | ClockJump | EventStorm | Restart | CancelRun
CallFault: TypeAlias = StepError | SlowStep | DuplicateOutcome
Fault: TypeAlias = CommitFault | CallFault

COMMIT_FAULTS = (Crash, TornTail, LyingSync, FullDisk, ClockJump, EventStorm, Restart, CancelRun)
CALL_FAULTS = (StepError, SlowStep, DuplicateOutcome)


def checked(faults: Sequence[Fault]) -> tuple[Fault, ...]:
    """Refuse a schedule that could not strike as it is written.

    Raises:
        DefinitionError: something in it is no fault, or its place or size is out of range.
    """
    if not isinstance(faults, Iterable):
        raise DefinitionError(f"faults={faults!r} is no list.", fix=f"write faults=[{faults!r}]")
    for fault in faults:
        if not isinstance(fault, (*COMMIT_FAULTS, *CALL_FAULTS)):
            raise DefinitionError(
                f"{fault!r} is no fault.", fix="give faults of perdure.testing, such as Crash(commit=3)"
            )
        for field in fields(fault):
            value = getattr(fault, field.name)
            counted = field.name in ("commit", "call", "lost", "times", "count")
            if counted and (not isinstance(value, int) or isinstance(value, bool) or value < 1):
                raise DefinitionError(f"{fault!r}: {field.name}={value!r}", fix="count from 1")
            if field.name == "when" and value not in ("before", "after"):
                raise DefinitionError(f"{fault!r}: when={value!r}", fix='give "before" or "after"')
            if field.name == "share" and not 0 <= value <= 1:
                raise DefinitionError(f"{fault!r}: share={value!r}", fix="give a number from 0 to 1")
            if field.name == "takes":
                duration_us(value, "takes")
    return tuple(faults)


def random_faults(
    seed: int | Choices, *, count: int = 3, commits: int = 30, calls: int = 20, lying: bool = False
) -> tuple[Fault, ...]:
    """Draw a schedule that a correct workflow lives through with the same outcome.

    Args:
        seed: of the draw; the same seed gives the same schedule.
        count: at most this many faults.
        commits, calls: they strike at one of the first so many.
        lying: whether the disk may lie, which loses acknowledged commits.
    """
    choices = Seeded(seed) if isinstance(seed, int) else seed
    faults: list[Fault] = []
    for _ in range(choices.choose(count + 1)):
        commit, call = 1 + choices.choose(commits), 1 + choices.choose(calls)
        kind = choices.choose(9 if lying else 8)
        if kind <= 2:
            faults.append(Crash(commit, "after" if choices.choose(2) else "before"))
        elif kind == 3:
            faults.append(TornTail(commit, choices.choose(5) / 4))
        elif kind == 4:
            faults.append(FullDisk(commit, 1 + choices.choose(3)))
        elif kind == 5:
            faults.append(ClockJump(commit, (choices.choose(4) - 2) * 1800.0 + 60))
        elif kind == 6:
            faults.append(EventStorm(commit))
        elif kind == 7:
            faults.append(DuplicateOutcome(call))
        else:
            faults.append(LyingSync(commit, 1 + choices.choose(3)))
    return tuple(faults)


def describe(fault: Fault) -> str:
    """Say a fault in a line of a story."""
    match fault:
        case Crash(_, "before"):
            return "the process dies before this commit: what it would have recorded is lost"
        case Crash():
            return "the process dies right after this commit"
        case TornTail(_, share):
            return f"the power fails while this commit is written: {share:.0%} of it reaches the disk"
        case LyingSync(_, lost):
            return f"the power fails, and the disk had lied about the last {lost} commits"
        case FullDisk(_, times):
            return f"the disk is full, for {times} tries"
        case ClockJump(_, seconds):
            way = "forward" if seconds >= 0 else "back"
            return f"the clock is set {way} by {duration_text(round(abs(seconds) * 1_000_000))}"
        case EventStorm(_, kind, _, count):
            return f"{count} events {kind!r} arrive at once"
        case Restart():
            return "the process dies, and comes back with other code"
        case CancelRun(_, None):
            return "somebody cancels the oldest open run"
        case CancelRun(_, run_id):
            return f"somebody cancels {run_id}"
        case StepError(_, _, "before"):
            return "the step fails before it does anything"
        case StepError():
            return "the step is done, but its answer is lost"
        case SlowStep(_, _, takes):
            return f"the step's answer takes {takes}"
        case DuplicateOutcome():
            return "the step's outcome is delivered twice"
