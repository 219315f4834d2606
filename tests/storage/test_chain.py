"""The chain finds every change, and a line is plain JSON."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from perdure.storage.chain import GENESIS, entry_of, line_of, seal, verify_chain
from perdure.storage.entries import KINDS, Entry

numbers = st.integers(-(2**63), 2**63 - 1)
texts = st.text(st.characters(codec="utf-8"), max_size=20)
entry_fields = st.builds(
    Entry,
    run=numbers,
    position=st.just(0),
    kind=st.sampled_from(sorted(KINDS)),
    at=numbers,
    command=texts,
    name=texts,
    attempt=st.integers(0, 9),
    due=st.none() | numbers,
    body=st.none() | texts,
    shape=st.none() | texts,
    detail=st.none() | texts,
)


def sealed_history(entries: list[Entry]) -> list[Entry]:
    digest, history = GENESIS, []
    for position, entry in enumerate(entries):
        entry, _ = seal(digest, entry._replace(run=7, position=position))
        digest = entry.digest
        history.append(entry)
    return history


histories = st.lists(entry_fields, min_size=1, max_size=6).map(sealed_history)


@given(entry_fields)
def test_a_line_is_what_json_dumps_gives_and_reads_back(entry: Entry) -> None:
    line = line_of(entry)
    assert line == json.dumps(list(entry[:-1]), separators=(",", ":"), ensure_ascii=True).encode()
    assert entry_of(line, b"digest") == entry._replace(digest=b"digest")


def test_a_digest_never_changes_between_releases() -> None:
    entry = Entry(1, 0, "created", 1_700_000_000_000_000, "", "wörk\n", 1, None, '{"a":1}', None, '{"run_id":"r"}')
    sealed, _ = seal(GENESIS, entry)
    assert sealed.digest.hex() == "0e0b0b4cc18926e401be3a4a1cc87fc4797f4ea520928934b2a7a41f8240a452"


@given(histories)
def test_an_untouched_history_verifies(history: list[Entry]) -> None:
    assert verify_chain(history) is None
    assert verify_chain(history[1:], history[0].digest, 1) is None


@given(histories, st.data())
def test_a_change_of_any_field_of_any_entry_is_found_at_its_position(history: list[Entry], data: st.DataObject) -> None:
    position = data.draw(st.integers(0, len(history) - 1))
    name = data.draw(st.sampled_from(Entry._fields))
    value = getattr(history[position], name)
    other: object
    if name == "digest":
        byte = data.draw(st.integers(0, 31))
        other = value[:byte] + bytes([value[byte] ^ (1 << data.draw(st.integers(0, 7)))]) + value[byte + 1 :]
    elif name in ("run", "position", "at", "attempt", "due"):
        other = data.draw(numbers.filter(lambda number: number != value))
    else:
        other = data.draw(texts.filter(lambda text: text != value))
    changed = [*history]
    changed[position] = history[position]._replace(**{name: other})
    assert verify_chain(changed, start=0) in ({0, position} if name == "run" else {position})


@given(histories.filter(lambda history: len(history) > 2), st.data())
def test_a_dropped_doubled_or_swapped_entry_is_found(history: list[Entry], data: st.DataObject) -> None:
    position = data.draw(st.integers(0, len(history) - 2))
    assert verify_chain(history[:position] + history[position + 1 :]) == position
    assert verify_chain(history[: position + 1] + history[position:]) == position + 1
    swapped = [*history]
    swapped[position], swapped[position + 1] = history[position + 1], history[position]
    assert verify_chain(swapped) == position


@pytest.mark.parametrize("line", [b"[]", b"{}", b"7", b"[1,2", b"\xff"])
def test_what_is_no_line_is_refused(line: bytes) -> None:
    with pytest.raises(ValueError):  # noqa: PT011 - JSON and Unicode errors are ValueErrors, and so is ours
        entry_of(line, b"")
