"""Every kind of trigger under crashes, full disks, clock jumps, pauses, backfills and deploys that lack them."""

from __future__ import annotations

import pytest
from triggering import Life

from perdure.testing.seeding import chosen_seed

SEEDS = range(8)
_CHOSEN = chosen_seed()


@pytest.mark.parametrize("seed", SEEDS if _CHOSEN is None else [_CHOSEN])
def test_a_month_of_triggers_starts_what_is_owed_once_and_nothing_else(seed: int) -> None:
    assert Life(seed).live(days=30) > 100


@pytest.mark.soak
@pytest.mark.timeout(0)  # half a minute and more, since the laws look at every run after every commit
@pytest.mark.parametrize("seed", range(100, 104))
def test_so_does_a_year(seed: int) -> None:
    assert Life(seed).live(days=365) > 2_000
