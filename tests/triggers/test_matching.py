"""Filters match what they say, and nothing else."""

from __future__ import annotations

import pytest

from perdure import Event
from perdure.triggers.changes import DbChanges, KvChanges


def test_an_event_matches_by_type_and_by_what_else_was_named() -> None:
    assert Event("a").matches("a", {}, "r", "n")
    assert not Event("a").matches("b", {})
    assert not Event("a").matches("a.b", {})
    assert Event("a", resource="r").matches("a", {}, "r")
    assert not Event("a", resource="r").matches("a", {}, "s")
    assert not Event("a", resource="r").matches("a", {})
    assert Event("a", namespace="n").matches("a", {}, None, "n")
    assert not Event("a", namespace="n").matches("a", {}, "n", None)


def test_an_event_matches_fields_as_a_wait_does() -> None:
    wanted = Event("a", match={"n": 1, "deep": {"x": [True]}})
    assert wanted.matches("a", {"n": 1.0, "deep": {"x": [True]}, "more": 0})
    assert not wanted.matches("a", {"n": True, "deep": {"x": [True]}})
    assert not wanted.matches("a", {"n": 1})
    assert not wanted.matches("a", {})


@pytest.mark.parametrize(
    ("pattern", "key", "matches"),
    [
        ("*", "", True), ("*", "any/thing\n", True), ("inv:*", "inv:", True), ("inv:*", "inv:7", True),
        ("inv:*", "Inv:7", False), ("inv:*", "xinv:7", False), ("inv:?", "inv:77", False), ("inv:[0-9]", "inv:7", True),
        ("inv:[!0-9]", "inv:7", False), ("a.c", "abc", False), ("[[]x", "[x", True), ("*:done", "a:b:done", True),
    ],
)  # fmt: skip
def test_a_glob_matches_the_whole_key(pattern: str, key: str, matches: bool) -> None:
    assert KvChanges(key_pattern=pattern).matches("default", key, "put") is matches


def test_changes_match_by_place_and_op() -> None:
    assert KvChanges().matches("any", "k", "delete")
    assert not KvChanges(namespace="a").matches("b", "k", "put")
    assert not KvChanges(op="put").matches("a", "k", "delete")
    assert DbChanges("orders", "insert").matches("orders", "insert")
    assert not DbChanges("orders", "insert").matches("orders", "update")
    assert not DbChanges("orders").matches("invoices", "insert")
    assert DbChanges().matches("anything", "delete")
