"""Assertions about runs: they hold when they should, and show what differs when they don't."""

from __future__ import annotations

import re
from decimal import Decimal
from pathlib import Path

import pytest

from perdure import DefinitionError, UnknownRun, UnknownWorkflow
from perdure.replay.history_file import write_history
from perdure.strict import step, workflow
from perdure.testing import assert_history, assert_replays, assert_same_outcome


@step
async def charge_card(order: str) -> str:
    return f"charge-{order}"


async def note(text: object) -> object:
    return text


@workflow(id="fulfill")
async def fulfill(input: dict, step) -> dict:
    charge = await charge_card(input["order"])
    await step.sleep("grace", "1h")
    if input.get("note"):
        await step.run("note", note, charge)
    if input.get("fail"):
        raise ValueError(input["fail"])
    return {"charge": charge, "total": input.get("total", 1)}


@workflow(id="fulfill")
async def fulfill_later(input: dict, step) -> dict:
    await step.sleep("grace", "1h")
    return {"charge": await charge_card(input["order"])}


@pytest.fixture
def run(perdure_runtime, perdure_clock):
    """Run `fulfill` to its end, with these fields of the input."""
    with perdure_runtime(fulfill) as runtime:

        def to_its_end(**fields):
            handle = runtime.start(fulfill, {"order": "o1", **fields})
            perdure_clock.advance("1h")
            return handle

        yield to_its_end


def text_of(raised: pytest.ExceptionInfo[AssertionError]) -> str:
    return re.sub(r"\b[0-9A-Z]{26}\b", "RUN", str(raised.value))


def test_a_run_that_replays_passes_as_a_run_a_history_and_a_file(run, tmp_path: Path) -> None:
    handle = run()
    assert_replays(handle)
    assert_replays(handle.recorded(), fulfill)
    file = tmp_path / "x.history.jsonl"
    with file.open("w", encoding="utf-8", newline="\n") as opened:
        write_history(handle.recorded(), opened)
    assert_replays(file, fulfill)
    assert_replays(str(file), [fulfill])


async def test_a_run_of_an_asynchronous_test_needs_no_await(perdure_runtime, perdure_clock) -> None:
    async with perdure_runtime(fulfill) as runtime:
        handle = await runtime.start(fulfill, {"order": "o1"})
        assert_replays(handle)  # open runs too, up to where they stand
        await perdure_clock.advance("1h")
        assert_replays(handle)
        assert_history(handle, ["charge_card", "grace"])
        assert_same_outcome(handle, handle)


def test_a_divergence_is_the_text_of_the_failure(run) -> None:
    with pytest.raises(AssertionError) as raised:
        assert_replays(run(), fulfill_later)
    assert text_of(raised).startswith("the run does not replay.\nDivergence [REPLAY201]: entry 1 asked for sleep grace")
    assert raised.value.__suppress_context__


def test_what_can_not_be_replayed_raises_its_own_error(run, perdure_runtime) -> None:
    history = run().recorded()
    with pytest.raises(DefinitionError, match="does not say what to replay it on"):
        assert_replays(history)
    with pytest.raises(UnknownWorkflow):
        assert_replays(history, [])
    with perdure_runtime(fulfill) as runtime, pytest.raises(UnknownRun):
        assert_replays(runtime.handle("nobody"))


@pytest.mark.parametrize("wrong", [None, 5, object()])
def test_what_is_no_run_is_told(wrong) -> None:
    for ask in (assert_replays, lambda run: assert_history(run, []), lambda run: assert_same_outcome(run, run)):
        with pytest.raises(DefinitionError, match="is no run"):
            ask(wrong)


def test_one_name_is_no_list_of_names(run) -> None:
    with pytest.raises(DefinitionError, match=r"assert_history\(run, \['grace'\]\)"):
        assert_history(run(), "grace")


def test_a_history_with_other_names_is_shown_as_a_difference(run) -> None:
    with pytest.raises(AssertionError) as raised:
        assert_history(run(note=True), ["charge_card", "reserve", "grace"])
    lines = text_of(raised).splitlines()
    assert lines[0] == "run RUN asked for something else than expected (- expected, + recorded)."
    assert lines[1:4] == ["    charge_card", "  - reserve", "    grace"]
    assert re.fullmatch(r"  \+ note         test_assertions\.py:\d+", lines[4])
    assert len(lines) == 5


@pytest.mark.parametrize("names", [[], ["charge_card"], ["grace", "charge_card"], ["charge_card", "grace", "more"]])
def test_a_history_must_have_all_names_in_order(run, names) -> None:
    with pytest.raises(AssertionError):
        assert_history(run(), names)


def test_outcomes_differ_in_value_type_status_and_error(run) -> None:
    base = run()
    assert_same_outcome(base, run())
    differences = {
        (("total", 2),): "  output $.total: 1 → 2",
        (("total", Decimal(1)),): '  output $.total: 1 → "1"',
        (("order", "o2"),): '  output $.charge: "charge-o1" → "charge-o2"',
        (("fail", "no"),): '  status: completed ({"charge":"charge-o1","total":1}) → failed (ValueError: no)',
    }
    for fields, line in differences.items():
        with pytest.raises(AssertionError) as raised:
            assert_same_outcome(base, run(**dict(fields)))
        assert text_of(raised).splitlines() == ["runs RUN and RUN ended otherwise.", line]
    with pytest.raises(AssertionError, match="error: builtins:ValueError: a → builtins:ValueError: b"):
        assert_same_outcome(run(fail="a"), run(fail="b"))
    assert_same_outcome(run(fail="a"), run(fail="a"))
