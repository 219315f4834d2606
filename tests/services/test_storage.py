"""`storage`: blobs as steps and applications use them, in the ledger and on file systems of fsspec."""

from __future__ import annotations

import asyncio
import io
import itertools
import os
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from perdure import BlobDamaged, DefinitionError, MemoryLedger, RunFailed, Runtime, UnknownBlob, WorkflowError
from perdure.services.blobs import CHUNK_BYTES
from perdure.services.fsspec_storage import FsspecStorage
from perdure.storage.cells import Cell
from perdure.storage.duckdb_ledger import DuckDBLedger
from perdure.strict import RetryPolicy, current_step, step, workflow

BIG = os.urandom(CHUNK_BYTES * 2 + 77)
Act = Callable[[Any], Awaitable[Any]]
ACTS: list[Any] = []  # what the one step of a run does, last

_numbers = itertools.count()


@step(retries=0)
async def act() -> Any:
    return await ACTS[-1](current_step().storage)


@step(retries=0)
def act_blocking() -> Any:
    return ACTS[-1](current_step().blocking.storage)


@workflow(id="acts")
async def acts(input: None, step) -> Any:
    return await act()


@workflow(id="acts-blocking")
async def acts_blocking(input: None, step) -> Any:
    return await act_blocking()


@pytest.fixture(autouse=True)
def forget_acts() -> Iterator[None]:
    """They hold on to ledgers."""
    yield
    ACTS.clear()


class Place:
    """Where blobs are kept, for one test."""

    def __init__(self, kind: str, folder: Path) -> None:
        self.kind = kind
        self.ledger: Any = DuckDBLedger(folder / "blobs.duckdb") if kind == "duckdb" else MemoryLedger()
        self.folder = folder / "files"
        url = {"file": f"file://{self.folder}", "fsspec-memory": f"memory://{next(_numbers)}"}.get(kind)
        self.services = {"storage": FsspecStorage(url)} if url else {}

    def runtime(self) -> Runtime:
        return Runtime(self.ledger, workflows=[acts, acts_blocking], services=self.services)

    def in_step(self, *does: Act) -> list[Any]:
        """Do something in a step of a run each, one after the other."""
        return self.outside(*[lambda _, do=do: self._run(do) for do in does])

    async def _run(self, do: Act) -> Any:
        ACTS.append(do)
        return await (await self._open.start("acts")).result(timeout="20s")

    def outside(self, *does: Callable[[Runtime], Awaitable[Any]]) -> list[Any]:
        async def all_of_them() -> list[Any]:
            async with self.runtime() as self._open:
                return [await do(self._open) for do in does]

        return asyncio.run(all_of_them())

    def leftovers(self) -> list[str]:
        """What is kept and no blob consists of."""
        if self.kind == "file":
            uploads = self.folder / ".perdure" / "uploads"
            return sorted(os.listdir(uploads)) if uploads.exists() else []
        if self.kind == "fsspec-memory":
            files, root = self.services["storage"]._open()
            return [path for path in files.find(root) if "/uploads/" in path]
        of_blobs: set[str] = set()
        for space in self.ledger.spaces("blob/"):
            of_blobs |= {f"{info['upload']}" for info in map(_value, self.ledger.cells(space))}
        chunks = [cell.key for space in self.ledger.spaces("chunk/") for cell in self.ledger.cells(space)]
        uploads = [cell.key for space in self.ledger.spaces("upload/") for cell in self.ledger.cells(space)]
        return [key for key in chunks if key.partition("/")[0] not in of_blobs] + uploads


def _value(cell: Cell) -> Any:
    from perdure.services.transaction import encoded
    from perdure.storage.encoding import decode

    return decode(*encoded(cell))


