"""File systems that fail half-way, move by copying, and are used by several processes at once."""

from __future__ import annotations

import asyncio
import itertools
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import fsspec
import pytest
from fsspec.implementations.local import LocalFileSystem

from perdure import BlobDamaged, FsspecStorage, MemoryLedger, RetryPolicy, Runtime, ServiceFailed
from perdure.storage.duckdb_ledger import DuckDBLedger
from perdure.strict import current_step, step, workflow

DATA = b"0123456789" * 150_000  # more than one piece
STRIKES: dict[str, Callable[..., Any]] = {}  # what happens instead of, or before, an operation


class Faulty(LocalFileSystem):  # type: ignore[misc]  # fsspec has no types
    """A folder whose operations the test strikes."""

    protocol = "faulty"
    cachable = False

    def open(self, path: str, mode: str = "rb", **options: Any) -> Any:
        file = super().open(path, mode, **options)
        if "w" in mode and "write" in STRIKES:
            write, strike = file.write, STRIKES["write"]
            file.write = lambda data: strike(write, data)
        return file

    def mv(self, path1: str, path2: str, **options: Any) -> None:
        STRIKES.get("mv", lambda move: move())(lambda: super(Faulty, self).mv(path1, path2, **options))
        STRIKES.get("moved", lambda *_: None)(path1, path2)

    def pipe_file(self, path: str, value: bytes, **options: Any) -> None:
        super().pipe_file(path, value, **options)
        STRIKES.get("piped", lambda *_: None)(path, value)


@pytest.fixture(autouse=True)
def faulty() -> Iterator[None]:
    fsspec.register_implementation("faulty", Faulty, clobber=True)
    yield
    STRIKES.clear()


@step(retries=RetryPolicy(max_attempts=6, base_delay="1ms"))
async def put(name: str) -> int:
    await current_step().storage.put(name, DATA)
    return current_step().attempt


@workflow(id="puts")
async def puts(input: str) -> int:
    return await put(input)


def runtime_on(folder: Path, ledger: Any = None) -> Runtime:
    services = {"storage": FsspecStorage(f"faulty://{folder}", auto_mkdir=True)}
    return Runtime(ledger or MemoryLedger(), workflows=[puts], services=services)


def left(folder: Path) -> list[str]:
    """What stays of uploads."""
    return sorted(path.name for path in folder.glob(".perdure/uploads/*"))


def fails_first(times: int, after_bytes: int) -> Callable[..., Any]:
    """A disk that is full in the middle of a piece, so many times."""
    count = itertools.count()

    def write(write: Callable[[bytes], int], data: bytes) -> int:
        if data and next(count) < times:
            write(data[:after_bytes])
            raise OSError(28, "No space left on device")
        return write(data)

    return write


@pytest.mark.parametrize("times", [1, 3])
async def test_a_write_that_fails_half_way_leaves_nothing_and_is_tried_again(tmp_path: Path, times: int) -> None:
    STRIKES["write"] = fails_first(times, 1000)
    async with runtime_on(tmp_path) as runtime:
        assert await (await runtime.start(puts, "a")).result(timeout="20s") == times + 1
        assert await runtime.storage.get("a") == DATA
    assert left(tmp_path) == []


async def test_a_write_from_outside_that_fails_half_way_says_so_and_what_was_there_stays(tmp_path: Path) -> None:
    async with runtime_on(tmp_path) as runtime:
        await runtime.storage.put("a", b"old")
        STRIKES["write"] = fails_first(1, 1000)
        with pytest.raises(ServiceFailed, match="No space left on device"):
            await runtime.storage.put("a", DATA)
        assert await runtime.storage.get("a") == b"old"
    assert left(tmp_path) == []


def dies_in_the_middle_of_a_copy(folder: Path) -> Callable[..., Any]:
    """A file system that moves by copying, and a process that dies in the middle of it."""

    def move(move: Callable[[], None]) -> None:
        STRIKES.clear()
        (folder / "default" / "a").write_bytes(DATA[:1000])
        raise ConnectionError("the process is gone")

    return move


@pytest.mark.parametrize("old", [None, b"old"])
async def test_a_blob_that_is_half_way_to_its_place_is_not_read(tmp_path: Path, old: bytes | None) -> None:
    async with runtime_on(tmp_path) as runtime:
        if old is not None:
            await runtime.storage.put("a", old)
        (tmp_path / "default").mkdir(exist_ok=True)
        STRIKES["mv"] = dies_in_the_middle_of_a_copy(tmp_path)
        with pytest.raises(ServiceFailed):
            await runtime.storage.put("a", DATA)
        with pytest.raises(BlobDamaged, match="being moved to its place") as damaged:
            await runtime.storage.get("a")
        assert "1,000 bytes" in damaged.value.where
        await runtime.storage.put("a", DATA)
        assert await runtime.storage.get("a") == DATA


