"""Random plans under random faults and deploys: every run is walked on the code that it started with."""

from __future__ import annotations

import pytest
from releases import deploys, walked_on_their_own
from scripts import Script

SHARDS, SEEDS = 4, 10


@pytest.mark.parametrize("shard", range(SHARDS))
def test_a_deploy_at_any_moment_leaves_laws_and_outcomes(shard: int) -> None:
    for seed in range(shard * SEEDS, (shard + 1) * SEEDS):
        script = Script(seed)
        script.faults = (*script.faults, *deploys(seed, share=1))
        try:
            walked_on_their_own(script.live(script.expected()))
        except BaseException as error:
            error.add_note(f"seed {seed}: {script.roots}")
            raise
