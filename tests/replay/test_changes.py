"""Every kind of change, over every kind of run, gets the verdict and the cause that it should have."""

from __future__ import annotations

from typing import Any

import pytest
from changed_bodies import CHANGES


@pytest.mark.parametrize("name", CHANGES)
async def test_a_check_says_what_changed(recorder: Any, name: str) -> None:
    change = CHANGES[name]
    await recorder.record(change.body, change.input, act=change.act, until=change.until)
    divergence = recorder.check(change.changed).divergence
    if not change.cause:
        assert divergence is None, divergence
        return
    assert divergence is not None
    assert divergence.cause == change.cause, str(divergence)
    assert divergence.why
    assert divergence.fix
    if divergence.position < len(recorder.entries()) - 1:  # an end has no line of its own
        assert divergence.recorded_site or divergence.replayed_site
