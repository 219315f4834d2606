"""What the journal acknowledged comes back, whole and in order, and a damaged record is never mistaken for anything."""

from __future__ import annotations

import errno
import os
import random
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from perdure.errors import LedgerCorrupt, LedgerError, LedgerFull, LedgerReadOnly
from perdure.storage import disk
from perdure.storage.journal import Journal
from perdure.storage.segments import HEADER_BYTES, JournalScan, read_record, record

LEDGER = 77


def opened(folder: Path, absorbed: int = 0, segment_bytes: int = 400) -> tuple[Journal, list[bytes]]:
    journal = Journal(folder, LEDGER, absorbed, segment_bytes)
    return journal, [payload for _, payload in journal.recover()]


def exhaust(records: Iterator[tuple[int, bytes]], into: list[int]) -> None:
    for sequence, _ in records:
        into.append(sequence)


def found(folder: Path, absorbed: int = 0) -> list[tuple[int, bytes]]:
    return list(JournalScan(folder, LEDGER, absorbed).records())


@settings(max_examples=40, deadline=None)
@given(
    st.lists(st.tuples(st.integers(0, 150), st.sampled_from(["", "absorb", "reopen"])), max_size=25),
    st.integers(100, 500),
)
def test_records_come_back_in_order_across_segments_recycling_and_restarts(
    tmp_path_factory: pytest.TempPathFactory, actions: list[tuple[int, str]], segment_bytes: int
) -> None:
    folder = tmp_path_factory.mktemp("journal") / "j"
    journal, _ = opened(folder, segment_bytes=segment_bytes)
    written: list[bytes] = []
    absorbed = 0
    for size, then in actions:
        payload = f"{len(written)}:".encode() + b"x" * size
        written.append(payload)
        assert journal.append(payload) == len(written)
        if then == "absorb":
            absorbed = random.Random(size).randint(absorbed, len(written))
            journal.absorbed(absorbed)
            journal.make_spare()
        elif then == "reopen":
            journal.close()
            journal, kept = opened(folder, absorbed, segment_bytes)
            assert kept == written[absorbed:]
    assert found(folder, absorbed) == list(enumerate(written[absorbed:], absorbed + 1))
    segments = len(list(folder.iterdir()))
    journal.absorbed(len(written))
    assert len(list(folder.iterdir())) <= max(3, segments)
    assert found(folder, len(written)) == []
    journal.remove()
    assert not folder.exists()


def test_a_tail_torn_at_any_byte_ends_the_journal_and_the_next_record_takes_its_place(tmp_path: Path) -> None:
    whole = tmp_path / "whole"
    journal, _ = opened(whole)
    for payload in (b"first", b"second"):
        journal.append(payload)
    before = (whole / "0001").read_bytes()
    journal.append(b"third, which is torn")
    after = (whole / "0001").read_bytes()
    journal.close()
    start = before.index(b"second") + len(b"second")
    end = start + HEADER_BYTES + len(b"third, which is torn")
    for kept in range(start, end):
        torn = tmp_path / "torn"
        torn.mkdir()
        (torn / "0001").write_bytes(after[:kept] + before[kept:])
        again, payloads = opened(torn)
        assert payloads == [b"first", b"second"], f"torn at byte {kept}"
        assert again.append(b"another") == 3
        again.close()
        assert found(torn)[2:] == [(3, b"another")]
        shutil.rmtree(torn)
    assert [payload for _, payload in found(whole)] == [b"first", b"second", b"third, which is torn"]


def test_a_torn_tail_over_an_old_record_of_a_recycled_segment_is_still_the_end(tmp_path: Path) -> None:
    folder = tmp_path / "j"
    journal, _ = opened(folder)
    for number in range(40):
        journal.append(f"record {number} of some length".encode())
        journal.absorbed(number)
    last = max(folder.iterdir(), key=lambda path: path.read_bytes().rfind(b"record 39"))
    journal.close()
    data = bytearray(last.read_bytes())
    place = data.rindex(b"record 39")
    data[place] ^= 1
    last.write_bytes(data)
    assert found(folder, 38) == [(39, b"record 38 of some length")]


@pytest.mark.parametrize("segment_bytes", [120, 10_000])  # two records to a segment, or all in one
@pytest.mark.parametrize("victim", [1, 2, 3, 4])
def test_a_damaged_record_before_a_sound_one_is_corruption_and_nothing_beyond_it_is_given(
    tmp_path: Path, victim: int, segment_bytes: int
) -> None:
    folder = tmp_path / "j"
    journal, _ = opened(folder, segment_bytes=segment_bytes)
    for number in range(1, 6):
        journal.append(f"record {number} {'x' * 20}".encode())
    journal.close()
    (path,) = (path for path in folder.iterdir() if f"record {victim}".encode() in path.read_bytes())
    data = bytearray(path.read_bytes())
    data[data.index(f"record {victim}".encode()) + 3] ^= 4
    path.write_bytes(data)
    given_out: list[int] = []
    records = JournalScan(folder, LEDGER, 0).records()
    with pytest.raises(LedgerCorrupt, match=f"lacks record {victim}"):
        exhaust(records, given_out)
    assert given_out == list(range(1, victim))


