"""What callers give: ids, keys, tags, statuses, counts and clocks, checked before anything is asked of the engine.

Knows values. Must not know what they are for.
"""

from __future__ import annotations

import difflib
from collections.abc import Collection, Mapping, Sequence
from datetime import datetime, timedelta

from perdure.durations import Duration, duration_us, moment_us
from perdure.errors import DefinitionError
from perdure.storage.ledger import STATUSES, RunFilter
from perdure.texts import checked_text

_CHARACTERS_MAX = 500


def check_id(what: str, value: str | None) -> None:
    """Refuse an id or key that is no text, or too long to be one."""
    if value is not None and (not isinstance(value, str) or not value or len(value) > _CHARACTERS_MAX):
        raise DefinitionError(
            f"{what}={value!r} can't be used.", fix=f"give a text of 1 to {_CHARACTERS_MAX} characters"
        )


def check_name(what: str, value: object) -> None:
    """Refuse what is no text, is empty, or can't be kept."""
    if not isinstance(value, str) or not value:
        raise DefinitionError(f"{what}={value!r} can't be used.", fix="give a text")
    checked_text(value, what)


def checked_tags(tags: Mapping[str, str] | None) -> dict[str, str]:
    """Copy tags, all of them texts."""
    if tags is not None and not isinstance(tags, Mapping):
        raise DefinitionError(f"tags={tags!r} can't be used.", fix='give texts by name: tags={"tenant": "42"}')
    checked = dict(tags or {})
    for name, value in checked.items():
        if not isinstance(name, str) or not isinstance(value, str):
            raise DefinitionError(f"the tag {name!r}: {value!r} is not text.", fix='give texts: tags={"tenant": "42"}')
    return checked


def checked_statuses(status: str | Collection[str] | None) -> tuple[str, ...]:
    """Take one status or several; none is all of them."""
    if status is not None and not isinstance(status, (str, Collection)):
        raise _no_status(status)
    statuses = (status,) if isinstance(status, str) else tuple(status or ())
    for each in statuses:
        if each not in STATUSES:
            raise _no_status(each)
    return statuses


def _no_status(status: object) -> DefinitionError:
    close = difflib.get_close_matches(str(status), STATUSES, n=1)
    meant = f"did you mean {close[0]!r}? " if close else ""
    return DefinitionError(f"{status!r} is no status.", fix=f"{meant}one of {', '.join(STATUSES)}")


def checked_filter_name(what: str, value: object) -> str | None:
    """Take the text by which runs are looked for, or None."""
    if value is None or isinstance(value, str):
        return value
    raise DefinitionError(f"{what}={value!r} can't be used.", fix="give a text, as the run was started with")


def checked_count(what: str, value: int | None, least: int = 0) -> int | None:
    """Take a whole number of at least `least`, or None."""
    if value is not None and (isinstance(value, bool) or not isinstance(value, int) or value < least):
        raise DefinitionError(f"{what}={value!r} can't be used.", fix=f"give a whole number of at least {least}")
    return value


def check_clock(clock: object) -> None:
    """Refuse what is no clock."""
    lacking = [each for each in ("now_us", "new_run_id", "new_token", "open_on") if not hasattr(clock, each)]
    if clock is not None and lacking:
        raise DefinitionError(
            f"clock={clock!r} is no clock.",
            why=f"it has no {', '.join(lacking)}",
            fix="leave it out, or give RuntimeClock() of perdure.testing",
        )


def run_filter(
    now_us: int,
    workflow: str | None,
    version: str | None,
    status: str | Sequence[str] | None,
    tags: Mapping[str, str] | None,
    since: datetime | timedelta | Duration | None,
    limit: int | None = None,
) -> RunFilter:
    """Read which runs are meant; `since` is a moment, or how long ago from `now_us`."""
    earliest: int | None = None
    if isinstance(since, datetime):
        earliest = moment_us(since)
    elif since is not None:
        earliest = now_us - duration_us(since, "since")
    return RunFilter(
        workflow=checked_filter_name("workflow", workflow),
        version=checked_filter_name("version", version),
        statuses=checked_statuses(status),
        tags=checked_tags(tags),
        since=earliest,
        limit=checked_count("limit", limit),
    )
