"""`Schedule`: when a workflow's runs begin by the clock. Frozen, and checked where it is written.

Knows ticks. Must not know what a tick starts, nor how far a runtime has come.
"""

from __future__ import annotations

from dataclasses import KW_ONLY, dataclass, field
from datetime import datetime
from typing import Any, Final, Literal, TypeAlias
from zoneinfo import ZoneInfo

from typing_extensions import TypedDict

from perdure.errors import DefinitionError
from perdure.misfit import fitting_methods
from perdure.texts import did_you_mean
from perdure.triggers.cron import Cron, parsed
from perdure.triggers.ticks import count_ticks, first_tick, last_tick
from perdure.triggers.zones import zone

CatchUp: TypeAlias = Literal["all", "last", "none"]

CATCH_UPS: Final = ("all", "last", "none")
_NAME_MAX: Final = 100
_SECOND_US: Final = 1_000_000


class ScheduledInput(TypedDict):
    """What a run gets whose schedule has no input of its own: the tick that it is for, and the schedule's name."""

    scheduled_at: datetime
    schedule: str


@fitting_methods
@dataclass(frozen=True)
class Schedule:
    """One run per tick of a cron expression: `@workflow(trigger=Schedule("0 3 * * *", timezone="Europe/Berlin"))`.

    Attributes:
        cron: 5 fields (minute hour day month weekday), 6 with the seconds first, or an alias such as `@daily`.
        timezone: whose clocks it goes by. A time that clocks skip in spring ticks at the instant of the jump; one that
            they show twice in autumn ticks the first time. An expression that leaves the hour open goes on with the
            minutes that clocks show.
        catch_up: what becomes of ticks that passed while nothing was running: `"all"` start a run each, `"last"` only
            the newest, `"none"` none of them. One that is less than a minute late was not missed.
        name: tells it from the workflow's other schedules, and finds it again after its expression was changed;
            `schedule` by default.
        input: what its runs are started with. By default they get `{"scheduled_at": …, "schedule": name}` where the
            body takes an input.

    Raises:
        DefinitionError: a field of the expression (it says which), the zone, or another value can't be used.
    """

    cron: str
    timezone: str = "UTC"
    catch_up: CatchUp = "all"
    _: KW_ONLY
    name: str | None = None
    input: Any = field(default=None, hash=False)

    def __post_init__(self) -> None:
        if not isinstance(self.cron, str):
            raise DefinitionError(f"cron={self.cron!r} is no text.", fix='write Schedule("0 3 * * *")')
        parsed(self.cron)
        zone(self.timezone)
        if self.catch_up not in CATCH_UPS:
            meant = did_you_mean(self.catch_up, CATCH_UPS)
            raise DefinitionError(f"catch_up={self.catch_up!r} can't be used.", fix=meant)
        _check_name(self.name)

    def __str__(self) -> str:
        return f"cron {self.cron} {self.timezone}" + (f" ({self.name})" if self.name is not None else "")

    @property
    def _times(self) -> tuple[Cron, ZoneInfo]:
        return parsed(self.cron), zone(self.timezone)  # both are kept where they are made

    def next_after(self, us: int) -> int | None:
        """The first tick after a time, both in microseconds since 1970 UTC; None at the end of the calendar."""
        cron, clocks = self._times
        return _micros(first_tick(cron, clocks, us // _SECOND_US + 1))

    def last_between(self, after_us: int, until_us: int) -> int | None:
        """The last tick after one time and up to another; None when there is none."""
        cron, clocks = self._times
        return _micros(last_tick(cron, clocks, until_us // _SECOND_US, after_us // _SECOND_US + 1))

    def ticks_between(self, after_us: int, until_us: int, limit: int) -> list[int]:
        """The ticks after one time and up to another, the earliest first, at most `limit` of them."""
        found: list[int] = []
        tick = self.next_after(after_us)
        while tick is not None and tick <= until_us and len(found) < limit:
            found.append(tick)
            tick = self.next_after(tick)
        return found

    def count_between(self, after_us: int, until_us: int) -> int:
        """How many ticks there are after one time and up to another, without looking at each."""
        cron, clocks = self._times
        return count_ticks(cron, clocks, after_us // _SECOND_US + 1, until_us // _SECOND_US)


def _micros(second: int | None) -> int | None:
    return None if second is None else second * _SECOND_US


def _check_name(name: object) -> None:
    if name is None:
        return
    if not isinstance(name, str) or not 0 < len(name) <= _NAME_MAX or not name.isprintable() or set("/:") & set(name):
        raise DefinitionError(
            f"name={name!r} can't name a schedule.",
            fix=f"give a printable text of 1 to {_NAME_MAX} characters without slash and colon",
        )
