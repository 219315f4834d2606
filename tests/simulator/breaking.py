"""Breaks the engine on purpose, and lives seeds until somebody notices."""

from __future__ import annotations

import itertools
from collections.abc import Callable

import pytest
from releases import deploys, walked_on_their_own
from scripts import Outcome, Script

SEEDS_MAX = 400
Mutant = Callable[[pytest.MonkeyPatch], None]
#: Whether a seed is worth living, since most never come near what is broken. It may give the script other plans.
Wanted = Callable[[Script], bool]
_expected: dict[str, list[Outcome]] = {}


def be_caught(
    mutant: Mutant,
    monkeypatch: pytest.MonkeyPatch,
    wanted: Wanted = lambda script: True,
    *,
    share: float = 0.0,
    seeds_max: int = SEEDS_MAX,
) -> None:
    """Fail the test unless a seed turns red. `share` of the lives have a deploy."""
    lived = 0
    for seed in itertools.count():
        script = Script(seed)
        if not wanted(script):
            continue
        script.faults = (*script.faults, *deploys(seed, share))
        expected = expected_of(script)
        with monkeypatch.context() as patch:
            mutant(patch)
            try:
                walked_on_their_own(script.live(expected))
            except (AttributeError, NameError, TypeError):  # the mutant no longer fits what it breaks
                raise
            except Exception:  # noqa: BLE001  # whatever turned red has seen the mutant
                return
        lived += 1
        if lived == seeds_max:
            break
    pytest.fail(f"nothing saw in {lived} seeds that the engine {mutant.__name__}")


def expected_of(script: Script) -> list[Outcome]:
    """What the engine gives that is not broken; the same for every mutant."""
    key = f"{script.seed} {script.roots}"
    if key not in _expected:
        _expected[key] = script.expected()
    return _expected[key]