def test_a_lost_segment_is_corruption(tmp_path: Path) -> None:
    folder = tmp_path / "j"
    journal, _ = opened(folder, segment_bytes=100)
    for number in range(6):
        journal.append(f"record {number} {'x' * 30}".encode())
    journal.close()
    (folder / "0002").unlink()
    with pytest.raises(LedgerCorrupt, match="lacks record 2, but has record 3"):
        found(folder)


def test_the_journal_of_another_ledger_is_refused(tmp_path: Path) -> None:
    folder = tmp_path / "j"
    journal, _ = opened(folder)
    journal.append(b"mine")
    journal.close()
    with pytest.raises(LedgerCorrupt, match="another ledger"):
        list(JournalScan(folder, LEDGER + 1, 0).records())


@given(st.binary(max_size=60), st.integers(0, 2**64 - 1), st.data())
def test_a_record_with_any_bit_flipped_is_no_record(payload: bytes, sequence: int, data: st.DataObject) -> None:
    written = bytearray(record(LEDGER, sequence, payload))
    whole = read_record(bytes(written), 0)
    assert whole is not None
    assert (whole.sequence, whole.payload, whole.end) == (sequence, payload, len(written))
    bit = data.draw(st.integers(0, len(written) * 8 - 1))
    written[bit // 8] ^= 1 << bit % 8
    assert read_record(bytes(written), 0) is None


@pytest.mark.parametrize(
    ("number", "error"),
    [
        (errno.ENOSPC, LedgerFull),
        (errno.EFBIG, LedgerFull),
        (errno.EROFS, LedgerReadOnly),
        (errno.EACCES, LedgerReadOnly),
        (errno.EIO, LedgerError),
    ],
)
@pytest.mark.parametrize("when", ["half written", "not synced"])
def test_a_record_that_could_not_be_written_leaves_no_trace_and_the_next_one_can(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int, error: type[LedgerError], when: str
) -> None:
    folder = tmp_path / "j"
    journal, _ = opened(folder)
    journal.append(b"first")
    failures = [OSError(number, os.strerror(number))]

    def write(fd: int, data: bytes, offset: int, real: object = disk.write_at) -> None:
        if when == "half written" and failures:
            real(fd, data[: len(data) - 2], offset)  # type: ignore[operator]
            raise failures.pop()
        real(fd, data, offset)  # type: ignore[operator]

    def sync(fd: int, real: object = disk.sync) -> None:
        real(fd)  # type: ignore[operator]
        if when == "not synced" and failures:
            raise failures.pop()

    monkeypatch.setattr(disk, "write_at", write)
    monkeypatch.setattr(disk, "sync", sync)
    with pytest.raises(error) as caught:
        journal.append(b"second")
    assert caught.value.fix
    assert found(folder) == [(1, b"first")]
    assert journal.append(b"third") == 2
    assert found(folder) == [(1, b"first"), (2, b"third")]
    journal.close()


def test_a_journal_that_can_not_undo_refuses_everything_until_it_is_opened_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "j"
    journal, _ = opened(folder)
    journal.append(b"first")
    with monkeypatch.context() as patched:

        def fail(fd: int) -> None:
            raise OSError(errno.EIO, "the disk is gone")

        patched.setattr(disk, "sync", fail)
        with pytest.raises(LedgerError):
            journal.append(b"second")
    with pytest.raises(LedgerError, match="could not be put back in order"):
        journal.append(b"third")
    journal.close()
    again, payloads = opened(folder)
    assert payloads == [b"first"]
    again.close()


def test_no_room_for_a_new_segment_is_full_and_leaves_no_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "j"
    journal, _ = opened(folder)
    journal.append(b"x" * 300)
    files = sorted(folder.iterdir())
    with monkeypatch.context() as patched:

        def full(fd: int, data: bytes, offset: int) -> None:
            raise OSError(errno.ENOSPC, "no space left on device")

        patched.setattr(disk, "write_at", full)
        with pytest.raises(LedgerFull):
            journal.append(b"y" * 300)
        assert sorted(folder.iterdir()) == files
    assert journal.append(b"y" * 300) == 2
    journal.close()
