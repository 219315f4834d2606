"""`perdure debug`, as a terminal shows it."""

from __future__ import annotations

import asyncio
import os
import select
import subprocess
import sys
import textwrap
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from typer.testing import CliRunner

from perdure.cli.main import app

pty = pytest.importorskip("pty")

PROMPT = "(Pdb) "
PATIENCE_S = 30

ORDERS = """\
import asyncio
from dataclasses import dataclass
from pathlib import Path
from perdure.strict import workflow, step

@dataclass
class Order:
    order_id: str

@step(retries=0)
async def charge_card(order_id: str) -> str:
    Path("charged").open("a").write(order_id + " ")
    if order_id == "declined":
        raise ValueError("no money")
    return f"charge-{order_id}"

def reserve(number):
    return number * 10

async def reserve_both(step, first):
    total = first
    one = await step.run("one", reserve, 1)
    total += one
    two = await step.run("two", reserve, 2)
    return total + two

@workflow(id="order", version="1")
async def order(input: str, step, ctx) -> str:
    charge = await charge_card(input)
    reserved = await reserve_both(step, 5)
    await step.sleep("week", "7d")
    return charge

@workflow(id="both", version="1")
async def both(input: str, step) -> list:
    async def one(name):
        return await charge_card(name)
    return list(await asyncio.gather(one("left"), one("right")))
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a ledger of an open run `open`, a failed one `failed`, and a completed one `both`."""
    folder = tmp_path_factory.mktemp("debugged")
    (folder / "orders.py").write_text(ORDERS, encoding="utf-8")
    record = """
        import asyncio, orders
        from perdure import Runtime

        async def main():
            async with Runtime("orders.duckdb", workflows=orders) as runtime:
                await (await runtime.start("order", "o1", run_id="open")).wait("sleeping", timeout="30s")
                await (await runtime.start("order", "declined", run_id="failed")).wait("failed", timeout="30s")
                await (await runtime.start("both", "x", run_id="both")).wait("completed", timeout="30s")

        asyncio.run(main())
    """
    subprocess.run([sys.executable, "-c", textwrap.dedent(record)], cwd=folder, check=True, timeout=60)
    return folder


class Terminal:
    """A command at a terminal of its own."""

    def __init__(self, folder: Path, *arguments: str) -> None:
        self._ours, theirs = pty.openpty()
        program = Path(sys.executable).parent / "perdure"
        environment = {**os.environ, "TERM": "dumb", "COLUMNS": "200", "PYTHONDONTWRITEBYTECODE": "1"}
        environment.pop("PYTHONBREAKPOINT", None)
        self._process = subprocess.Popen(
            [str(program), "debug", "orders.duckdb", *arguments, "-w", "orders.py"],
            cwd=folder, env=environment, stdin=theirs, stdout=theirs, stderr=theirs, close_fds=True,
        )  # fmt: skip
        os.close(theirs)

    def until_prompt(self) -> str:
        """What is shown up to the next prompt, or to the end."""
        shown = ""
        end = time.monotonic() + PATIENCE_S
        while not shown.endswith(PROMPT):
            ready, _, _ = select.select([self._ours], [], [], max(0.0, end - time.monotonic()))
            assert ready, f"no prompt came after {shown!r}"
            try:
                read = os.read(self._ours, 65536)
            except OSError:  # Linux says so when the other side is closed
                read = b""
            if not read:
                break
            shown += read.decode()
        return shown.replace("\r\n", "\n")

    def __call__(self, line: str) -> str:
        """Type a line; what it shows, without its echo."""
        os.write(self._ours, line.encode() + b"\n")
        return self.until_prompt().removeprefix(line).removesuffix(PROMPT).strip()

    def end(self) -> int:
        """Wait for the command's end; give its exit code."""
        return self._process.wait(PATIENCE_S)

    def close(self) -> None:
        """End it if it did not end by itself."""
        self._process.kill()
        self._process.wait()
        os.close(self._ours)


@pytest.fixture
def debug(folder: Path) -> Iterator[Callable[..., Terminal]]:
    """Open `perdure debug` at a terminal, in the folder unless told otherwise."""
    terminals: list[Terminal] = []

    def opened(*arguments: str, at: Path = folder) -> Terminal:
        terminals.append(Terminal(at, *arguments))
        return terminals[-1]

    yield opened
    for terminal in terminals:
        terminal.close()


def at(text: str, function: str) -> str:
    """How pdb names the line of the orders that has this text."""
    (number,) = (number for number, line in enumerate(ORDERS.splitlines(), start=1) if text in line)
    return f"({number}){function}()"


def charged(folder: Path) -> str:
    return (folder / "charged").read_text(encoding="utf-8")


def test_it_stops_at_the_step_with_the_bodys_variables_and_frames(debug, folder):
    terminal = debug("open", "--at", "two")
    first = terminal.until_prompt()
    line = at("two = await", "reserve_both")
    assert first == f'> {folder}/orders.py{line}\n-> two = await step.run("two", reserve, 2)\n{PROMPT}'
    assert terminal("p total, one") == "(15, 10)"
    assert at("reserved = await", "order") in terminal("up")
    assert terminal("p charge") == "'charge-o1'"
    assert terminal("up") == "*** Oldest frame"
    assert at("two = await", "reserve_both") in terminal("down")
    where = terminal("where")
    assert where.index(at("reserved = await", "order")) < where.index(at("two = await", "reserve_both"))
    assert "perdure/" not in where
    assert "runtime/" not in where
    assert terminal("p Order") == "<class 'orders.Order'>"
    assert "nothing was performed" in terminal("q")
    assert terminal.end() == 0


