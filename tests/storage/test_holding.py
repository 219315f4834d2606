"""Ledgers look for texts in cells alike, wherever the cells are at that moment."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from perdure.storage import cell_columns
from perdure.storage.cells import Cell
from perdure.storage.duckdb_ledger import DuckDBLedger
from perdure.storage.holding import Holding, are_held
from perdure.storage.memory_ledger import MemoryLedger

texts = st.text(alphabet='ab"\\.[%_é\U0001f600(|', max_size=3)
cells = st.tuples(st.none() | texts, st.none() | texts)
wanted = st.lists(
    st.builds(Holding, st.lists(texts, max_size=2).map(tuple), st.lists(texts, max_size=2).map(tuple)),
    min_size=1, max_size=2,
)  # fmt: skip


@pytest.fixture
def kept(tmp_path: Path) -> Iterator[DuckDBLedger]:
    made = DuckDBLedger(tmp_path / "a.duckdb", gather_s=3600)
    yield made
    made.close()


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(cells, max_size=6), st.lists(cells, max_size=3), wanted, st.none() | st.integers(0, 4))
def test_a_ledger_leaves_out_exactly_what_does_not_hold_it(
    kept: DuckDBLedger, old: list[tuple[str | None, str | None]], new: list[tuple[str | None, str | None]],
    wanted: list[Holding], limit: int | None,
) -> None:  # fmt: skip
    memory = MemoryLedger()
    space = f"db/{next(_numbers)}"
    for ledger in (memory, kept):
        for offset, some, absorbs in ((0, old, True), (2, new, False)):  # some of the new ones hide old ones
            ledger.append([], (), [
                Cell(space, f"{offset + number}", 1, 1, body, shape, b"" if body is None else None)
                for number, (body, shape) in enumerate(some)
            ])  # fmt: skip
            if absorbs:
                ledger.sql("SELECT 1")
    found = kept.cells(space, limit=limit, holding=wanted)
    assert found == memory.cells(space, limit=limit, holding=wanted)
    assert found == [cell for cell in memory.cells(space) if are_held(wanted, cell.body, cell.shape)][:limit]


_numbers = iter(range(10**6))


def test_only_candidates_leave_the_columns(kept: DuckDBLedger) -> None:
    kept.append([], (), [Cell("db/a", f"{number:03}", 1, 1, f'{{"n":{number}}}') for number in range(200)])
    kept.sql("SELECT 1")
    assert [cell.key for cell in kept.cells("db/a", holding=[Holding(('"n":7}',))])] == ["007"]
    assert kept.cells("db/a", holding=[Holding(())]) == []


def test_a_wide_page_has_the_first_cells_by_key(kept: DuckDBLedger, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cell_columns, "_WIDE_FROM", 3)
    monkeypatch.setattr("perdure.storage.cell_answers.SPACE_CELLS_MAX", 0)  # all of it is asked of the columns
    keys = [f"{number:03}" for number in range(0, 90, 7)]
    kept.append([], (), [Cell(space, key, 1, 1, "1") for space in ("db/b", "db/a") for key in reversed(keys)])
    kept.sql("SELECT 1")
    for after in (None, "035", "999"):
        wanted = [key for key in keys if after is None or key > after]
        for limit in (3, 4, 5, 100):
            assert [cell.key for cell in kept.cells("db/a", after=after, limit=limit)] == wanted[:limit]
    assert [cell.key for cell in kept.cells("db/a", prefix="07", limit=4)] == ["070", "077"]
