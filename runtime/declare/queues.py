"""`Queue` and `Rate`: what a named queue lets happen at once. Frozen, and checked where they are written.

Knows limits. Must not know runs, nor who is next (`perdure.core.flow`).
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, fields, replace
from typing import TYPE_CHECKING, Any, Final, Literal, TypeAlias, TypedDict

from perdure.durations import Duration, duration_us
from perdure.errors import DefinitionError
from perdure.misfit import fitting_methods

if TYPE_CHECKING:
    from perdure.declare.registry import Definition

Singleton: TypeAlias = Literal["skip", "replace", "queue"]

SINGLETONS: Final = ("skip", "replace", "queue")
#: A queue's name and a key are shown in tables and kept with every run.
_NAME_MAX: Final = 200
#: Priorities are kept in 32 bits; beyond a million levels nobody can tell them apart.
PRIORITY_MAX: Final = 1_000_000
#: The queue of runs that are on no queue of their own, when a runtime limits how many run at once.
UNNAMED: Final = ":runtime"


@fitting_methods
@dataclass(frozen=True)
class Rate:
    """At most so many begins in any period of this length: `Rate(100, per="1m")`.

    Attributes:
        limit: how many, at least 1.
        per: the period, a duration longer than zero. It slides: it counts back from each begin.

    Raises:
        DefinitionError: a value is out of its range.
    """

    limit: int
    per: Duration

    def __post_init__(self) -> None:
        _check_count("limit", self.limit)
        if duration_us(self.per, "per") == 0:
            raise _refused("per", self.per, 'longer than zero, such as "1m"')

    @property
    def per_us(self) -> int:
        """The period in microseconds."""
        return duration_us(self.per)


@fitting_methods
@dataclass(frozen=True)
class Queue:
    """A named queue: its runs are recorded at once, and begin when there is room.

    A limit of None is no limit. Keys come from the workflow's `key=` template or from `start(key=…)`.

    Attributes:
        name: how workflows and starts refer to it.
        max_concurrent_runs: runs that have begun and not ended; those that sleep or wait count.
        max_concurrent_steps: attempts of steps at work, of all runs on this queue.
        max_concurrent_runs_per_key: like `max_concurrent_runs`, for each key.
        rate: how many may begin in a period. rate_per_key: likewise, for each key.
        debounce: how long a start waits for another one with the same key, which then takes its place; a duration.
        debounce_max: the longest that the first of them waits in all; a duration.
        singleton: one run of a workflow at a time, for each key (without one, for the workflow). A start that finds one
            gets that one ("skip"), cancels it and follows it ("replace"), or waits for it ("queue").

    Raises:
        DefinitionError: a value is out of its range, or two of them can't be meant together.
    """

    name: str
    max_concurrent_runs: int | None = None
    max_concurrent_steps: int | None = None
    max_concurrent_runs_per_key: int | None = None
    rate: Rate | None = None
    rate_per_key: Rate | None = None
    debounce: Duration | None = None
    debounce_max: Duration | None = None
    singleton: Singleton | None = None

    def __post_init__(self) -> None:
        if self.name != UNNAMED:
            check_queue_name(self.name)
        for name in ("max_concurrent_runs", "max_concurrent_steps", "max_concurrent_runs_per_key"):
            _check_count(name, getattr(self, name), optional=True)
        for name in ("rate", "rate_per_key"):
            if not isinstance(getattr(self, name), (Rate, type(None))):
                raise _refused(name, getattr(self, name), 'a Rate, such as Rate(100, per="1m"), or None')
        if self.singleton not in (None, *SINGLETONS):
            raise _refused("singleton", self.singleton, '"skip", "replace" or "queue", or None')
        per_key = self.max_concurrent_runs_per_key
        if self.singleton is not None and per_key not in (None, 1):
            raise DefinitionError(
                f"queue {self.name!r} is a singleton and has max_concurrent_runs_per_key={per_key}.",
                why="a singleton has one run at a time for each key",
                fix="leave one of them out",
            )
        self._check_debounce()

    def _check_debounce(self) -> None:
        if self.debounce is not None and duration_us(self.debounce, "debounce") == 0:
            raise _refused("debounce", self.debounce, 'longer than zero, such as "5s", or None')
        if self.debounce_max is not None:
            if self.debounce is None:
                raise DefinitionError(
                    f"queue {self.name!r} has debounce_max without debounce.",
                    fix='give debounce="5s" too, or leave debounce_max out',
                )
            if duration_us(self.debounce_max, "debounce_max") < duration_us(self.debounce):
                raise _refused("debounce_max", self.debounce_max, f"at least as long as debounce={self.debounce!r}")

    @property
    def runs_per_key(self) -> int | None:
        """How many runs of one key may have begun: a singleton's is one."""
        return 1 if self.singleton is not None else self.max_concurrent_runs_per_key

    @property
    def debounce_us(self) -> int | None:
        """How long a start waits for the next one, in microseconds; None is not at all."""
        return None if self.debounce is None else duration_us(self.debounce)

    @property
    def debounce_max_us(self) -> int | None:
        """How long the first start waits in all, in microseconds; None is without end."""
        return None if self.debounce_max is None else duration_us(self.debounce_max)

    @property
    def looks_back_us(self) -> int:
        """How far back begins count."""
        return max((rate.per_us for rate in (self.rate, self.rate_per_key) if rate is not None), default=0)

    def changed(self, changes: Mapping[str, Any]) -> Queue:
        """The same queue with other limits.

        Raises:
            DefinitionError: there is no such limit, or a value is out of its range.
        """
        known = [each.name for each in fields(self) if each.name != "name"]
        for name in changes:
            if name not in known:
                meant = difflib.get_close_matches(name, known, 1)
                raise DefinitionError(
                    f"a queue has no limit {name!r}.",
                    fix=f"write {meant[0]}" if meant else f"one of {', '.join(known)}",
                )
        return replace(self, **changes)


