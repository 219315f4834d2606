"""Which waits an event wakes is equality of JSON values, however it is looked up."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from perdure.storage.matching import canonical
from perdure.storage.waits import KeySets, match_key

numbers = (
    st.integers(-3, 3) | st.floats(-3, 3).map(lambda number: round(number * 2) / 2) | st.just(1e300) | st.just(2**63)
)
values = st.recursive(
    st.none() | st.booleans() | numbers | st.sampled_from(["", "1", "true", "ä"]),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.sampled_from("ab"), inner, max_size=2),
    max_leaves=4,
)


def equal(left: object, right: object) -> bool:
    if isinstance(left, dict) and isinstance(right, dict):
        return left.keys() == right.keys() and all(equal(left[key], right[key]) for key in left)
    if isinstance(left, list) and isinstance(right, list):
        return len(left) == len(right) and all(map(equal, left, right))
    return isinstance(left, bool) == isinstance(right, bool) and left == right


@given(values, values)
def test_equal_values_and_no_others_have_equal_canonical_text(left: object, right: object) -> None:
    assert (canonical(left) == canonical(right)) == equal(left, right)


def test_numbers_are_equal_by_value_and_truth_is_no_number() -> None:
    assert canonical(1.0) == canonical(1) == "1"
    assert canonical(-0.0) == canonical(0)
    assert canonical(True) != canonical(1)
    assert canonical(2**53 + 1) != canonical(float(2**53))


@given(
    st.dictionaries(st.sampled_from("abc"), values, max_size=3),
    st.dictionaries(st.sampled_from("abc"), values, max_size=3),
)
def test_a_wait_is_a_candidate_exactly_when_every_key_is_there_and_equal(
    match: dict[str, object], payload: dict[str, object]
) -> None:
    key_sets = KeySets()
    key_sets.add("paid", canonical(match))
    satisfied = all(key in payload and equal(payload[key], value) for key, value in match.items())
    assert (match_key("paid", canonical(match)) in key_sets.candidates("paid", payload)) == satisfied
    assert key_sets.candidates("shipped", payload) == {}
