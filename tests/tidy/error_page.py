"""Runs the examples of docs/errors.md: code in, the printed error out.

Knows how the page is laid out and how to bring about what a block of code can't (a crash, a full disk, a newer file).
`python tests/tidy/error_page.py` writes the page's messages anew; read the difference before you keep it.
"""

from __future__ import annotations

import asyncio
import errno
import importlib
import linecache
import logging
import os
import re
import sys
import warnings
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from types import ModuleType
from typing import Any
from unittest import mock

import duckdb

from perdure import MemoryLedger, Runtime
from perdure.declare.discovery import find_workflows
from perdure.storage.duckdb_ledger import DuckDBLedger
from perdure.storage.encoding import decode, encode

PAGE = Path(__file__).resolve().parents[2] / "docs" / "errors.md"
HEADING = re.compile(r"^## ([A-Z]+\d+) (\w+)$", re.MULTILINE)
MODULE = "orders"


@dataclass(frozen=True)
class Section:
    """One error of the page: its code and class, its blocks of Python, and the message that it shows."""

    code: str
    name: str
    blocks: tuple[str, ...]
    shown: str | None


def sections(text: str) -> list[Section]:
    """Cut the page at its headings that carry a code."""
    found = []
    marks = list(HEADING.finditer(text))
    for index, mark in enumerate(marks):
        stop = marks[index + 1].start() if index + 1 < len(marks) else len(text)
        part = re.split(r"^# (?=[A-Z])", text[mark.end() : stop], maxsplit=1, flags=re.MULTILINE)[0]
        blocks = tuple(re.findall(r"^```python\n(.*?)^```$", part, re.MULTILINE | re.DOTALL))
        shown = re.search(r"^```text\n(.*?)^```$", part, re.MULTILINE | re.DOTALL)
        found.append(Section(mark[1], mark[2], blocks, shown[1] if shown else None))
    return found


