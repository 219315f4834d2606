"""What can't be used is refused where it is written: which part, why, and what to write instead."""

from __future__ import annotations

import pickle
from typing import Any

import pytest

from perdure import Event, Schedule, on_db_change, on_event, on_kv_change
from perdure.declare.subscriptions import found_schedule
from perdure.errors import DefinitionError
from perdure.strict import workflow
from perdure.triggers.changes import DbChanges, KvChanges

BAD_FIELDS = [
    ("60 * * * *", "minute is '60'", "60 is not from 0 to 59"),
    ("0 25 * * *", "hour is '25'", "25 is not from 0 to 23"),
    ("0 0 0 * *", "day of the month is '0'", "0 is not from 1 to 31"),
    ("0 0 * 13 *", "month is '13'", "13 is not from 1 to 12"),
    ("0 0 * Jann *", "month is 'Jann'", "did you mean jan?"),
    ("0 0 * * 8", "day of the week is '8'", "8 is not from 0 to 7"),
    ("0 0 * * mont", "day of the week is 'mont'", "did you mean mon?"),
    ("61 0 0 * * *", "second is '61'", "61 is not from 0 to 59"),
    ("*/0 * * * *", "minute is '*/0'", "a step of 0"),
    ("1-70 * * * *", "minute is '1-70'", "70 is not from 0 to 59"),
    ("--1 * * * *", "minute is '--1'", "can't be read"),
    ("*/90 * * * *", "minute is '*/90'", "leaves 0 alone of 0 to 59"),
    ("0 */24 * * *", "hour is '*/24'", "write 0"),
    ("0 9-17/10 * * *", "hour is '9-17/10'", "write 9"),
    ("0 3 * * * 2030", "day of the week is '2030'", "of six fields the first is the second, and none is for years"),
    ("5-5 * * * *", "minute is '5-5'", "write 5, or * for all"),
    ("H * * * *", "minute is 'H'", "nobody can tell"),
    ("R(0-5) * * * *", "minute is 'R(0-5)'", "nobody can tell"),
    ("0 0 1,15W * *", "day of the month is '1,15W'", "single day"),
    ("0 0 * * 1,fri#2", "day of the week is '1,fri#2'", "the whole field"),
    ("0 0 * * fri#6", "day of the week is 'fri#6'", "1 to 5"),
    ("0 0 * * L", "day of the week is 'L'", "does not say which"),
]


@pytest.mark.parametrize(("cron", "field", "why"), BAD_FIELDS)
def test_a_bad_field_is_named_with_its_text_why_and_what_is_allowed(cron: str, field: str, why: str) -> None:
    with pytest.raises(DefinitionError) as refused:
        Schedule(cron)
    assert field in refused.value.message
    assert why in refused.value.why
    assert "give a number from" in refused.value.fix


@pytest.mark.parametrize(
    ("cron", "says"),
    [
        ("", "no fields"),
        ("* * * *", "4 fields"),
        ("1 2 3 4 5 6 7", "7 fields"),
        ("@dayly", "did you mean @daily?"),
        ("@reboot", "nothing that a schedule knows"),
        ("0 0 30 2 *", "never comes"),
        ("0 0 31 4,6,9,11 *", "never comes"),
        (None, "is no text"),
        (5, "is no text"),
    ],
)
def test_an_expression_that_can_never_tick_is_refused(cron: Any, says: str) -> None:
    with pytest.raises(DefinitionError, match=says):
        Schedule(cron)


@pytest.mark.parametrize(
    ("zone", "says"),
    [
        ("Berlin", "did you mean Europe/Berlin?"),
        ("europe/berlin", "did you mean Europe/Berlin?"),
        ("Europe/Berln", "did you mean Europe/Berlin?"),
        ("New York", "did you mean America/New_York?"),
        ("UTC+2", "name a place, whose clocks change"),
        ("+02:00", "Etc/GMT-2"),
        ("PST", "America/Los_Angeles"),
        ("localtime", "another zone on every machine"),
        ("../../etc/passwd", "no such time zone"),
        ("", "no such time zone"),
        ("Europe", "no such time zone"),
        (None, "no such time zone"),
        (1, "no such time zone"),
    ],
)
def test_an_unknown_zone_is_refused_with_those_that_are_near(zone: Any, says: str) -> None:
    with pytest.raises(DefinitionError, match=says.replace("?", r"\?")):
        Schedule("0 3 * * *", zone)


