"""Ordered sets are sets in every respect, and their order is that of insertion."""

from __future__ import annotations

import copy
import datetime
import pickle
import uuid

import pytest
from hypothesis import given
from hypothesis import strategies as st

from perdure.errors import SandboxViolation
from perdure.sandbox.sets import OrderedFrozenSet, OrderedSet, in_order

members = st.lists(st.integers(0, 12))
KINDS = [(OrderedSet, set), (OrderedFrozenSet, frozenset)]
OPERATORS = ["__or__", "__and__", "__sub__", "__xor__", "__ror__", "__rand__", "__rsub__", "__rxor__"]
METHODS = ["union", "intersection", "difference", "symmetric_difference", "issubset", "issuperset", "isdisjoint"]


@pytest.mark.parametrize(("ordered", "plain"), KINDS)
@given(ours=members, theirs=members)
def test_operators_and_methods_give_what_plain_sets_give(ordered, plain, ours, theirs):
    for other in (ordered(theirs), set(theirs), frozenset(theirs)):
        for name in OPERATORS:
            result = getattr(ordered(ours), name)(other)
            assert result == getattr(plain(ours), name)(other)
            assert type(result) is ordered
        for name in METHODS:
            assert getattr(ordered(ours), name)(other) == getattr(plain(ours), name)(other)
        assert (ordered(ours) == other) == (plain(ours) == other)
        assert (ordered(ours) <= other) == (plain(ours) <= other)
        assert (other | ordered(ours)) == (set(other) | set(ours))


@given(ours=members, theirs=members)
def test_changes_in_place_keep_members_and_order_together(ours, theirs):
    for name in ("__ior__", "__iand__", "__isub__", "__ixor__"):
        ordered, plain = OrderedSet(ours), set(ours)
        assert getattr(ordered, name)(OrderedSet(theirs)) is ordered
        getattr(plain, name)(set(theirs))
        assert ordered == plain
        assert sorted(ordered) == sorted(plain)
        assert len(list(ordered)) == len(ordered)


@given(members)
def test_iteration_is_in_order_of_insertion(values):
    expected = list(dict.fromkeys(values))
    assert list(OrderedSet(values)) == list(OrderedFrozenSet(values)) == expected
    assert list(reversed(OrderedSet(values))) == expected[::-1]


@given(members, st.integers(0, 12))
def test_adding_discarding_and_removing_are_those_of_sets(values, value):
    ordered, plain = OrderedSet(values), set(values)
    ordered.add(value)
    plain.add(value)
    assert ordered == plain
    assert list(ordered)[-1] == (value if value not in values else list(dict.fromkeys(values))[-1])
    ordered.discard(value)
    plain.discard(value)
    assert ordered == plain
    assert value not in list(ordered)
    with pytest.raises(KeyError):
        ordered.remove(value)


def test_pop_takes_the_newest_and_refuses_when_empty():
    ordered = OrderedSet("abc")
    assert [ordered.pop(), ordered.pop(), ordered.pop()] == ["c", "b", "a"]
    with pytest.raises(KeyError, match="empty"):
        ordered.pop()


def test_an_ordered_set_is_a_set_to_isinstance_match_and_repr():
    assert isinstance(OrderedSet(), set)
    assert isinstance({1}, OrderedSet)
    assert not isinstance(frozenset(), OrderedSet)
    assert issubclass(set, OrderedSet)
    match OrderedSet([1]):
        case set(found):
            assert found == {1}
    assert repr(OrderedSet()) == "set()"
    assert repr(OrderedSet("ba")) == "{'b', 'a'}"
    assert repr(OrderedFrozenSet([2])) == "frozenset({2})"


def test_a_frozen_one_hashes_like_a_frozenset_and_a_set_does_not_hash():
    assert hash(OrderedFrozenSet("abc")) == hash(frozenset("cba"))
    assert {frozenset("ab"): 1}[OrderedFrozenSet("ba")] == 1
    with pytest.raises(TypeError):
        hash(OrderedSet())


@pytest.mark.parametrize("kind", [OrderedSet, OrderedFrozenSet])
def test_copies_and_pickles_keep_the_order(kind):
    value = kind("hello")
    for copied in (pickle.loads(pickle.dumps(value)), copy.copy(value), copy.deepcopy(value), value.copy()):
        assert list(copied) == list(value)
        assert type(copied) is kind


@given(st.sets(st.one_of(st.integers(), st.text(), st.binary(), st.none(), st.booleans(), st.dates(), st.uuids(),
                         st.tuples(st.text(), st.integers()))))  # fmt: skip
def test_a_plain_sets_order_is_decided_by_its_members_alone(values):
    backwards: set[object] = set()
    for value in sorted(values, key=repr, reverse=True):
        backwards.add(value)
    assert list(in_order(values)) == list(in_order(backwards))
    assert set(in_order(values)) == values


def test_members_without_an_order_are_refused_with_a_fix():
    with pytest.raises(SandboxViolation, match="no order") as caught:
        in_order({object(), object()})
    assert "sorted" in caught.value.fix
    assert [each.int for each in in_order({uuid.UUID(int=2), uuid.UUID(int=1)})] == [1, 2]
    assert [each.year for each in in_order({datetime.date(2024, 1, 2), datetime.date(2023, 1, 2)})] == [2023, 2024]