@pytest.fixture(params=["memory", "duckdb", "file", "fsspec-memory"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Place]:
    place = Place(request.param, tmp_path)
    yield place
    place.ledger.close()


async def pieces_of(data: bytes, size: int) -> AsyncIterator[bytes]:
    for start in range(0, len(data), size):
        await asyncio.sleep(0)
        yield data[start : start + size]


@pytest.mark.parametrize("data", [b"", b"one", BIG[:CHUNK_BYTES], BIG], ids=["empty", "small", "a chunk", "chunks"])
def test_what_is_put_is_got_in_the_step_and_after_it(place: Place, data: bytes) -> None:
    async def write(storage: Any) -> Any:
        info = await storage.put("a/b.bin", data, content_type="application/pdf", metadata={"by": "ada"})
        assert await storage.get("a/b.bin") == data
        assert await storage.info("a/b.bin") == info
        return info

    async def read(runtime: Runtime) -> Any:
        assert await runtime.storage.get("a/b.bin") == data
        return await runtime.storage.info("a/b.bin")

    info, again = *place.in_step(write), *place.outside(read)
    assert (info.size, info.content_type, info.metadata) == (len(data), "application/pdf", {"by": "ada"})
    assert again == info
    assert place.leftovers() == []


@pytest.mark.parametrize(
    "make",
    [
        lambda path: BIG,
        lambda path: bytearray(BIG),
        lambda path: memoryview(BIG),
        lambda path: io.BytesIO(BIG),
        lambda path: path,
        lambda path: iter([BIG[:10], BIG[10:]]),
        lambda path: (BIG[start : start + 100_000] for start in range(0, len(BIG), 100_000)),
        lambda path: pieces_of(BIG, 300_000),
    ],
    ids=["bytes", "bytearray", "memoryview", "file", "path", "iterator", "generator", "async generator"],
)
def test_bytes_come_from_anything_that_gives_them(tmp_path: Path, make: Any) -> None:
    place = Place("memory", tmp_path)
    path = tmp_path / "big.bin"
    path.write_bytes(BIG)

    async def write(storage: Any) -> bytes:
        await storage.put("big", make(path))
        return await storage.get("big")

    def write_blocking(storage: Any) -> bytes:
        storage.put("big", make(path))
        assert b"".join(storage.stream("big")) == BIG
        return storage.get("big")

    assert place.in_step(write) == [BIG]
    with place.runtime() as runtime:
        ACTS.append(write_blocking)
        assert runtime.start("acts-blocking").result(timeout="20s") == BIG
        runtime.storage.put("outside", make(path))
        assert runtime.storage.get("outside") == BIG


def test_a_text_is_kept_as_utf_8(place: Place) -> None:
    async def write(storage: Any) -> bytes:
        await storage.put("t", "grüße")
        return await storage.get("t")

    assert place.in_step(write) == ["grüße".encode()]


@pytest.mark.parametrize("data", ["three", BIG], ids=["small", "chunks"])
def test_an_attempt_that_fails_has_written_nothing(place: Place, data: Any) -> None:
    async def first(storage: Any) -> None:
        await storage.put("kept", "before")

    async def fails(storage: Any) -> None:
        await storage.put("kept", data)
        await storage.put("new", data)
        await storage.bucket("other").put("new", data)
        await storage.delete("kept")
        raise ValueError("no")

    async def look(runtime: Runtime) -> Any:
        return await runtime.storage.get("kept"), await runtime.storage.buckets(), await runtime.storage.list()

    place.in_step(first)
    with pytest.raises(RunFailed):
        place.in_step(fails)
    [(kept, buckets, found)] = place.outside(look)
    assert (kept, buckets, [info.name for info in found]) == (b"before", ["default"], ["kept"])
    assert place.leftovers() == []


@pytest.mark.parametrize("announced", [3, 5])
def test_a_blob_that_is_cut_off_is_refused_and_what_was_there_stays(place: Place, announced: int) -> None:
    async def write(storage: Any) -> Any:
        await storage.put("x", b"there", size=5)
        with pytest.raises(BlobDamaged, match=f"cut off: 4 bytes came, and size= announced {announced}"):
            await storage.put("x", b"four", size=announced)
        return await storage.get("x")

    assert place.in_step(write) == [b"there"]
    assert place.leftovers() == []


def test_an_iterator_that_raises_leaves_nothing(place: Place) -> None:
    def breaks() -> Iterator[bytes]:
        yield BIG
        raise ConnectionError("the peer is gone")

    async def write(storage: Any) -> Any:
        with pytest.raises(ConnectionError, match="the peer is gone"):
            await storage.put("x", breaks())
        return await storage.exists("x"), await storage.list()

    assert place.in_step(write) == [(False, [])]
    assert place.leftovers() == []


def test_a_runtime_that_closes_lets_what_came_to_nothing_be_swept_first(tmp_path: Path) -> None:
    place = Place("memory", tmp_path)
    read = place.ledger.cell

    def slow(space: str, key: str) -> Any:
        time.sleep(0.2 if space.startswith("upload/") else 0)  # the run has long its result then
        return read(space, key)

    place.ledger.cell = slow

    async def write(storage: Any) -> None:
        with pytest.raises(BlobDamaged):
            await storage.put("x", BIG, size=1)

    assert place.in_step(write) == [None]
    assert place.leftovers() == []


@pytest.mark.parametrize("piece", ["text", None, 7])
def test_pieces_that_are_no_bytes_are_refused(place: Place, piece: Any) -> None:
    async def write(storage: Any) -> Any:
        with pytest.raises(WorkflowError, match="a blob consists of bytes"):
            await storage.put("x", iter([b"a", piece]))
        with pytest.raises(WorkflowError, match="nothing to make a blob of"):
            await storage.put("x", 7)
        return await storage.exists("x")

    assert place.in_step(write) == [False]


def test_reading_a_stream_gives_pieces_and_may_stop_early(place: Place) -> None:
    async def write(storage: Any) -> Any:
        await storage.put("x", BIG)
        sizes = [len(data) async for data in storage.stream("x")]
        async for _ in storage.stream("x"):
            break
        return sizes

    assert place.in_step(write) == [[CHUNK_BYTES, CHUNK_BYTES, 77]]


def test_blobs_are_listed_by_name_and_by_the_page(place: Place) -> None:
    names = ["a", "b/1", "b/2", "b/3", "c"]

    async def write(storage: Any) -> Any:
        for name in reversed(names):
            await storage.put(name, name)
        return [info.name for info in await storage.list("b/", after="b/1", limit=1)]

    async def more(storage: Any) -> Any:
        await storage.delete("b/2")
        await storage.put("d", "new")
        first = await storage.list(limit=2)
        rest = await storage.list(after=first[-1].name)
        return [info.name for info in first + rest]

    assert place.in_step(write, more) == [["b/2"], ["a", "b/1", "b/3", "c", "d"]]


def test_replacing_and_deleting_frees_what_was_there(place: Place) -> None:
    async def write(storage: Any) -> Any:
        return await storage.put("x", BIG)

    async def replace(storage: Any) -> Any:
        return await storage.put("x", b"small")

    async def delete(storage: Any) -> Any:
        return await storage.delete("x"), await storage.delete("x"), await storage.exists("x")

    written, replaced, deleted = place.in_step(write, replace, delete)
    assert replaced.created_at == written.created_at < replaced.updated_at
    assert deleted == (True, False, False)
    assert place.leftovers() == []
    if place.kind in ("memory", "duckdb"):
        assert [cell.key for space in place.ledger.spaces("chunk/") for cell in place.ledger.cells(space)] == []


def test_a_blob_is_copied_under_another_name_and_into_another_bucket(place: Place) -> None:
    async def copy(storage: Any) -> Any:
        await storage.put("x", BIG, content_type="image/png", metadata={"a": "b"})
        info = await storage.copy("x", "y", bucket="copies")
        await storage.delete("x")
        assert await storage.bucket("copies").get("y") == BIG
        with pytest.raises(UnknownBlob):
            await storage.copy("x", "z")
        return info.content_type, info.metadata, info.bucket, await storage.buckets()

    assert place.in_step(copy) == [("image/png", {"a": "b"}, "copies", ["copies"])]


def test_a_blob_that_is_not_there_is_named(place: Place) -> None:
    async def look(storage: Any) -> Any:
        for reads in (storage.get, storage.info):
            with pytest.raises(UnknownBlob, match="no blob 'nope' in bucket 'default'"):
                await reads("nope")
        with pytest.raises(UnknownBlob):
            await anext(storage.stream("nope"))
        return await storage.exists("nope"), await storage.list(), await storage.buckets()

    assert place.in_step(look) == [(False, [], [])]


@pytest.mark.parametrize(
    "name", ["", "/a", "a/", "a//b", "..", "a/../b", "./a", "a\\b", "a\nb", "a\0b", "x" * 901, "\ud800", None, 7, b"a"]
)
def test_a_bad_name_is_refused(tmp_path: Path, name: Any) -> None:
    async def use(storage: Any) -> Any:
        for does in (storage.get, storage.info, storage.exists, storage.delete):
            with pytest.raises(WorkflowError):
                await does(name)
        with pytest.raises(WorkflowError):
            await storage.put(name, b"")
        await storage.put("fine", b"")
        with pytest.raises(WorkflowError):
            await storage.copy("fine", name)
        return [info.name for info in await storage.list()]

    assert Place("memory", tmp_path).in_step(use) == [["fine"]]


@pytest.mark.parametrize("bucket", ["", ".perdure", "a/b", "..", "x" * 64, "ä", None, 7])
def test_a_bad_bucket_is_refused(tmp_path: Path, bucket: Any) -> None:
    async def use(storage: Any) -> None:
        with pytest.raises(WorkflowError, match="can't name a bucket"):
            storage.bucket(bucket)

    Place("memory", tmp_path).in_step(use)


def test_what_can_not_be_kept_beside_a_blob_is_refused(tmp_path: Path) -> None:
    async def use(storage: Any) -> None:
        for wrong in (
            {"metadata": {"a": 1}},
            {"metadata": {1: "a"}},
            {"size": -1},
            {"size": "3"},
            {"content_type": ""},
        ):
            with pytest.raises(WorkflowError):
                await storage.put("x", b"abc", **wrong)
        assert not await storage.exists("x")

    Place("memory", tmp_path).in_step(use)


@pytest.mark.parametrize("damage", ["missing", "altered", "longer"])
def test_a_chunk_that_is_missing_or_altered_is_found_when_it_is_read(tmp_path: Path, damage: str) -> None:
    place = Place("memory", tmp_path)

    async def write(storage: Any) -> None:
        await storage.put("x", BIG)

    async def read(storage: Any) -> None:
        with pytest.raises(BlobDamaged, match="blob 'x' of bucket 'default' is damaged"):
            await storage.get("x")

    place.in_step(write)
    cell = place.ledger.cells("chunk/default")[1]
    data = {"missing": None, "altered": b"!" + cell.data[1:], "longer": cell.data * 3}[damage]
    place.ledger.append((), (), [cell._replace(data=data)])
    place.in_step(read)


def test_a_file_that_was_altered_is_found_when_it_is_read(tmp_path: Path) -> None:
    place = Place("file", tmp_path)

    async def write(storage: Any) -> None:
        await storage.put("x", b"abc")

    async def read(storage: Any) -> None:
        with pytest.raises(BlobDamaged):
            await storage.get("x")

    place.in_step(write)
    (place.folder / "default" / "x").write_bytes(b"abd")
    place.in_step(read)


def test_files_of_other_programs_are_blobs_too(tmp_path: Path) -> None:
    place = Place("file", tmp_path)
    (place.folder / "inbox" / "deep").mkdir(parents=True)
    (place.folder / "inbox" / "deep" / "a.csv").write_bytes(b"1,2")

    async def read(storage: Any) -> Any:
        inbox = storage.bucket("inbox")
        [info] = await inbox.list()
        return info.name, info.size, info.sha256, await inbox.get(info.name), await storage.buckets()

    assert place.in_step(read) == [("deep/a.csv", 3, None, b"1,2", ["inbox"])]
    assert (place.folder / "inbox" / "deep" / "a.csv").exists()


def test_a_blob_replaced_while_it_is_read_is_told(tmp_path: Path) -> None:
    async def read(runtime: Runtime) -> None:
        await runtime.storage.put("x", BIG)
        stream = runtime.storage.stream("x")
        assert await anext(stream) == BIG[:CHUNK_BYTES]
        await runtime.storage.put("x", b"other")
        with pytest.raises(UnknownBlob, match="replaced or deleted while it was read"):
            await anext(stream)

    Place("memory", tmp_path).outside(read)


def test_an_upload_that_its_process_left_is_swept_at_the_next_start(tmp_path: Path) -> None:
    place = Place("duckdb", tmp_path)

    async def write(runtime: Runtime) -> None:
        await runtime.storage.put("kept", BIG)

    place.outside(write)
    chunks = [Cell("chunk/default", f"ffff/{index:08}", 1, 1, data=b"x") for index in range(3)]
    place.ledger.append((), (), [Cell("upload/default", "ffff", 1, 1, "{}"), *chunks])
    assert len(place.leftovers()) == 4

    async def read(runtime: Runtime) -> Any:
        return await runtime.storage.get("kept")

    assert place.outside(read) == [BIG]
    assert place.leftovers() == []
    place.ledger.close()


def test_a_file_system_that_is_gone_is_named_and_the_step_is_tried_again(tmp_path: Path) -> None:
    place = Place("file", tmp_path)
    place.folder.write_bytes(b"a file where the folder should be")
    attempts = []

    @step(retries=RetryPolicy(max_attempts=3, base_delay="1ms"))
    async def write() -> int:
        attempts.append(1)
        if len(attempts) == 2:
            place.folder.unlink()
        await current_step().storage.put("x", b"abc")
        return len(attempts)

    @workflow(id="writes")
    async def writes(input: None) -> int:
        return await write()

    async def run() -> Any:
        async with Runtime(MemoryLedger(), workflows=[writes], services=place.services) as runtime:
            result = await (await runtime.start("writes")).result(timeout="20s")
            return result, await runtime.storage.get("x")

    assert asyncio.run(run()) == (2, b"abc")


_NAMES = st.sampled_from(["a", "b", "c/d"])
_DATA = st.one_of(st.binary(max_size=10), st.sampled_from([BIG, BIG[: CHUNK_BYTES + 1], BIG[:CHUNK_BYTES]]))
_ACTS = st.lists(
    st.one_of(
        st.tuples(st.just("put"), _NAMES, _DATA),
        st.tuples(st.just("delete"), _NAMES),
        st.tuples(st.just("copy"), _NAMES, _NAMES),
    ),
    max_size=5,
)


@settings(max_examples=25, deadline=None)
@given(attempts=st.lists(st.tuples(_ACTS, st.booleans()), max_size=4), kind=st.sampled_from(["memory", "file"]))
def test_blobs_are_what_the_steps_that_completed_made_of_them(
    attempts: Any, kind: str, tmp_path_factory: pytest.TempPathFactory
) -> None:
    place = Place(kind, tmp_path_factory.mktemp("blobs"))
    model: dict[str, bytes] = {}

    def step_of(does: Any, fails: bool) -> Act:
        async def work(storage: Any) -> None:
            mine = dict(model)
            for name, *args in does:
                if name == "put":
                    await storage.put(*args)
                    mine[args[0]] = args[1]
                elif name == "delete":
                    assert await storage.delete(args[0]) == (mine.pop(args[0], None) is not None)
                elif args[0] in mine:
                    await storage.copy(*args)
                    mine[args[1]] = mine[args[0]]
                assert {info.name: info.size for info in await storage.list()} == {k: len(v) for k, v in mine.items()}
            if fails:
                raise ValueError
            model.clear()
            model.update(mine)

        return work

    async def all_of_them(runtime: Runtime) -> None:
        for does, fails in attempts:
            ACTS.append(step_of(does, fails))
            run = await runtime.start("acts")
            assert (await run.wait(timeout="20s")).status == ("failed" if fails else "completed")
            assert {info.name: await runtime.storage.get(info.name) for info in await runtime.storage.list()} == model

    place.outside(all_of_them)
    assert place.leftovers() == []


@step(retries=0, timeout="5s")
def put_blocking() -> None:
    current_step().blocking.storage.put("cut-off", ACTS[-1])


@step(retries=0)
async def put_in_time() -> None:
    await current_step().storage.put("cut-off", ACTS[-1])


@workflow(id="puts")
async def puts(input: bool, step) -> None:
    await (put_blocking() if input else put_in_time())


@pytest.mark.parametrize("staged", [0, 1, 2], ids=["first chunk", "second chunk", "third chunk"])
@pytest.mark.parametrize("blocks", [True, False], ids=["def", "async def"])
def test_an_attempt_that_is_cut_off_while_it_writes_leaves_no_chunks(blocks: bool, staged: int) -> None:
    """A chunk is on its way when the run is cancelled; of a plain def the thread goes on."""

    async def test() -> list[str]:
        async with Runtime(MemoryLedger(), workflows=[puts]) as runtime:
            backing = runtime.kv._scope.backing
            commit, count, may_commit, is_there = backing.commit, itertools.count(), asyncio.Event(), asyncio.Event()

            async def slow(effects: Any) -> None:
                if effects.cells and next(count) == staged:
                    is_there.set()
                    await asyncio.shield(wait_and_commit(effects))
                else:
                    await commit(effects)

            async def wait_and_commit(effects: Any) -> None:  # as the engine, which goes on when nobody waits
                await may_commit.wait()
                await commit(effects)

            def spawn(work: Any) -> None:
                given_up.set()
                spawn_before(work)

            given_up, spawn_before = asyncio.Event(), backing.spawn
            backing.commit, backing.spawn = slow, spawn
            run = await runtime.start("puts", blocks)
            await is_there.wait()
            await run.cancel()
            assert (await run.wait(timeout="20s")).status == "cancelled"
            await given_up.wait()
            may_commit.set()
            await backing.close()
            return [cell.key for space in backing.cells.spaces("") for cell in backing.cells.cells(space)]

    ACTS.append(os.urandom(6 * CHUNK_BYTES))
    assert asyncio.run(test()) == []


@pytest.mark.parametrize(
    "url", ["memory://user:s3cret@host/blobs", "memory://blobs?key=s3cret", "nosuch://u:s3cret@h/x"]
)
def test_the_password_of_a_file_system_is_in_no_error(url: str) -> None:
    try:
        shown = repr(FsspecStorage(url))
    except DefinitionError as refused:
        shown = str(refused)
    assert "s3cret" not in shown
    assert url.partition(":")[0] in shown
