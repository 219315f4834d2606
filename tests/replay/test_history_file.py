"""A history as text comes back as it was, to the letter; one that was cut off or edited is refused with its line."""

from __future__ import annotations

import io
import json
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from perdure.errors import LedgerCorrupt, LedgerError, LedgerTooNew
from perdure.replay.golden import history_files
from perdure.replay.history_file import History, read_history, write_history
from perdure.storage import entries as kinds
from perdure.storage.chain import GENESIS, seal
from perdure.storage.entries import DefinitionRow, Entry
from perdure.storage.fold import fold_all
from perdure.storage.ledger import RunRow

GOLDEN = sorted(history_files([Path(__file__).parents[1] / "histories"]))

numbers = st.integers() | st.integers(min_value=10**30) | st.just(10**5000)
plain = st.recursive(
    st.none() | st.booleans() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)
#: JSON as the ledger has it, as others would write it, and what is no JSON at all.
texts = st.one_of(
    plain.map(lambda value: json.dumps(value, separators=(",", ":"), ensure_ascii=False)),
    plain.map(lambda value: json.dumps(value, indent=1)),
    st.just("9" * 5000),
    st.sampled_from(["1.50", "1e999", "NaN", " 1", '{"a":1,"a":2}', '{"b":1,\t"a":[ ]}', '"\u2028"', "[" * 3000, ""]),
    st.text(max_size=20),
)
moments = st.integers(min_value=0, max_value=4 * 10**15) | st.just(10**18)


@st.composite
def histories(draw: Callable[..., object]) -> History:
    """A run that was created, asked for steps, and may have ended: any names, values and times."""
    name = st.text(max_size=12)
    run_id: str = draw(st.text(min_size=1, max_size=12))  # type: ignore[assignment]
    facts = {"run_id": run_id, "version": "1", "definition": "d1", "tags": {"k": draw(name)}}
    begin: int = draw(moments)  # type: ignore[assignment]
    run: int = draw(st.integers(min_value=1, max_value=2**60))  # type: ignore[assignment]
    entries = [
        Entry(run, 0, kinds.CREATED, begin, name="w", body=draw(texts), detail=json.dumps(facts))  # type: ignore[arg-type]
    ]
    for position in range(1, draw(st.integers(1, 5))):  # type: ignore[arg-type,operator]
        fields = {"body": draw(st.none() | texts), "shape": draw(st.none() | texts), "detail": draw(st.none() | texts)}
        entries.append(
            Entry(run, position, kinds.STEP, begin, f"0/{position}", draw(name), 1, draw(st.none() | moments), **fields)  # type: ignore[arg-type]
        )
    sealed, previous = [], GENESIS
    for entry in entries:
        fresh, _ = seal(previous, entry)
        sealed.append(fresh)
        previous = fresh.digest
    source = json.dumps([{"module": "m", "qualname": "w", "file": "m.py", "line": 1, "source": draw(name)}])
    definition = DefinitionRow("d1", "w", "1", "3.12", source, begin)
    return History(fold_all(None, sealed), tuple(sealed), draw(st.sampled_from([definition, None])), ("input.x",))  # type: ignore[arg-type]


def written(history: History, file: Path) -> Path:
    text = io.StringIO()
    write_history(history, text)
    file.write_bytes(text.getvalue().encode())
    return file


def plainly(history: History) -> History:
    return History(history.row, history.entries, history.definition, history.redacted)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow], deadline=None)
@given(history=histories())
def test_what_is_written_is_read_back_equal(history: History, tmp_path: Path) -> None:
    assert plainly(read_history(written(history, tmp_path / "x"))) == history


@pytest.mark.parametrize("file", GOLDEN, ids=lambda file: file.name)
def test_real_histories_come_back_equal_and_are_written_alike(file: Path, tmp_path: Path) -> None:
    history = read_history(file)
    again = written(history, tmp_path / "again")
    assert again.read_bytes() == file.read_bytes()
    assert plainly(read_history(again)) == plainly(history)


def test_the_ledgers_own_text_stands_in_the_line(tmp_path: Path) -> None:
    for file in GOLDEN:
        lines = file.read_text(encoding="utf-8").split("\n")[:-1]
        for entry, line in zip(read_history(file).entries, lines[1:], strict=True):
            assert entry.body is None or f'"body": {entry.body}' in line
            assert json.loads(line)["position"] == entry.position


ORDER = next(file for file in GOLDEN if file.name.startswith("order-1.history"))
LAST = len(ORDER.read_bytes().splitlines())


