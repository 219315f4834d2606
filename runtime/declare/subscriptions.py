"""Who wants what: the triggers of the registered workflows, indexed by what happens.

Of several versions of a workflow only the newest is started by itself: so two of them don't both start at a tick.

Knows definitions and filters. Must not know what happens.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, NamedTuple, TypeVar

from perdure.declare.reactions import Reaction
from perdure.declare.registry import Definition, Registry
from perdure.errors import DefinitionError
from perdure.texts import did_you_mean
from perdure.triggers.changes import DbChanges, KvChanges
from perdure.triggers.event import Event, ReceivedEvent
from perdure.triggers.schedule import Schedule

T = TypeVar("T")


class Scheduled(NamedTuple):
    """A schedule, and the workflow whose runs it starts."""

    definition: Definition
    schedule: Schedule

    @property
    def id(self) -> str:
        """How it is found, and how far it has come: `<workflow>/<name of the schedule>`, which has no other slash."""
        return f"{self.definition.id}/{self.schedule.name}"


class Subscriptions:
    """The triggers of the newest version of each workflow of a registry, as they are when this is made."""

    def __init__(self, registry: Registry) -> None:
        self.schedules: dict[str, Scheduled] = {}  # by id
        self._events: defaultdict[str, list[tuple[Event, Definition]]] = defaultdict(list)
        self._kv: defaultdict[str | None, list[tuple[KvChanges, Definition]]] = defaultdict(list)  # None: any namespace
        self._db: defaultdict[str | None, list[tuple[DbChanges, Definition]]] = defaultdict(list)
        for id in dict.fromkeys(definition.id for definition in registry.all()):
            definition = registry.newest(id)
            for trigger in definition.triggers:
                if isinstance(trigger, Schedule):
                    scheduled = Scheduled(definition, trigger)
                    self.schedules[scheduled.id] = scheduled
                elif isinstance(trigger, Event):
                    self._events[trigger.type].append((trigger, definition))
                elif isinstance(trigger, KvChanges):
                    self._kv[trigger.namespace].append((trigger, definition))
                else:
                    self._db[trigger.collection].append((trigger, definition))

    @property
    def wants_kv(self) -> bool:
        """Whether anybody wants to know of changes of `kv`."""
        return bool(self._kv)

    @property
    def wants_db(self) -> bool:
        """Whether anybody wants to know of changes of documents."""
        return bool(self._db)

    def wants_event(self, type: str) -> bool:
        """Whether anybody wants to know of events of this type."""
        return type in self._events

    def to_event(self, event: ReceivedEvent, payload: Mapping[str, Any]) -> list[Definition]:
        """What an event starts, each once, in order of registration.

        Args:
            payload: its payload in plain JSON values; empty for one without fields.
        """
        wanted = self._events.get(event.type, ())
        return _distinct(
            definition
            for trigger, definition in wanted
            if trigger.matches(event.type, payload, event.resource, event.namespace)
        )

    def to_kv_change(self, namespace: str, key: str, op: str) -> list[Definition]:
        """What a change of `kv` starts, likewise."""
        wanted = _both(self._kv, namespace)
        return _distinct(definition for filter, definition in wanted if filter.matches(namespace, key, op))

    def to_db_change(self, collection: str, op: str) -> list[Definition]:
        """What a change of a document starts, likewise."""
        wanted = _both(self._db, collection)
        return _distinct(definition for filter, definition in wanted if filter.matches(collection, op))


def found_schedule(schedules: Mapping[str, Scheduled], id: str) -> Scheduled:
    """Find a schedule by its id, or by its workflow's when that has no other.

    Raises:
        DefinitionError: there is none.
    """
    found = schedules.get(id)
    if found is not None:
        return found
    of_workflow = [each for each in schedules.values() if each.definition.id == id]
    if len(of_workflow) == 1:
        return of_workflow[0]
    if of_workflow:
        ids = ", ".join(each.id for each in of_workflow)
        raise DefinitionError(f"workflow {id!r} has {len(of_workflow)} schedules.", fix=f"name one: {ids}")
    raise DefinitionError(
        f"there is no schedule {id!r}.",
        why="" if schedules else "no registered workflow has one",
        fix=did_you_mean(id, schedules) if schedules else 'declare it: @workflow(trigger=Schedule("0 3 * * *"))',
    )


def input_of_event(definition: Definition, event: ReceivedEvent) -> object:
    """What a run that an event starts is given: the event itself for a function, else its payload."""
    return event if isinstance(definition, Reaction) else event.payload


def _both(wanted: Mapping[str | None, list[T]], place: str) -> Iterator[T]:
    yield from wanted.get(place, ())
    yield from wanted.get(None, ())


def _distinct(found: Iterable[Definition]) -> list[Definition]:
    return list(dict.fromkeys(found))
