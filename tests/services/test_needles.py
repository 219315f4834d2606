"""What a filter has a back end look for in the texts of documents never loses one that matches, whatever it holds."""

from __future__ import annotations

import collections
import datetime
import enum
import uuid
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from value_samples import SAMPLES

from perdure import MemoryLedger, Runtime
from perdure.services.database import BlockingDatabase
from perdure.services.filters import read_filter
from perdure.services.paths import spread
from perdure.storage.encoding import encode
from perdure.storage.holding import are_held


class Rank(enum.IntEnum):
    LOW = 1


class Size(enum.StrEnum):
    SMALL = "x"


class Pair(NamedTuple):
    a: Any
    b: Any = 0


scalars = st.one_of(
    st.sampled_from([*SAMPLES, 1, 1.0, Decimal(1), Decimal("1E+2"), 100, -0.0, 0, 1e16, 10**16, Rank.LOW, Size.SMALL,
                     "x", '"', "\\", "a.b", 2.5, Decimal("2.50"), datetime.date(2026, 2, 28), uuid.UUID(int=7)]),
    st.integers(), st.floats(allow_nan=False), st.text(max_size=4), st.dates(), st.booleans(),
)  # fmt: skip
names = st.sampled_from(["a", "b", "0", "é", '"', "\ud800", "٣"])


def nested(inner: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    return st.one_of(
        st.lists(inner, max_size=2),
        st.lists(inner, max_size=2).map(tuple),
        st.dictionaries(names, inner, max_size=2),
        st.dictionaries(names, inner, max_size=2).map(collections.OrderedDict),
        st.dictionaries(st.one_of(names, st.integers(0, 2)), inner, max_size=2),
        st.builds(Pair, inner, inner),
        st.sets(st.one_of(st.integers(0, 2), st.sampled_from(["x", "y"])), max_size=2),
    )


values = st.recursive(scalars, nested, max_leaves=5)
documents = st.dictionaries(names, values, min_size=1, max_size=3)
paths = st.lists(names, min_size=1, max_size=3).map(".".join)


@st.composite
def found_by(draw: st.DrawFn) -> tuple[dict[str, Any], dict[str, Any]]:
    """A document, and a filter that asks for something that it may well have."""
    document = draw(documents)
    held = [item for value in document.values() for item in spread(value)]
    wanted = draw(st.one_of(st.sampled_from(held), scalars))
    operator = draw(st.sampled_from(["$eq", "$in", "$all", "$exists"]))
    operand = {"$eq": wanted, "$in": [wanted, "x"], "$all": [wanted], "$exists": True}[operator]
    return document, {draw(st.one_of(st.sampled_from(sorted(document)), paths)): {operator: operand}}


@settings(max_examples=600, deadline=None)
@given(found_by())
@example(({"a": Size.SMALL}, {"a": "x"}))
@example(({"a": Decimal("1.00")}, {"a": 1}))
@example(({"a": Pair("x")}, {"a": "x"}))
@example(({"a": {1: 0, "b": "x"}}, {"a.b": "x"}))
@example(({"a": [{"b": ["x"]}]}, {"a.b": "x"}))
@example(({"a": [7, 8]}, {"a.1": 8}))
@example(({"a": -0.0}, {"a": 0}))
@example(({"a": {(1,): 0, "b": "x"}}, {"a.b": "x"}))
@example(({"a": 1e16}, {"a": 10**16}))
def test_a_document_that_matches_has_what_is_looked_for(pair: tuple[dict[str, Any], dict[str, Any]]) -> None:
    document, wanted = pair
    read = read_filter(wanted)
    if read.matches(document):
        assert are_held(read.needles, *encode(document)), encode(document)


@pytest.mark.parametrize(
    ("wanted", "document"),
    [
        ({"status": "open"}, {"status": "paid", "note": "open"}),
        ({"status": "open"}, {"status": "paid", "at": datetime.datetime(2026, 2, 28)}),
        ({"cents": 500}, {"cents": 100, "vat": 500}),
        ({"active": True}, {"active": False, "old": True}),
        ({"a.status": {"$in": ["open", "new"]}}, {"a": {"status": "paid"}}),
        ({"tags": {"$all": ["x", "y"]}}, {"tags": "x"}),
        ({"day": datetime.date(2026, 5, 1)}, {"day": datetime.date(2026, 5, 2)}),
        ({"deleted": {"$exists": True}}, {"status": "open"}),
        ({"$and": [{"a": 1}, {"b": "x"}]}, {"a": 1, "b": "y"}),
    ],
)
def test_a_document_without_it_is_not_read(wanted: dict[str, Any], document: dict[str, Any]) -> None:
    assert not are_held(read_filter(wanted).needles, *encode(document))


@pytest.mark.parametrize(
    "wanted",
    [
        {}, {"a": None}, {"a": {"$ne": 1}}, {"a": {"$in": ["x", None]}}, {"a": {"$nin": ["x"]}}, {"a": {"$gt": 1}},
        {"$or": [{"a": 1}, {"b": 2}]}, {"a": {"$exists": False}}, {"a": {"$not": {"$eq": "x"}}}, {"a": "\ud800"},
        {"a": {"$in": [f"{number}" for number in range(1000)]}}, {"a": 10**400}, {"a": float("nan")},
    ],
)  # fmt: skip
def test_what_can_not_be_said_for_sure_gives_nothing_to_look_for(wanted: dict[str, Any]) -> None:
    assert read_filter(wanted).needles == ()


@pytest.fixture(params=["memory", "file"])
def database(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[BlockingDatabase]:
    ledger = MemoryLedger() if request.param == "memory" else tmp_path / "ledger.duckdb"
    with Runtime(ledger) as runtime:
        yield runtime.database


def test_every_sample_is_found_by_itself_wherever_it_lies(database: BlockingDatabase) -> None:
    many = database["many"]
    many.insert_many([{"_id": f"{number:03}", "v": each} for number, each in enumerate(SAMPLES)])
    for each in SAMPLES:
        found = [document["_id"] for document in many.find({"v": each})]
        everything = many.find({"$or": [{"v": each}]})  # nothing is looked for first
        assert found == [document["_id"] for document in everything]
        assert found


def test_own_writes_of_a_step_are_found_beside_what_is_kept(database: BlockingDatabase) -> None:
    orders = database["orders"]
    orders.insert_many([{"_id": f"{number:04}", "status": "open" if number % 50 else "paid"} for number in range(500)])
    orders.update_one({"_id": "0001"}, {"$set": {"status": "paid"}})
    orders.delete_one({"_id": "0050"})
    found = [document["_id"] for document in orders.find({"status": "paid"})]
    assert found == ["0000", "0001", *(f"{number:04}" for number in range(100, 500, 50))]
    assert orders.find_one({"status": "paid"}, sort=("_id", -1)) == {"_id": "0450", "status": "paid"}
    assert orders.count({"status": "paid"}) == 10