class QueueChanges(TypedDict, total=False):
    """What `Runtime.set_queue` may change: the limits of `Queue`."""

    max_concurrent_runs: int | None
    max_concurrent_steps: int | None
    max_concurrent_runs_per_key: int | None
    rate: Rate | None
    rate_per_key: Rate | None
    debounce: Duration | None
    debounce_max: Duration | None
    singleton: Singleton | None


def check_queue_name(name: object) -> None:
    """Refuse what can't name a queue."""
    if not isinstance(name, str) or not 0 < len(name) <= _NAME_MAX or not name.isprintable() or name.startswith(":"):
        raise DefinitionError(
            f"{name!r} can't name a queue.",
            why="a name that begins with a colon is Perdure's own" if str(name).startswith(":") else "",
            fix=f'give a printable text of 1 to {_NAME_MAX} characters: Queue("emails")',
        )


def check_priority(priority: object) -> None:
    """Refuse what is no priority."""
    if isinstance(priority, bool) or not isinstance(priority, int) or abs(priority) > PRIORITY_MAX:
        raise _refused(
            "priority", priority, f"a whole number from -{PRIORITY_MAX:,} to {PRIORITY_MAX:,}; smaller ones come first"
        )


def named(queues: Iterable[Queue]) -> dict[str, Queue]:
    """Queues by name.

    Raises:
        DefinitionError: one of them is no queue, or two have one name and different limits.
    """
    found: dict[str, Queue] = {}
    if isinstance(queues, Queue) or not isinstance(queues, Iterable):
        raise DefinitionError(f"queues={queues!r} is no list.", fix='give Runtime(queues=[Queue("emails", …)])')
    for queue in queues:
        if not isinstance(queue, Queue):
            raise DefinitionError(f"{queue!r} is no queue.", fix='give Runtime(queues=[Queue("emails", …)])')
        other = found.setdefault(queue.name, queue)
        if other != queue:
            raise DefinitionError(
                f"two queues are named {queue.name!r}, with different limits.",
                why=f"{other!r}\n{queue!r}",
                fix="declare it once, and use that one everywhere",
            )
    return found


def named_by(definitions: Iterable[Definition], given: Iterable[Queue] = ()) -> dict[str, Queue]:
    """The queues that a runtime is given, and those that its workflows bring with them.

    Raises:
        DefinitionError: a workflow names a queue that nobody gave, or two have one name and different limits.
    """
    declared = [(each, each.options.queue) for each in definitions]
    found = named([*named(given).values(), *(queue for _, queue in declared if isinstance(queue, Queue))])
    for definition, queue in declared:
        if isinstance(queue, str) and queue not in found:
            raise DefinitionError(
                f"workflow {definition.id!r} is on queue {queue!r}, which nobody gave.",
                where=definition.site,
                why=f"there are {', '.join(sorted(found)) or 'none'}",
                fix=f"declare it with the workflow, or give it to the runtime: Runtime(queues=[Queue({queue!r}, …)])",
            )
    return found


def check_limit(name: str, value: int | None) -> None:
    """Refuse a limit that lets nothing happen, or that is no number."""
    _check_count(name, value, optional=True)


def _check_count(name: str, value: object, *, optional: bool = False) -> None:
    if optional and value is None:
        return
    if isinstance(value, bool) or not isinstance(value, int) or value < 1:
        raise _refused(name, value, "a whole number of at least 1" + ("; None is no limit" if optional else ""))


def _refused(name: str, value: object, wanted: str) -> DefinitionError:
    return DefinitionError(f"{name}={value!r} can't be used.", fix=f"give {wanted}")
