"""Filters mean what they mean in MongoDB, for every value that a document may hold, and say what is wrong with them."""

from __future__ import annotations

import datetime
import enum
import re
import uuid
from decimal import Decimal
from typing import Any

import document_oracle as oracle
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from perdure.errors import DefinitionError, NotSerializable
from perdure.services.document import matching
from perdure.services.filters import read_filter
from perdure.storage.encoding import Encoded, encode

UTC = datetime.UTC
NOON = datetime.datetime(2026, 5, 1, 12, tzinfo=UTC)


class Colour(enum.Enum):
    RED = "red"
    BLUE = "blue"


class Size(enum.StrEnum):
    SMALL = "small"


@settings(max_examples=400, deadline=None)
@given(oracle.documents, oracle.filters)
def test_a_filter_matches_what_the_plainest_reading_of_it_does(document: Any, wanted: Any) -> None:
    assert read_filter(wanted).matches(document) is oracle.matches(document, wanted)


@pytest.mark.soak
@settings(max_examples=20_000, deadline=None)
@given(oracle.documents, oracle.filters)
def test_many_filters_match_what_the_plainest_reading_of_them_does(document: Any, wanted: Any) -> None:
    assert read_filter(wanted).matches(document) is oracle.matches(document, wanted)


@settings(max_examples=250, deadline=None)
@given(st.lists(oracle.documents, max_size=4), oracle.filters)
def test_what_is_looked_for_first_loses_no_document(documents: list[Any], wanted: Any) -> None:
    filter = read_filter(wanted)
    stored = [(str(index), encode(document)) for index, document in enumerate(documents)]
    assert [document for _, document in matching(stored, filter)] == [
        document for document in documents if oracle.matches(document, wanted)
    ]


@settings(max_examples=100, deadline=None)
@given(st.text(), st.text())
def test_any_text_is_found_by_itself(text: str, other: str) -> None:
    stored = [("1", encode({"name": text}))]
    assert len(matching(stored, read_filter({"name": text}))) == 1
    assert len(matching(stored, read_filter({"name": other}))) == (text == other)


def test_a_text_that_is_not_written_as_itself_is_found_all_the_same() -> None:
    stored = [("1", encode({"name": "\ud800"})), ("2", encode({"name": Size.SMALL}))]
    assert [key for key, _ in matching(stored, read_filter({"name": "\ud800"}))] == ["1"]
    assert [key for key, _ in matching(stored, read_filter({"name": "small"}))] == ["2"]


def test_documents_that_lack_a_wanted_text_are_not_even_read() -> None:
    unreadable = Encoded('{"status":"open"', None)
    assert matching([("1", unreadable)], read_filter({"status": "paid"})) == []
    with pytest.raises(Exception, match="ValueUnreadable"):
        matching([("1", unreadable)], read_filter({"status": "open"}))


@pytest.mark.parametrize(
    ("value", "wanted", "expected"),
    [
        (1, True, False),
        (True, 1, False),
        (Decimal("1.50"), 1.5, True),
        (2**70, Decimal(2**70), True),
        (float("nan"), float("nan"), True),
        (Decimal("NaN"), {"$gt": 0}, False),
        ("10", {"$gt": 9}, False),
        (NOON, {"$lt": NOON + datetime.timedelta(hours=1)}, True),
        (NOON, NOON.astimezone(datetime.timezone(datetime.timedelta(hours=2))), True),
        (NOON, NOON.replace(tzinfo=None), False),
        (NOON.replace(tzinfo=None), {"$gt": NOON}, False),
        (NOON, {"$gt": NOON.date()}, False),
        (NOON.date(), {"$lte": NOON.date()}, True),
        (datetime.timedelta(1), {"$gt": datetime.timedelta(0)}, True),
        (b"ab", {"$lt": b"b"}, True),
        (uuid.UUID(int=5), uuid.UUID(int=5), True),
        (Colour.RED, Colour.RED, True),
        (Colour.RED, "red", False),
        ((1, 2), 2, True),
        ((1, 2), [1, 2], True),
        ({1, 2}, 2, True),
        ({"a": 1, "b": 2}, {"b": 2, "a": 1}, True),
        ("shop", re.compile("^s"), True),
        ("Shop", {"$regex": "^s", "$options": "i"}, True),
        ("shop", {"$not": {"$regex": "^s"}}, False),
        ("shop", {"$in": ["x", re.compile("op$")]}, True),
        ([{"s": "a", "n": 1}, {"s": "b", "n": 9}], {"$elemMatch": {"s": "a", "n": {"$gt": 5}}}, False),
    ],
)
def test_values_compare_as_the_page_says(value: object, wanted: object, expected: bool) -> None:
    assert read_filter({"field": wanted}).matches({"field": value}) is expected


@pytest.mark.parametrize(
    ("wanted", "message", "fix"),
    [
        (5, "a filter is a mapping, not 5", '{"status": "open"}'),
        ({"cents": {"$gtt": 4}}, "'$gtt' is no operator of a filter", "did you mean $gt?"),
        ({"$gt": 4}, "no operator that a filter begins with", 'under a field: {"cents": {"$gt": …}}'),
        ({"$where": "1"}, "$where is no operator", "use one of $and, $or, $nor"),
        ({"cents": {"$gt": None}}, "$gt can't have None: it has no order", "compare with a number"),
        ({"cents": {"$gt": [1]}}, "it has no order", ""),
        ({"cents": {"$in": 3}}, "$in can't have 3: it wants a list", ""),
        ({"cents": {"$exists": 1}}, "it wants True or False", ""),
        ({"cents": {"$size": -1}}, "whole number", ""),
        ({"cents": {"$not": 4}}, "it wants operators", "$ne"),
        ({"cents": {"$gt": 1, "x": 1}}, "'x' is no operator", ""),
        ({"cents": {"$regex": "("}}, "unterminated subpattern", "Python's re"),
        ({"cents": {"$options": "i"}}, "it belongs to a $regex", ""),
        ({"cents": {"$regex": "a", "$options": "q"}}, "$options 'q'", "imsx"),
        ({"$or": []}, "$or wants a list of filters", ""),
        ({"_id": 5}, "no document has the _id 5", "'5'"),
        ({"_id": {"$in": ["a", 5]}}, "no document has the _id 5", ""),
        ({"a..b": 1}, "an empty part", ""),
        ({5: 1}, "5 can't be the name of a field", ""),
    ],
)
def test_a_filter_that_can_not_be_read_is_refused_with_the_fix(wanted: Any, message: str, fix: str) -> None:
    with pytest.raises(DefinitionError) as caught:
        read_filter(wanted)
    assert message in caught.value.message
    assert fix in caught.value.fix


def test_a_value_that_no_document_can_hold_is_refused() -> None:
    with pytest.raises(NotSerializable):
        read_filter({"callback": print})


def test_ids_are_known_only_where_they_bind() -> None:
    assert read_filter({"_id": "a"}).ids == {"a"}
    assert read_filter({"$and": [{"_id": {"$in": ["a", "b"]}}, {"_id": {"$in": ["b", "c"]}}]}).ids == {"b"}
    assert read_filter({"$or": [{"_id": "a"}, {"n": 1}]}).ids is None
    assert read_filter({"_id": {"$ne": "a"}}).ids is None