@pytest.mark.parametrize("when", ["mv", "moved", "piped"])
async def test_a_step_whose_blob_did_not_reach_its_place_puts_it_there_again(tmp_path: Path, when: str) -> None:
    def strike(*args: Any) -> None:
        STRIKES.clear()
        raise ConnectionError("lost in the middle")

    STRIKES[when] = strike
    async with runtime_on(tmp_path) as runtime:
        assert await (await runtime.start(puts, "a")).result(timeout="20s") == 2
        assert await runtime.storage.get("a") == DATA
        assert (await runtime.storage.info("a")).sha256 is not None
    assert left(tmp_path) == []


@pytest.mark.parametrize("place", ["mark", "moved", "said"])
async def test_another_process_that_writes_the_same_blob_at_any_moment_damages_nothing(
    tmp_path: Path, place: str
) -> None:
    """Same sizes, so that only the digest tells them apart."""
    async with runtime_on(tmp_path) as one, runtime_on(tmp_path) as other:

        def overtake(path: str, *rest: Any) -> None:
            is_info = path.endswith(".json")
            if place == "moved" or (place == "mark") == (is_info and b"moving" in rest[0]):
                STRIKES.clear()
                other.services.blocking.storage.put("a", b"theirs")

        STRIKES["moved" if place == "moved" else "piped"] = overtake
        await one.storage.put("a", b"mine..")
        assert not STRIKES, "nobody came in between"
        expected = b"mine.." if place == "mark" else b"theirs"  # the last one that moved its bytes
        assert await one.storage.get("a") == expected
        info = await other.storage.info("a")
        assert info.size == 6
        await other.storage.put("a", b"last..")
        assert (await one.storage.info("a")).sha256 is not None
        assert await one.storage.get("a") == b"last.."


async def test_processes_that_write_the_same_blobs_at_once_leave_whole_ones(tmp_path: Path) -> None:
    async with runtime_on(tmp_path) as one, runtime_on(tmp_path) as two, runtime_on(tmp_path) as three:
        runtimes = {"one": one, "two": two, "three": three}
        for number in range(8):
            name, size = f"blob{number}", 5 + number
            await asyncio.gather(*[each.storage.put(name, key.ljust(size).encode()) for key, each in runtimes.items()])
            found = {await each.storage.get(name) for each in runtimes.values()}
            assert len(found) == 1
            assert found.pop().decode().strip() in runtimes
    assert left(tmp_path) == []


@pytest.mark.parametrize("text", [b"", b'{"bucket": "def', b"[1]", b"null"])
async def test_what_is_known_beside_a_blob_may_be_cut_off(tmp_path: Path, text: bytes) -> None:
    async with runtime_on(tmp_path) as runtime:
        await runtime.storage.put("a", b"abc", content_type="text/plain")
        (tmp_path / ".perdure" / "info" / "default" / "a.json").write_bytes(text)
        assert (await runtime.storage.info("a")).content_type is None
        assert await runtime.storage.get("a") == b"abc"
        await runtime.storage.put("a", b"abc", content_type="text/plain")
        assert (await runtime.storage.info("a")).content_type == "text/plain"


def test_what_a_process_left_that_died_while_it_uploaded_is_removed_by_the_next_attempt(tmp_path: Path) -> None:
    """The ledger is opened again as it was when the process was killed: with the step at work."""
    folder, path = tmp_path / "blobs", tmp_path / "ledger.duckdb"
    begun, go_on = threading.Event(), threading.Event()

    def hang(write: Callable[[bytes], int], data: bytes) -> int:
        begun.set()
        go_on.wait(60)
        raise ConnectionError("killed")

    async def first() -> None:
        STRIKES["write"] = hang
        async with Runtime(
            path, workflows=[puts], services={"storage": FsspecStorage(f"faulty://{folder}", auto_mkdir=True)}, drain=0
        ) as runtime:
            await runtime.start(puts, "a", run_id="r")
            assert await asyncio.to_thread(begun.wait, 60)
            (folder / ".perdure" / "uploads" / f"{left(folder)[0].partition('-')[0]}-dead").write_bytes(b"cut off")
            go_on.set()

    async def second() -> None:
        STRIKES.clear()
        async with runtime_on(folder, path) as runtime:
            await runtime.handle("r").result(timeout="20s")
            assert await runtime.storage.get("a") == DATA

    asyncio.run(first())
    asyncio.run(second())
    assert left(folder) == []
    DuckDBLedger(path, read_only=True).close()
