"""A planted bug: a cache that all runs of a process share, and that no ledger has.

The first run fills it, so the next one asks for less; and whoever replays the first one finds it filled. What a body
remembers belongs in its own variables, or in a step's result.

The strict import refuses it. The lenient one warns, and somebody has silenced the warning.
"""

from __future__ import annotations

import warnings
from typing import ClassVar

from perdure import DeterminismWarning, step, workflow


class Rates:
    """The cache: a dictionary of the class."""

    known: ClassVar[dict[str, int]] = {}


@step
async def fetch_rate(currency: str) -> int:
    return 110


with warnings.catch_warnings():
    warnings.simplefilter("ignore", DeterminismWarning)

    @workflow(id="hidden-cache")
    async def convert(input: str, step) -> int:
        if input not in Rates.known:
            Rates.known[input] = await fetch_rate(input)
        return Rates.known[input]


@workflow(id="hidden-cache-mended")
async def convert_mended(input: str, step) -> int:
    known: dict[str, int] = {}
    if input not in known:
        known[input] = await fetch_rate(input)
    return known[input]
