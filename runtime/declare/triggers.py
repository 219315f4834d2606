"""`trigger=` of a workflow: what starts its runs, checked where it is written, and what the runs are given.

Knows declarations and annotations. Must not know when a tick or an event comes.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from types import NoneType
from typing import TYPE_CHECKING, Any, Final, TypeAlias

from perdure.durations import moment
from perdure.errors import DefinitionError, InvalidInput, NotSerializable
from perdure.triggers.changes import DbChanges, KvChanges
from perdure.triggers.event import Event
from perdure.triggers.schedule import Schedule

if TYPE_CHECKING:
    from perdure.declare.workflow import WorkflowDefinition

#: What starts runs of a workflow, or calls of a function.
Trigger: TypeAlias = Schedule | Event | KvChanges | DbChanges

#: How the schedule of a workflow is called that has no other one.
USUAL_NAME: Final = "schedule"
#: Any tick, to see whether an input takes one.
_SOME_TICK_US: Final = 1_893_456_000_000_000


def triggers_of(given: Schedule | Event | Sequence[Schedule | Event] | None) -> tuple[Schedule | Event, ...]:
    """Check what `trigger=` was given, and name its schedules.

    Raises:
        DefinitionError: it is no trigger, or two of them can't be told apart.
    """
    if given is None:
        return ()
    listed = list(given) if isinstance(given, (list, tuple)) else [given]
    found: list[Schedule | Event] = []
    for each in listed:
        if not isinstance(each, (Schedule, Event)):
            meant = f"Schedule({each!r})" if isinstance(each, str) and " " in each else 'Event("order.paid")'
            raise DefinitionError(
                f"trigger={each!r} can't be used.", fix=f'give a Schedule("0 3 * * *"), an Event, or a list: {meant}'
            )
        if isinstance(each, Schedule) and each.name is None:
            each = replace(each, name=USUAL_NAME)
        if each in found:
            raise DefinitionError(f"trigger has {each} twice.", fix="leave one of them out")
        found.append(each)
    names = [each.name for each in found if isinstance(each, Schedule)]
    for name in names:
        if names.count(name) > 1:
            raise DefinitionError(
                f"two schedules of one workflow are named {name!r}.",
                why="how far each has come is kept under its name",
                fix='give each a name: Schedule("0 3 * * *", name="nightly")',
            )
    return tuple(found)


def scheduled_input(definition: WorkflowDefinition[Any], schedule: Schedule, tick_us: int) -> object:
    """What the run of a tick is started with, before validation.

    The schedule's own input; else the tick and the schedule's name, where the body takes an input other than None.
    """
    if schedule.input is not None:
        return schedule.input
    if not definition.takes or definition.input_annotation is NoneType:
        return None
    return {"scheduled_at": moment(tick_us), "schedule": schedule.name}


def check_scheduled_inputs(definition: WorkflowDefinition[Any]) -> None:
    """Refuse a schedule whose runs could never start, because the body does not take what they are given.

    Raises:
        DefinitionError: with the problem.
    """
    for schedule in definition.options.triggers:
        if not isinstance(schedule, Schedule):
            continue
        try:
            definition.encode_input(scheduled_input(definition, schedule, _SOME_TICK_US))
        except (InvalidInput, NotSerializable) as error:
            gives = "its input" if schedule.input is not None else '{"scheduled_at": …, "schedule": …}'
            raise DefinitionError(
                f"workflow {definition.id!r} can't take what its schedule {schedule.name!r} gives.",
                where=definition.site,
                why=f"it gives {gives}: {error.message}",
                fix="give what it takes: Schedule(…, input=…), or annotate the input as perdure.ScheduledInput or None",
            ) from None
