"""Updates do what they do in MongoDB, all or nothing, and say what is wrong with them."""

from __future__ import annotations

import copy
from decimal import Decimal
from typing import Any

import document_oracle as oracle
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from perdure.errors import DefinitionError, WorkflowError
from perdure.services.updates import read_update


def updated(document: dict[str, Any], update: dict[str, Any], *, inserts: bool = False) -> dict[str, Any]:
    changed = copy.deepcopy(document)
    read_update(update).apply(changed, inserts=inserts)
    return changed


@pytest.mark.parametrize(
    ("document", "update", "after"),
    [
        ({}, {"$set": {"a": 1, "b.c.d": 2}}, {"a": 1, "b": {"c": {"d": 2}}}),
        ({"a": [1, {"b": 2}]}, {"$set": {"a.1.b": 3}}, {"a": [1, {"b": 3}]}),
        ({"a": [1]}, {"$set": {"a.3": 4}}, {"a": [1, None, None, 4]}),
        ({"a": 1, "b": {"c": 2}}, {"$unset": {"a": "", "b.c": "", "b.d.e": "", "f": ""}}, {"b": {}}),
        ({"a": [1, 2]}, {"$unset": {"a.0": ""}}, {"a": [None, 2]}),
        ({"a": 5}, {"$unset": {"a.b": ""}}, {"a": 5}),
        ({"n": 1}, {"$inc": {"n": 2, "m": -1}}, {"n": 3, "m": -1}),
        ({"n": Decimal("0.1")}, {"$inc": {"n": 0.2}}, {"n": Decimal("0.3")}),
        ({"n": 2**70}, {"$inc": {"n": 1}}, {"n": 2**70 + 1}),
        ({"n": 3}, {"$mul": {"n": 2, "m": 2.5}}, {"n": 6, "m": 0.0}),
        ({"n": 3}, {"$min": {"n": 2, "m": 7}, "$max": {"o": 1}}, {"n": 2, "m": 7, "o": 1}),
        ({"n": 3}, {"$max": {"n": 2}}, {"n": 3}),
        ({"a": [1]}, {"$push": {"a": [2, 3], "b": 1}}, {"a": [1, [2, 3]], "b": [1]}),
        ({"a": [1, 2]}, {"$push": {"a": {"$each": [3, 4], "$slice": -3}}}, {"a": [2, 3, 4]}),
        ({"a": [1]}, {"$push": {"a": {"$each": [2], "$slice": 1}}}, {"a": [1]}),
        ({"a": [1, "x"]}, {"$addToSet": {"a": {"$each": [1.0, True, "x", {"b": 1}]}}}, {"a": [1, "x", True, {"b": 1}]}),
        ({"a": [1, 2, 3, 1]}, {"$pull": {"a": 1}}, {"a": [2, 3]}),
        ({"a": [1, 5, 9]}, {"$pull": {"a": {"$gte": 5}}}, {"a": [1]}),
        ({"a": [{"s": 1, "t": 2}, {"s": 2}, 7]}, {"$pull": {"a": {"s": 1}}}, {"a": [{"s": 2}, 7]}),
        ({"a": [{"_id": "x"}, {"_id": "y"}]}, {"$pull": {"a": {"_id": "x"}}}, {"a": [{"_id": "y"}]}),
        ({"a": [1, 2, 3]}, {"$pop": {"a": 1, "b": 1}}, {"a": [1, 2]}),
        ({"a": [1, 2, 3]}, {"$pop": {"a": -1}}, {"a": [2, 3]}),
        ({"a": 1}, {"$setOnInsert": {"b": 1}}, {"a": 1}),
    ],
)
def test_operators_change_what_they_name(document: Any, update: Any, after: Any) -> None:
    changed = updated(document, update)
    assert changed == after
    assert repr(changed) == repr(after)  # 3 and 3.0 are equal, and not the same


def test_set_on_insert_counts_when_something_is_inserted() -> None:
    assert updated({"_id": "a"}, {"$setOnInsert": {"b": 1}, "$set": {"c": 2}}, inserts=True) == {
        "_id": "a", "c": 2, "b": 1,
    }  # fmt: skip


