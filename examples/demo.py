"""The demo: a few hundred orders, a worker that is killed half-way with `kill -9`, and an account of what happened.

    python examples/demo.py                 about half a minute
    python examples/demo.py --orders 40     a quick one
    python examples/demo.py --keep          leaves the ledger for you to look at

It exits with 1 if anything is not as it claims.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from queue import Empty, Queue
from threading import Thread
from typing import Any

from account import Account
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table
from shop import Shop, serve

HERE = Path(__file__).parent
PATIENCE_S = 120  # without any news from the worker

AT_THE_KILL = """
  SELECT (SELECT list(run_id || ':' || command) FROM steps WHERE status IN ('completed', 'failed')) AS recorded,
    (SELECT count(*) FROM runs WHERE status NOT IN ('completed', 'failed', 'cancelled')) AS unfinished"""
REVENUE = """
  SELECT result.country::VARCHAR AS country, count(*) AS orders,
    sum(result.cents::BIGINT) / 100 AS revenue
  FROM steps
  WHERE name = 'charge-card'
    AND run_id NOT IN (SELECT run_id FROM steps WHERE name = 'refund-card')
  GROUP BY ALL ORDER BY revenue DESC LIMIT 5"""


class Failed(Exception):
    """The demo can't go on; the text says why."""


class Worker:
    """One worker process, and the news from it."""

    def __init__(self, ledger: Path, arguments: list[str], url: str, log: Path) -> None:
        self.log = log
        with log.open("ab") as errors:
            self.process = subprocess.Popen(
                [sys.executable, str(HERE / "worker.py"), str(ledger), str(HERE / "orders.csv"), *arguments],
                env={**os.environ, "SHOP_URL": url},
                stdout=subprocess.PIPE,
                stderr=errors,
                text=True,
                encoding="utf-8",
            )
        self._news: Queue[dict[str, Any] | None] = Queue()
        self._reader = Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        assert self.process.stdout is not None
        with self.process.stdout as lines:
            for line in lines:
                # A line that the kill cut off has no end, and is no news.
                if line.endswith("\n"):
                    self._news.put(json.loads(line))
        self._news.put(None)

    def news(self) -> Iterator[dict[str, Any]]:
        """What the worker says, until it ends."""
        while True:
            try:
                item = self._news.get(timeout=PATIENCE_S)
            except Empty:
                raise Failed(f"the worker has said nothing for {PATIENCE_S} seconds") from None
            if item is None:
                return
            yield item

    def kill(self) -> int:
        """SIGKILL: no handler, no clean-up, no goodbye. Give its exit code."""
        self.process.kill()
        return self.process.wait()

    def end(self) -> int:
        """Wait until it has ended by itself; give its exit code."""
        try:
            return self.process.wait(timeout=PATIENCE_S)
        except subprocess.TimeoutExpired:
            raise Failed("the worker said that it was done, and did not end") from None


class Bar:
    """Progress in a terminal, plain lines elsewhere."""

    def __init__(self, console: Console, total: int) -> None:
        self.console = console
        self.total = total
        self.done = 0
        self._progress = Progress(
            TextColumn("  orders ended"), BarColumn(40), MofNCompleteColumn(), TimeElapsedColumn(), console=console
        )
        self._task = self._progress.add_task("orders", total=total)

    @contextmanager
    def shown(self) -> Iterator[None]:
        if self.console.is_terminal:
            with self._progress:
                yield
        else:
            yield

    def update(self, done: int) -> None:
        tenth_before, self.done = self.done * 10 // self.total, done
        self._progress.update(self._task, completed=done)
        if not self.console.is_terminal and done * 10 // self.total > tenth_before:
            self.console.print(f"  orders ended: {done} of {self.total}")