@pytest.mark.parametrize("bad", ["a/b", "a:b", "", "x" * 101, 5, "new\nline"])
def test_a_name_that_can_t_be_one_is_refused(bad: Any) -> None:
    with pytest.raises(DefinitionError, match="can't name a schedule"):
        Schedule("0 3 * * *", name=bad)


def test_another_word_for_catching_up_is_refused_with_the_nearest() -> None:
    with pytest.raises(DefinitionError, match="did you mean last"):
        Schedule("0 3 * * *", catch_up="lst")  # type: ignore[arg-type]
    with pytest.raises(DefinitionError, match="did you mean catch_up"):
        Schedule("0 3 * * *", catchup="last")  # type: ignore[call-arg]


@pytest.mark.parametrize(
    "make",
    [
        lambda: Event(""),
        lambda: Event(5),  # type: ignore[arg-type]
        lambda: Event(":hook"),
        lambda: Event("order.*"),
        lambda: Event("a", resource=""),
        lambda: Event("a", namespace=7),  # type: ignore[arg-type]
        lambda: Event("a", match={}),
        lambda: Event("a", match={1: 2}),  # type: ignore[dict-item]
        lambda: Event("a", match={"x": object()}),
        lambda: KvChanges(namespace=""),
        lambda: KvChanges(key_pattern=""),
        lambda: KvChanges(key_pattern="a[z-a]"),
        lambda: KvChanges(op="insert"),  # type: ignore[arg-type]
        lambda: DbChanges(collection=""),
        lambda: DbChanges(op="put"),  # type: ignore[arg-type]
    ],
)
def test_a_filter_that_could_never_match_is_refused(make: Any) -> None:
    with pytest.raises(DefinitionError, match=r"can't be used|matches no|is no mapping"):
        make()


def test_a_misspelt_op_is_refused_with_the_nearest() -> None:
    with pytest.raises(DefinitionError, match="did you mean delete"):
        on_kv_change(op="delet")  # type: ignore[arg-type]
    with pytest.raises(DefinitionError, match="did you mean insert"):
        on_db_change(op="inserted")  # type: ignore[arg-type]
    with pytest.raises(DefinitionError, match="did you mean key_pattern"):
        on_kv_change(key_patern="a*")  # type: ignore[call-arg]


def test_what_is_no_trigger_is_refused() -> None:
    with pytest.raises(DefinitionError, match="Schedule"):
        workflow(trigger="0 3 * * *")  # type: ignore[arg-type]
    with pytest.raises(DefinitionError, match="twice"):
        workflow(trigger=[Event("a"), Event("a")])
    with pytest.raises(DefinitionError, match="two schedules of one workflow are named 'schedule'"):
        workflow(trigger=[Schedule("0 3 * * *"), Schedule("0 4 * * *")])


async def _generator(payload: object) -> Any:
    yield payload


@pytest.mark.parametrize(
    "function",
    [lambda: None, lambda a, b, c: None, lambda *, payload: None, lambda a, *, b: None, print, _generator],
)
def test_a_function_that_nothing_can_call_is_refused(function: Any) -> None:
    with pytest.raises(DefinitionError, match=r"can call|decorates a function"):
        on_event("a")(function)
    with pytest.raises(DefinitionError, match=r"can call|decorates a function"):
        on_kv_change()(function)


def test_a_function_that_wants_more_than_a_change_is_refused() -> None:
    with pytest.raises(DefinitionError, match=r"take \(change\)"):
        on_kv_change()(lambda change, event: None)


def test_triggers_are_values() -> None:
    for each in (Schedule("0 3 * * *", input={"a": 1}), Event("a", match={"b": [1]}), KvChanges(op="put"), DbChanges()):
        assert pickle.loads(pickle.dumps(each)) == each
        assert hash(each) == hash(pickle.loads(pickle.dumps(each)))


def test_who_names_a_schedule_where_none_is_declared_is_told_how_to_declare_one() -> None:
    with pytest.raises(DefinitionError, match="there is no schedule 'nightly'") as refused:
        found_schedule({}, "nightly")
    assert "trigger=Schedule(" in (refused.value.fix or "")
