"""Small spaces are listed from memory, and what is listed is what a query would give."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from perdure.storage import space_cache
from perdure.storage.cells import Cell
from perdure.storage.duckdb_ledger import DuckDBLedger
from perdure.storage.space_cache import SpaceCache


@pytest.fixture
def kept(tmp_path: Path) -> Iterator[DuckDBLedger]:
    """A ledger in a file that absorbs only when it is asked."""
    made = DuckDBLedger(tmp_path / "a.duckdb", gather_s=3600)
    yield made
    made.close()


def value(key: str, body: object, *, space: str = "kv/a", due: int | None = None) -> Cell:
    return Cell(space, key, 1000, 1000, json.dumps(body), due=due)


def gone(key: str) -> Cell:
    return Cell("kv/a", key, 2000, 2000)


def absorb(ledger: DuckDBLedger) -> None:
    ledger.sql("SELECT 1")


def bodies(ledger: DuckDBLedger) -> dict[str, str | None]:
    return {cell.key: cell.body for cell in ledger.cells("kv/a")}


def test_a_small_space_is_asked_for_once(kept: DuckDBLedger, monkeypatch: pytest.MonkeyPatch) -> None:
    kept.append([], (), [value(key, 1, due=number) for number, key in enumerate("abcd")])
    absorb(kept)
    assert len(kept.cells("kv/a")) == 4

    def refuse(*_: object) -> None:
        raise AssertionError("the columns were asked")

    monkeypatch.setattr(kept._columns.cells, "_all", refuse)
    kept.append([], (), [value("b", 2, due=9), gone("c")])
    for _ in range(2):  # in the overlay, then in the columns
        assert [cell.key for cell in kept.cells("kv/a", due_until=5, limit=1)] == ["a"]
        assert [cell.key for cell in kept.cells("kv/a", after="a")] == ["b", "d"]
        assert kept.cell("kv/a", "b") == value("b", 2, due=9)
        assert kept.cell("kv/a", "c") is None
        kept._absorb()


def test_what_a_query_found_of_a_space_is_not_kept_when_an_absorption_has_ended_meanwhile(
    kept: DuckDBLedger, monkeypatch: pytest.MonkeyPatch
) -> None:
    kept.append([], (), [value("k", 1)])
    absorb(kept)
    kept.append([], (), [value("k", 2)])
    assert kept._recent.begin_absorption() is not None  # it is at work while the space is asked for
    look = kept._columns.cells.whole

    def slow(space: str, cells_max: int, bytes_max: int) -> list[Cell] | None:
        found = look(space, cells_max, bytes_max)
        kept._absorb()
        return found

    with monkeypatch.context() as patched:
        patched.setattr(kept._columns.cells, "whole", slow)
        kept.cells("kv/a")
    assert bodies(kept) == {"k": "2"}


def test_what_an_absorption_at_work_brings_is_told_to_a_space_that_became_known_meanwhile(kept: DuckDBLedger) -> None:
    kept.append([], (), [value("k", 1), value("j", 1)])
    absorb(kept)
    kept.append([], (), [value("k", 2), gone("j")])
    assert kept._recent.begin_absorption() is not None
    assert bodies(kept) == {"k": "2"}
    kept._absorb()
    assert bodies(kept) == {"k": "2"}
    assert kept._recent._hot_spaces.look_up("kv/a") == {"k": value("k", 2)}


def test_a_space_that_grows_is_listed_by_query_and_one_that_was_emptied_from_memory_again(
    kept: DuckDBLedger, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(space_cache, "SPACE_CELLS_MAX", 2)
    monkeypatch.setattr("perdure.storage.cell_answers.SPACE_CELLS_MAX", 2)
    kept.append([], (), [value("a", 1), value("b", 1)])
    absorb(kept)
    assert bodies(kept) == {"a": "1", "b": "1"}
    kept.append([], (), [value("c", 1)])
    absorb(kept)
    assert bodies(kept) == {"a": "1", "b": "1", "c": "1"}
    assert kept._recent._hot_spaces.look_up("kv/a") is None
    kept.append([], (), [gone("a"), gone("b")])
    absorb(kept)
    for _ in range(100):
        assert bodies(kept) == {"c": "1"}
    assert kept._recent._hot_spaces.look_up("kv/a") == {"c": value("c", 1)}


def test_a_space_that_is_full_of_what_has_expired_is_soon_listed_from_memory_again(
    kept: DuckDBLedger, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Sessions come and go: what the columns have forgotten must not keep the space from being small."""
    monkeypatch.setattr(space_cache, "SPACE_CELLS_MAX", 2)
    monkeypatch.setattr("perdure.storage.cell_answers.SPACE_CELLS_MAX", 2)
    hour_us = 3_600_000_000
    for number in range(5):
        at = (number + 1) * hour_us
        kept.append([], (), [Cell("kv/a", str(number), at, at, "1", expires_at=at + 1)])
        absorb(kept)
        kept.cells("kv/a")
        assert len(kept._recent._hot_spaces.look_up("kv/a") or ()) <= 2
    assert list(kept._recent._hot_spaces.look_up("kv/a") or ()) == ["4"]


def test_a_space_of_few_large_cells_is_not_held(kept: DuckDBLedger) -> None:
    kept.append([], (), [value("k", "x" * (2 << 20)), Cell("kv/b", "k", 1, 1, data=bytes(2 << 20))])
    absorb(kept)
    for space in ("kv/a", "kv/b"):
        assert len(kept.cells(space)) == 1
        assert kept._recent._hot_spaces.look_up(space) is None


@settings(max_examples=150, deadline=None)
@given(st.lists(st.tuples(st.sampled_from("abc"), st.sampled_from("xyz"), st.integers(0, 3)), max_size=30))
def test_what_it_counts_is_what_it_has(written: list[tuple[str, str, int]]) -> None:
    cache = SpaceCache()
    model: dict[str, dict[str, Cell]] = {}
    for space in "ab":
        cache.keep(space, [])
        model[space] = {}
    for space, key, number in written:
        cell = Cell(space, key, 1, 1, "x" * number if number else None)
        cache.follow({space: {key: cell}})
        if space in model:
            model[space].pop(key, None)
            model[space] |= {} if cell.is_gone else {key: cell}
    assert {space: cache.look_up(space) for space in "abc"} == {**model, "c": None}
    cache.keep("a", None)
    cache.keep("b", None)
    assert (cache._cells, cache._size, cache._sizes) == (0, 0, {})


def test_those_that_were_asked_for_last_stay(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(space_cache, "_SPACES_MAX", 2)
    cache = SpaceCache()
    for space in "ab":
        cache.keep(space, [])
    cache.look_up("a")
    cache.keep("c", [])
    assert [cache.look_up(space) for space in "abc"] == [{}, None, {}]
