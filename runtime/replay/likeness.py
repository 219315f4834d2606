"""When two divergences are one: the same place of the same code, whatever the values and the runs.

Knows differences and closures. Must not know causes beyond the obvious one: to conclude more takes longer than the
replay, and is done once for all runs that are alike.
"""

from __future__ import annotations

import functools
import re
from typing import NamedTuple

from perdure.core.divergence import Difference
from perdure.replay.closures import Closure
from perdure.storage.entries import Entry

_WORDS = re.compile(r"[^\W_]+")


class Likeness(NamedTuple):
    """What the runs that share a divergence have in common: equal likenesses are one report."""

    workflow: str
    version: str
    cause: str  # the obvious one
    recorded_site: str
    recorded_kind: str
    recorded_name: str  # as an outline: what differs from run to run is `*`
    replayed_site: str
    replayed_kind: str
    replayed_name: str


def likeness_of(
    workflow: str, version: str, cause: str, difference: Difference, before: str | None, today: str
) -> Likeness:
    """Say what a divergence shares with others.

    Args:
        before, today: the source closures as JSON, that recorded the run (None: not known) and that was replayed.
    """
    recorded, replayed = difference.recorded, difference.replayed
    sources = (today,) if before is None or before == today else (before, today)
    return Likeness(
        workflow,
        version,
        cause,
        difference.recorded_site,
        *_named(recorded, sources),
        difference.site,
        *_named(replayed, sources),
    )


def _named(entry: Entry | None, sources: tuple[str, ...]) -> tuple[str, str]:
    return ("", "") if entry is None else (entry.kind, outline(entry.name, sources))


@functools.lru_cache(maxsize=1024)
def outline(name: str, sources: tuple[str, ...]) -> str:
    """A name without what differs from run to run: by the f-string that makes it, else without words with digits."""
    for text in sources:
        found = closure_of(text).outline_of(name)
        if found is not None:
            return found
    return _WORDS.sub(lambda word: "*" if any(map(str.isdigit, word[0])) else word[0], name)


@functools.lru_cache(maxsize=64)
def closure_of(text: str) -> Closure:
    """Read a closure, once for all runs that have it."""
    return Closure.from_json(text)