class Demo:
    """The story in its order."""

    def __init__(self, console: Console, folder: Path, shop: Shop, url: str, arguments: argparse.Namespace) -> None:
        self.console = console
        self.ledger = folder / "orders.duckdb"
        self.log = folder / "worker.log"
        self.url = url
        self.total: int = arguments.orders
        self.options = ["--count", str(arguments.orders), "--pace", str(arguments.pace)]
        self.account = Account(shop)
        self.bar = Bar(console, self.total)

    def tell(self) -> bool:
        """Tell it; True when everything was as claimed."""
        self.console.rule("[bold]a worker takes orders, and is killed[/]", align="left")
        self.until_killed()
        self.console.rule("[bold]the worker is started again[/]", align="left")
        self.until_done()
        self.console.rule("[bold]what became of the orders[/]", align="left")
        self.show_outcomes()
        self.console.rule("[bold]what the shop counted[/]", align="left")
        as_claimed = self.show_account()
        self.console.rule("[bold]the ledger[/]", align="left")
        return self.show_ledger() and as_claimed

    def until_killed(self) -> None:
        with self.working() as worker:
            with self.bar.shown():
                for news in worker.news():
                    self.take(news)
                    if self.bar.done >= self.total // 2:
                        break
                else:
                    raise Failed(f"the worker ended early, with exit code {worker.end()}")
                code = worker.kill()
            if os.name == "posix" and code != -9:
                raise Failed(f"the worker was to die of SIGKILL, but its exit code is {code}")
        self.console.print(f"  [red]kill -9 {worker.process.pid}[/]  the worker is gone, in the middle of its work")
        (found,) = self.sql(AT_THE_KILL)
        recorded, unfinished = set(found["recorded"] or ()), found["unfinished"]
        self.account.killed(f"worker/{worker.process.pid}", recorded)
        self.console.print(
            f"  in the ledger: {len(recorded)} finished steps, and {unfinished} runs that are not at their end"
        )
        if not unfinished:
            raise Failed("the kill was to find runs at work, and found none")

    def until_done(self) -> None:
        with self.working() as worker:
            with self.bar.shown():
                for news in worker.news():
                    self.take(news)
            code = worker.end()
            if code != 0:
                raise Failed(f"the worker ended with exit code {code}")
        self.console.print("  every run went on where it was: nothing in the worker's code looks for a crash")

    @contextmanager
    def working(self) -> Iterator[Worker]:
        worker = Worker(self.ledger, self.options, self.url, self.log)
        try:
            yield worker
        finally:
            worker.kill()

    def take(self, news: dict[str, Any]) -> None:
        if news["event"] == "open":
            self.console.print(f"  worker {news['pid']} is at work")
        elif news["event"] == "ended":
            self.account.ended(news["order_id"], news["outcome"] or f"{news['status']}: {news['error']}")
            self.bar.update(len(self.account.outcomes))

    def show_outcomes(self) -> None:
        table = Table(box=None, padding=(0, 2))
        table.add_column("outcome")
        table.add_column("orders", justify="right")
        for outcome, count in self.account.counted():
            table.add_row(outcome, str(count))
        self.console.print(table)

    def show_account(self) -> bool:
        claims = self.account.claims(self.total, self.log.read_text(encoding="utf-8"))
        for claim in claims:
            mark = "[green]✓[/]" if claim.holds else "[bold red]✗[/]"
            self.console.print(f"  {mark} {claim.text}", highlight=False)
        return all(claim.holds for claim in claims)

    def show_ledger(self) -> bool:
        size = sum(file.stat().st_size for file in self.ledger.parent.glob("orders.duckdb*") if file.is_file())
        entries = self.sql("SELECT count(*) AS count FROM entries")[0]["count"]
        self.console.print(f"  {entries} entries in {size / 1e6:.1f} MB\n")
        self.say_command(f'perdure sql orders.duckdb "{REVENUE}"')
        shown = self.command("perdure", "sql", self.ledger, REVENUE)
        self.console.print(shown.stdout.rstrip() + "\n", highlight=False, markup=False)
        if shown.returncode != 0:
            raise Failed(f"the query failed:\n{shown.stderr}")
        self.say_command("replay-check orders.duckdb --workflows examples/fulfillment.py")
        checked = self.command("replay-check", self.ledger, "--workflows", HERE / "fulfillment.py")
        self.console.print((checked.stdout + checked.stderr).rstrip(), highlight=False, markup=False)
        return checked.returncode == 0

    def say_command(self, text: str) -> None:
        self.console.print(f"[bold]$[/] {text}", highlight=False)

    def sql(self, query: str) -> list[dict[str, Any]]:
        answered = self.command("perdure", "sql", self.ledger, query, "--json")
        if answered.returncode != 0:
            raise Failed(f"a query failed:\n{answered.stderr}")
        rows: list[dict[str, Any]] = json.loads(answered.stdout)
        return rows

    def command(self, name: str, *arguments: object) -> subprocess.CompletedProcess[str]:
        """Run one of Perdure's commands, as you would."""
        program = shutil.which(name, path=str(Path(sys.executable).parent)) or name
        return subprocess.run(
            [program, *map(str, arguments)],
            capture_output=True,
            text=True,
            encoding="utf-8",
            env={**os.environ, "COLUMNS": str(self.console.width)},
        )


def opening(console: Console, folder: Path, url: str, total: int) -> None:
    console.print(f"[bold]Perdure[/]: {total} orders, each a durable workflow (examples/fulfillment.py)")
    console.print(f"  shop    {url}, slow, and now and then it answers 503", highlight=False)
    console.print(f"  ledger  {folder / 'orders.duckdb'}\n", highlight=False, soft_wrap=True)


def run(arguments: argparse.Namespace, console: Console) -> int:
    folder = Path(tempfile.mkdtemp(prefix="perdure-demo-"))
    began = time.monotonic()
    try:
        with serve() as (shop, url):
            opening(console, folder, url, arguments.orders)
            demo = Demo(console, folder, shop, url, arguments)
            as_claimed = demo.tell()
        verdict = "[green]All as claimed[/]" if as_claimed else "[bold red]Something is not as claimed[/]"
        console.print(f"\n{verdict}, after {time.monotonic() - began:.0f} seconds.", highlight=False)
        return 0 if as_claimed else 1
    except Failed as failed:
        console.print(f"\n[bold red]The demo failed:[/] {failed}", highlight=False)
        log = folder / "worker.log"
        if log.exists():
            console.print("\n".join(log.read_text(encoding="utf-8").splitlines()[-20:]), highlight=False, markup=False)
        return 1
    except KeyboardInterrupt:
        console.print("\nStopped; the worker is ended and the folder removed.")
        return 130
    finally:
        if arguments.keep:
            console.print(f"Kept: {folder}", highlight=False, soft_wrap=True)
        else:
            shutil.rmtree(folder, ignore_errors=True)


def main() -> int:
    parser = argparse.ArgumentParser(description="A worker is killed half-way through its orders; nothing is lost.")
    parser.add_argument("--orders", type=_count, default=240, help="how many orders to take (10 to 240)")
    parser.add_argument("--pace", type=float, default=0.03, help="seconds between two orders")
    parser.add_argument("--keep", action="store_true", help="leave the ledger and the worker's log")
    console = Console() if sys.stdout.isatty() else Console(width=110)
    return run(parser.parse_args(), console)


def _count(text: str) -> int:
    if not 10 <= int(text) <= 240:
        raise argparse.ArgumentTypeError("from 10 to 240")
    return int(text)


if __name__ == "__main__":
    sys.exit(main())