@settings(max_examples=400, deadline=None)
@given(oracle.documents, oracle.paths, oracle.values)
def test_what_was_set_is_found_there_and_nothing_else_has_changed(document: Any, path: str, value: Any) -> None:
    try:
        changed = updated(document, {"$set": {path: value}})
    except WorkflowError:
        return  # the path leads into a plain value
    found: Any = changed
    for part in path.split("."):
        found = found[int(part)] if isinstance(found, list) else found[part]
    assert found == value
    top = path.partition(".")[0]
    assert {name: each for name, each in changed.items() if name != top} == {
        name: each for name, each in document.items() if name != top
    }


@settings(max_examples=300, deadline=None)
@given(
    oracle.documents, oracle.paths, st.sampled_from(["$set", "$unset", "$max", "$addToSet", "$pull"]), oracle.scalars
)
def test_what_says_how_it_shall_be_changes_nothing_the_second_time(
    document: Any, path: str, operator: str, value: Any
) -> None:
    update = {operator: {path: value}}
    try:
        once = updated(document, update)
    except WorkflowError:
        return
    assert repr(updated(once, update)) == repr(once)


@pytest.mark.parametrize(
    ("update", "message", "fix"),
    [
        ({}, "an update is a mapping of operators", "$set"),
        ({"status": "paid"}, "'status' is none", '{"$set": {"status": …}}'),
        ({"$sett": {"a": 1}}, "$sett is no operator of an update", "did you mean $set?"),
        ({"$set": 1}, "$set wants a mapping of fields", ""),
        ({"$set": {"_id": "b"}}, "can't change an _id", "insert it under the new one"),
        ({"$set": {"a": 1}, "$inc": {"a": 1}}, "$inc and $set would both change the field 'a'", "two updates"),
        ({"$set": {"a.b": 1}, "$unset": {"a": ""}}, "would both change the field 'a'", ""),
        ({"$inc": {"a": "1"}}, "$inc can't have '1': it wants a number", ""),
        ({"$inc": {"a": True}}, "it wants a number", ""),
        ({"$pop": {"a": 2}}, "1 (the last item) or -1", ""),
        ({"$push": {"a": {"$each": 1}}}, "$each wants a list", ""),
        ({"$push": {"a": {"$each": [1], "$sort": 1}}}, "'$sort' is not known beside $each", ""),
        ({"$set": {"items.$.n": 1}}, "begins with $", "name the index"),
        ({"$pull": {"a": {"$gtt": 1, "$gt": 2}}}, "'$gtt' is no operator", "did you mean $gt?"),
    ],
)
def test_an_update_that_can_not_be_read_is_refused_with_the_fix(update: Any, message: str, fix: str) -> None:
    with pytest.raises(DefinitionError) as caught:
        read_update(update)
    assert message in caught.value.message
    assert fix in caught.value.fix


@pytest.mark.parametrize(
    ("document", "update", "message"),
    [
        ({"a": "x"}, {"$inc": {"a": 1}}, "$inc does not fit: str 'x' can't be added to"),
        ({"a": True}, {"$inc": {"a": 1}}, "bool True can't be added to"),
        ({"a": 5}, {"$push": {"a": 1}}, "there is int 5, and no list"),
        ({"a": (1,)}, {"$push": {"a": 1}}, "there is tuple (1,), and no list"),
        ({"a": 5}, {"$set": {"a.b": 1}}, "there is int 5 where 'b' was to be a field"),
        ({"a": [1]}, {"$set": {"a.b": 1}}, "there is a list where 'b' was to be a field"),
        ({"a": [1]}, {"$set": {"a.100000000": 1}}, "far behind its end"),
    ],
)
def test_an_update_that_does_not_fit_names_field_and_document(document: Any, update: Any, message: str) -> None:
    with pytest.raises(WorkflowError) as caught:
        updated({"_id": "o1", **document}, update)
    assert message in caught.value.message
    assert "document 'o1'" in caught.value.where
