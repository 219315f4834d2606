"""The engine under its own simulator: random plans, disturbed by random faults, keep every law and their outcome.

`PERDURE_SEED` picks one seed. `make soak` goes on from a fresh one until `PERDURE_SOAK_SECONDS` have passed.
"""

from __future__ import annotations

import os
import random
import time
from collections.abc import Iterable

import pytest
from releases import deploys, walked_on_their_own
from scripts import Script

from perdure.testing.seeding import chosen_seed

THIS = "tests/simulator/test_anything.py"
SHARDS, SEEDS = 8, 125
LYING_FROM, LYING_EVERY, LYING_SEEDS = 100_000, 8, 120


def live(seed: int) -> None:
    """Live one seed; a failure says how to see it again. Of the great seeds every eighth has a lying disk."""
    script = Script(seed, lying=seed >= LYING_FROM and seed % LYING_EVERY == 0)
    script.faults = (*script.faults, *deploys(seed))
    try:
        walked_on_their_own(script.live(script.expected()))
    except BaseException as error:
        error.add_note(f"seed {seed}: {script.roots}\nagain: PERDURE_SEED={seed} python -m pytest {THIS}")
        raise


def chosen(seeds: range) -> Iterable[int]:
    """The seeds of a shard, or the one that the environment asks for."""
    seed = chosen_seed()
    return seeds if seed is None else (seed,)


@pytest.mark.parametrize("shard", range(SHARDS))
def test_whatever_strikes_every_law_holds_and_the_outcome_is_that_of_the_quiet_run(shard: int) -> None:
    for seed in chosen(range(shard * SEEDS, (shard + 1) * SEEDS)):
        live(seed)


def test_on_a_disk_that_lies_chains_stay_whole_and_every_run_that_is_left_ends() -> None:
    for seed in chosen(range(LYING_FROM, LYING_FROM + LYING_SEEDS * LYING_EVERY, LYING_EVERY)):
        live(seed)


@pytest.mark.soak
@pytest.mark.timeout(0)  # it has a limit of its own
def test_soak(capsys: pytest.CaptureFixture[str]) -> None:
    """Go on until the time is up, from a seed that nobody has tried."""
    limit_s = float(os.environ.get("PERDURE_SOAK_SECONDS", "600"))
    first = chosen_seed() or random.SystemRandom().randrange(LYING_FROM, 1 << 40)
    with capsys.disabled():
        print(f"\nfrom seed {first} on, for {limit_s:g} s")
    seed, until = first, time.monotonic() + limit_s
    while time.monotonic() < until:
        live(seed)
        seed += 1
    with capsys.disabled():
        print(f"{seed - first:,} seeds")
    assert seed > first