def printed(section: Section, folder: Path) -> str:
    """Provoke a section's error in `folder`, and give the text of it."""
    error = provoke(section, folder)
    text = str(error)
    if isinstance(error, Warning):
        text = f"{type(error).__name__}: {text}"
    text = text.replace(f"{folder}{os.sep}", "/srv/").replace(str(folder), "/srv")
    text = re.sub(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\dZ", "2030-01-01 00:00:00Z", text)
    return re.sub(rf"(process )?\b{os.getpid()}\b", r"\g<1>4711", text) + "\n"


def provoke(section: Section, folder: Path) -> BaseException:
    """Bring about a section's error: the one of its class in the chain of what was raised."""
    act = ACTS.get(section.code, _play)
    try:
        with _inside(folder):
            act(section, folder)
    except Exception as error:  # noqa: BLE001  # whatever came is what the page is compared with
        return _of_class(error, section.name)
    raise AssertionError(f"the example of {section.code} raised nothing")


def _of_class(error: BaseException, name: str) -> BaseException:
    each: BaseException | None = error
    while each is not None:
        if any(base.__name__ == name for base in type(each).__mro__[:2]):
            return each
        each = each.__cause__
    raise AssertionError(f"no {name} came, but {error!r}") from error


# ── running a block ──────────────────────────────────────────────────────────────────────────────


@contextmanager
def _inside(folder: Path) -> Iterator[None]:
    outer = Path.cwd()
    os.chdir(folder)
    sys.path.insert(0, str(folder))
    try:
        yield
    finally:
        sys.path.remove(str(folder))
        sys.modules.pop(MODULE, None)
        os.chdir(outer)


def load(source: str, folder: Path) -> ModuleType:
    """Import a block as `orders.py`."""
    (folder / f"{MODULE}.py").write_text(source, encoding="utf-8")
    sys.modules.pop(MODULE, None)
    importlib.invalidate_caches()
    linecache.checkcache()
    sys.dont_write_bytecode, before = True, sys.dont_write_bytecode  # a second block may have the same size and second
    try:
        return importlib.import_module(MODULE)
    finally:
        sys.dont_write_bytecode = before


def _play(section: Section, folder: Path) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        module = load(section.blocks[0], folder)
        call: Callable[[Runtime], Awaitable[Any]] = getattr(module, "caller", _run_last(module))
        asyncio.run(_with_runtime(module, call))


def _run_last(module: ModuleType) -> Callable[[Runtime], Awaitable[Any]]:
    async def run(runtime: Runtime) -> Any:
        handle = await runtime.start(find_workflows(module)[-1], run_id="o-1")
        return await handle.result(timeout="20s")

    return run


async def _with_runtime(module: ModuleType, call: Callable[[Runtime], Awaitable[Any]], ledger: Any = None) -> Any:
    ledger = MemoryLedger() if ledger is None else ledger
    async with Runtime(ledger, workflows=find_workflows(module), drain="1s") as runtime:
        return await call(runtime)


# ── what a block of code can't do ────────────────────────────────────────────────────────────────

TRIVIAL = """\
from perdure.strict import workflow

@workflow(id="a")
async def a(input: None, step) -> None:
    pass
"""

INTERRUPTED = """\
import asyncio
from perdure.strict import workflow

started = asyncio.Event()

async def send_receipt() -> None:
    started.set()
    await asyncio.Event().wait()

@workflow(id="order")
async def order(input: None, step) -> None:
    await step.run("receipt", send_receipt, delivery="at_most_once")
"""


def _value_unreadable(section: Section, folder: Path) -> None:
    encoded = encode({"receipt": load(section.blocks[0], folder).Receipt(number="R-1")})
    load(section.blocks[1], folder)
    decode(encoded.body, encoded.shape)


def _interrupted(section: Section, folder: Path) -> None:
    """Stop while the step is at work, and open the ledger again."""
    module = load(INTERRUPTED, folder)
    ledger = MemoryLedger()

    async def cut_off(runtime: Runtime) -> None:
        await runtime.start("order", run_id="o-1")
        await module.started.wait()

    async def resumed(runtime: Runtime) -> Any:
        return await runtime.handle("o-1").result(timeout="20s")

    async def both() -> None:
        with _silent():  # it warns that it cuts off steps
            async with Runtime(ledger, workflows=[module.order], drain=0) as runtime:
                await cut_off(runtime)
        await _with_runtime(module, resumed, ledger)

    asyncio.run(both())


def _diverged(section: Section, folder: Path) -> None:
    recorded, replayed = section.blocks
    ledger = MemoryLedger()
    module = load(recorded, folder)
    asyncio.run(_with_runtime(module, _run_last(module), ledger))

    async def replay(runtime: Runtime) -> None:
        verdict = await runtime.handle("o-1").replay()
        assert verdict.divergence is not None, "the replay agreed"
        raise verdict.divergence

    asyncio.run(_with_runtime(load(replayed, folder), replay, ledger))


def _too_new(section: Section, folder: Path) -> None:
    DuckDBLedger(folder / "orders.duckdb").close()
    with duckdb.connect(folder / "orders.duckdb") as database:
        database.execute("UPDATE _ledger.meta SET value = '99' WHERE key = 'schema'")
    DuckDBLedger(folder / "orders.duckdb").close()


def _full(section: Section, folder: Path) -> None:
    """A disk without room, as the operating system tells of it."""
    module = load(TRIVIAL, folder)

    def no_room(*_: object) -> int:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    async def start_without_room(runtime: Runtime) -> None:
        with mock.patch.object(os, "pwrite", no_room):
            await runtime.start("a", run_id="o-1")

    with _silent():
        asyncio.run(_with_runtime(module, start_without_room, folder / "orders.duckdb"))


def _bug(section: Section, folder: Path) -> None:
    """A ledger that gives up with an error of no family stops the engine."""

    class Broken(MemoryLedger):
        def append(self, entries: Any, definitions: Any = (), cells: Any = ()) -> None:
            raise KeyError("position")

    module = load(TRIVIAL, folder)
    with _silent():
        asyncio.run(_with_runtime(module, _run_last(module), Broken()))


@contextmanager
def _silent() -> Iterator[None]:
    logger = logging.getLogger("perdure")
    logger.setLevel(logging.CRITICAL + 1)
    try:
        yield
    finally:
        logger.setLevel(logging.NOTSET)


ACTS: dict[str, Callable[[Section, Path], None]] = {
    "VAL102": _value_unreadable,
    "STEP203": _interrupted,
    "REPLAY201": _diverged,
    "LEDGER103": _too_new,
    "LEDGER104": _full,
    "BUG101": _bug,
}

# ── the anti-patterns ────────────────────────────────────────────────────────────────────────────

HEAD = """\
import asyncio, os, secrets, sqlite3, subprocess, threading, time, urllib.request
from perdure.strict import workflow

counters = {"seen": 0}
limit = 3

async def ping() -> str:
    return "pong"

def use(thing: object) -> None:
    pass

def fall(depth):
    return fall(depth + 1)

@workflow(id="tried", max_ops=100_000)
async def tried(input: None, step, ctx) -> None:
"""


def anti_patterns(text: str) -> list[tuple[str, str, str]]:
    """The rows of the page's last table: name, line of code, code of the error."""
    part = text.split("\n# Anti-patterns\n")[1]
    return re.findall(r"^\| ([^|]+) \| `([^|]+)` \| (\w+) \|$", part, re.MULTILINE)


def try_line(line: str, folder: Path) -> BaseException | None:
    """Run one line as a body; give what came of it."""
    with _inside(folder):
        try:
            module = load(f"{HEAD}    {line}\n", folder)
            asyncio.run(_with_runtime(module, _run_last(module)))
        except Exception as error:  # noqa: BLE001  # what came is the answer
            return error.__cause__ or error
    return None


def rewrite() -> None:
    """Write what is really printed into the page."""
    text = PAGE.read_text(encoding="utf-8")
    for section in sections(text):
        if section.shown is None:
            continue
        with TemporaryDirectory() as folder:
            message = printed(section, Path(folder).resolve())
        head = f"## {section.code} {section.name}\n"
        before, after = text.split(head)
        block = re.compile(r"^```text\n.*?^```$", re.MULTILINE | re.DOTALL)
        text = before + head + block.sub(lambda _, message=message: f"```text\n{message}```", after, count=1)
    PAGE.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    rewrite()