def refused(tmp_path: Path, change: Callable[[list[bytes]], list[bytes]]) -> LedgerCorrupt:
    """Change the lines of a history, and give the refusal."""
    file = tmp_path / "changed.history.jsonl"
    file.write_bytes(b"\n".join(change(ORDER.read_bytes().split(b"\n"))))
    with pytest.raises(LedgerCorrupt) as caught:
        read_history(file)
    assert str(file) in caught.value.where
    return caught.value


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None, max_examples=60)
@given(data=st.data())
def test_no_byte_of_an_entry_can_be_changed_unnoticed(data: st.DataObject, tmp_path: Path) -> None:
    content = ORDER.read_bytes()
    at = data.draw(st.integers(content.index(b"\n") + 1, len(content) - 2))
    byte = data.draw(st.integers(0, 255).filter(lambda byte: byte != content[at]))
    file = tmp_path / "edited"
    file.write_bytes(content[:at] + bytes([byte]) + content[at + 1 :])
    try:
        found = read_history(file)
    except LedgerError as error:
        number = int(error.where.rpartition(":")[2])
        # A line that becomes two, or whose end is gone, may show a line later.
        assert abs(number - (content.count(b"\n", 0, at) + 1)) <= 1
    else:
        assert found.entries == read_history(ORDER).entries  # such as an upper case letter in a digest


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None, max_examples=60)
@given(data=st.data())
def test_a_history_that_is_cut_off_anywhere_is_refused(data: st.DataObject, tmp_path: Path) -> None:
    content = ORDER.read_bytes()
    file = tmp_path / "cut"
    file.write_bytes(content[: data.draw(st.integers(0, len(content) - 2))])
    with pytest.raises(LedgerCorrupt):
        read_history(file)


def test_an_edited_value_is_named_by_its_line(tmp_path: Path) -> None:
    def edit(lines: list[bytes]) -> list[bytes]:
        assert b'"cents":1250' in lines[2]
        return [*lines[:2], lines[2].replace(b'"cents":1250', b'"cents":9'), *lines[3:]]

    error = refused(tmp_path, edit)
    assert error.where.endswith(":3")
    assert error.message == "entry 1 was altered."


@pytest.mark.parametrize(
    ("change", "line", "message"),
    [
        (lambda lines: lines[:-3], LAST - 2, "the history was cut off."),
        (lambda lines: [*lines[:4], *lines[5:]], 5, "an entry is out of place."),
        (lambda lines: [*lines[:4], lines[5], lines[4], *lines[6:]], 5, "an entry is out of place."),
        (lambda lines: [*lines[:-1], lines[-2]], LAST + 1, "an entry is out of place."),
        (lambda lines: [lines[0].replace(b'"completed"', b'"failed"'), *lines[1:]], 1, "the first line says otherwise"),
        (lambda lines: [lines[0].replace(b'"entries": ', b'"entries": x'), *lines[1:]], 1, "a line was cut off"),
        (lambda lines: [lines[0].replace(b'"run": 1', b'"run": "1"'), *lines[1:]], 1, "the first line was altered."),
        (lambda lines: [b"{}", *lines[1:]], 1, "the file is no history."),
        (lambda lines: [], 1, "the history is empty."),
        (lambda lines: [*lines[:3], b"<<<<<<< HEAD\n", *lines[3:]], 4, "a merge left its conflict in the history."),
        (lambda lines: [b"<<<<<<< HEAD\n", *lines], 1, "a merge left its conflict in the history."),
        (lambda lines: [*lines[:3], b"\xff", *lines[4:]], 4, "a line is no UTF-8 text."),
        (lambda lines: [*lines[:3], b'{"position": 2, "kind": "x", "more": 1}', *lines[4:]], 4, "a line is no entry."),
    ],
)
def test_each_kind_of_damage_is_named_with_its_line(
    change: Callable[[list[bytes]], list[bytes]], line: int, message: str, tmp_path: Path
) -> None:
    error = refused(tmp_path, change)
    assert error.message.startswith(message)
    assert int(error.where.rpartition(":")[2]) == line


def test_line_endings_of_another_system_are_read(tmp_path: Path) -> None:
    file = tmp_path / "crlf"
    file.write_bytes(ORDER.read_bytes().replace(b"\n", b"\r\n"))
    assert read_history(file).entries == read_history(ORDER).entries


def test_a_newer_format_is_refused_with_what_to_do(tmp_path: Path) -> None:
    file = tmp_path / "newer"
    file.write_bytes(ORDER.read_bytes().replace(b'"perdure_history": 1', b'"perdure_history": 2', 1))
    with pytest.raises(LedgerTooNew, match="format 2, and this release reads up to 1"):
        read_history(file)


def test_a_file_that_is_not_there_is_named() -> None:
    with pytest.raises(LedgerError, match="can't be read"):
        read_history("nowhere.history.jsonl")


@pytest.mark.parametrize(
    ("module", "file", "named"),
    [
        ("shop.orders", "shop/orders.py", "shop.orders"),
        ("__main__", "shop/orders.py", "orders"),
        ("__main__", "<reaction __main__.pack, line 7>", ""),
        ("shop.orders", "<reaction shop.orders.pack, line 7>", "shop.orders"),
    ],
)
def test_a_history_names_its_module_where_that_can_be_known(module: str, file: str, named: str) -> None:
    source = json.dumps([{"module": module, "qualname": "pack", "file": file, "line": 7, "source": ""}])
    definition = DefinitionRow("d1", "pack", "1", "3.11", source, 0)
    row = RunRow(1, "r1", "pack", "1", "d1", "completed", 1, 0, 0)
    assert History(row, (), definition).module == named
