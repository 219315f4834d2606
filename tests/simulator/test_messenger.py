"""What an experiment sends to runs that wait for signals and hooks, in every life once."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import strategies as st

from perdure.errors import DefinitionError
from perdure.strict import workflow
from perdure.testing import check_determinism, crash_everywhere


@workflow(id="desk")
async def desk(input: str, step) -> list[Any]:
    taken = [await step.wait_for_signal("vote", schema=int), await step.wait_for_signal("vote", schema=int)]
    hook = step.hook(f"chat:{input}")
    async for line in hook:
        taken.append(line)
        if line == "bye":
            break
    hook.dispose()
    return [*taken, await step.hook()]


def test_signals_and_hooks_come_whenever_a_run_waits_for_one_and_once_whatever_crashes() -> None:
    lines = ["hi", "how", "bye"]
    report = crash_everywhere(
        desk, "room", signals={"vote": lambda number: number}, hooks={"chat:*": lines.__getitem__, "*": "made up"}
    )
    assert report.outcome == ("completed", [0, 1, "hi", "how", "bye", "made up"])
    assert report.crashes > 10


def test_check_determinism_draws_signals_and_payloads_of_hooks() -> None:
    hooks = {"chat:*": st.sampled_from(["a", "bye"]), "*": st.text(max_size=3)}
    report = check_determinism(
        desk, inputs=st.sampled_from(["x", "y"]), signals={"vote": st.integers(0, 3)}, hooks=hooks, max_examples=30
    )
    assert report.crashes > 0


def test_a_payload_that_the_run_refuses_is_the_authors_mistake() -> None:
    with pytest.raises(DefinitionError, match=r"signals=\{'vote': …\} gives what the run refuses: 'yes'"):
        crash_everywhere(desk, "room", signals={"vote": "yes"})