def test_it_steps_on_through_what_is_recorded_up_to_where_the_run_waits(debug, folder):
    terminal = debug("open", "--at", "charge_card")
    terminal.until_prompt()
    assert at("reserved = await", "order") in terminal("n")
    assert terminal("p charge") == "'charge-o1'"
    assert at("step.sleep", "order") in terminal("n")
    assert terminal("p reserved") == "35"
    assert "ends here: the body waits for sleep week at orders.py:" in terminal("n")
    assert terminal.end() == 0


def test_next_on_the_last_line_of_a_helper_goes_on_in_its_caller(debug, folder):
    terminal = debug("open", "--at", "two")
    terminal.until_prompt()
    assert at("return total + two", "reserve_both") in terminal("n")
    assert at("step.sleep", "order") in terminal("n")
    assert terminal("p reserved") == "35"
    terminal("q")
    assert terminal.end() == 0


def test_a_breakpoint_further_on_is_reached(debug, folder):
    terminal = debug("open", "--at", "0")
    assert at("charge = await", "order") in terminal.until_prompt()
    terminal(f"b {at('total += one', 'reserve_both').split(')')[0][1:]}")
    assert at("total += one", "reserve_both") in terminal("c")
    assert terminal("p one") == "10"
    assert "Left" in terminal("q")
    assert terminal.end() == 0


def test_no_step_is_ever_run_and_calling_one_says_why(debug, folder):
    before = charged(folder)
    terminal = debug("open", "--at", "charge_card")
    terminal.until_prompt()
    for line in ("charge_card('again')", "p charge_card('again')", "step.run('x', len, '')", "step.sleep(1)"):
        assert "a debugger runs no steps" in terminal(line), line
    terminal("n")
    assert at("total = first", "reserve_both") in terminal("s")
    assert "handed to a step, and a debugger runs no steps" in terminal("reserve(1)")
    terminal("c")
    assert terminal.end() == 0
    assert charged(folder) == before


def test_a_failed_run_stops_where_it_raised(debug, folder):
    terminal = debug("failed")
    assert at("charge = await", "order") in terminal.until_prompt()
    assert terminal("p input") == "'declined'"
    assert at("charge = await", "order") in terminal("w")
    assert "the body raised ValueError: no money" in terminal("c")
    assert terminal.end() == 0


def test_without_a_place_an_open_run_stops_where_it_waits(debug, folder):
    terminal = debug("open")
    assert at("step.sleep", "order") in terminal.until_prompt()
    assert terminal("p reserved") == "35"
    terminal("q")
    assert terminal.end() == 0


def test_a_branch_of_its_own_stops_at_its_own_step(debug, folder):
    terminal = debug("both", "--at", "2")  # the right branch's
    assert at("return await charge_card(name)", "one") in terminal.until_prompt()
    assert terminal("p name") == "'right'"
    branches = terminal("branches")
    assert "0.1" in branches
    assert "waits for step charge_card, entry 1" in branches
    assert "the body returned" in terminal("c")
    assert terminal.end() == 0


def test_a_body_that_changed_stops_where_it_diverges(debug, folder, tmp_path):
    for name in ("orders.duckdb",):
        (tmp_path / name).write_bytes((folder / name).read_bytes())
    changed = ORDERS.replace('step.run("one", reserve, 1)', 'step.run("uno", reserve, 1)')
    (tmp_path / "orders.py").write_text(changed, encoding="utf-8")
    terminal = debug("open", "--at", "two", at=tmp_path)
    first = terminal.until_prompt()
    assert "asked for uno, but the ledger has one there" in first
    assert at("one = await", "reserve_both") in first
    assert terminal("p first") == "5"
    assert "REPLAY201" in terminal("c")
    assert terminal.end() == 2


@pytest.mark.parametrize(
    ("name", "message"), [("nothing:Here", "can't be loaded"), ("json:JSONDecoder", "not made of pdb")]
)
def test_a_debugger_that_is_none_is_refused(folder, monkeypatch, name, message):
    monkeypatch.chdir(folder)
    monkeypatch.setattr(sys, "path", [*sys.path])
    monkeypatch.delitem(sys.modules, "orders", raising=False)
    refused = CliRunner().invoke(app, ["debug", "orders.duckdb", "open", "--debugger", name, "-w", "orders.py"])
    assert refused.exit_code == 2
    assert message in refused.stderr


def test_a_debugger_made_of_pdb_is_used(debug, folder):
    (folder / "mine.py").write_text(
        "import pdb\nclass Mine(pdb.Pdb):\n    def do_hello(self, arg):\n        self.message('good day, ' + arg)\n",
        encoding="utf-8",
    )
    terminal = debug("open", "--at", "one", "--debugger", "mine:Mine")
    terminal.until_prompt()
    assert terminal("hello you") == "good day, you"
    assert terminal("p total") == "5"
    terminal("q")
    assert terminal.end() == 0


def test_steps_can_be_called_again_after_a_debugger_looked():
    from perdure import SandboxViolation, step
    from perdure.declare.step import steps_refused

    @step
    async def plain() -> int:
        return 1

    with steps_refused(), pytest.raises(SandboxViolation, match="plain is a step"):
        plain()
    assert asyncio.run(plain()) == 1
