"""What a worker prints while it works, from a thread of its own: a slow terminal must not slow the engine.

    engine, log ──► queue, bounded ──► thread: lines for people under which a live line stays, or JSON lines

Knows streams and terminals. Must not know what lines say (`lines.py`).
"""

from __future__ import annotations

import contextlib
import io
import logging
import os
import queue
import sys
import threading
from collections.abc import Iterator
from typing import Any, Final, Literal, TextIO, TypeAlias

from rich.console import Console
from rich.live import Live
from rich.table import Table
from rich.text import Text

from perdure.cli.activity import TellingHandler, Told
from perdure.cli.lines import json_line, json_of, line_of, told_when_quiet
from perdure.cli.output import console

Form: TypeAlias = Literal["text", "json"]

#: Beyond it nobody keeps up with reading, and what comes is counted instead of kept.
_WAITING_MAX: Final = 200_000
#: On a terminal, of what came at once, only the newest lines are worth the time that printing them takes.
_AT_ONCE_MAX: Final = 200
_CLOSED_WITHIN_S: Final = 5.0
_INDENT: Final = "  "  # of what stands below a title


class Feed:
    """Prints what it is told, in order.

    Args:
        form: lines for people, or for machines.
        quiet: of activity, only what went wrong.
        silent: nothing at all, for who wants one document at the end.
    """

    def __init__(self, form: Form, *, quiet: bool = False, silent: bool = False) -> None:
        self.form = form
        self.quiet = quiet
        self.silent = silent
        self.width = 0  # of the longest name of a workflow
        self._waiting: queue.SimpleQueue[Told | Text | str | None] = queue.SimpleQueue()
        self._lost = 0
        self._live: Live | None = None
        self._live_line: Text | None = None
        self._out: TextIO = sys.stdout
        self._console: Console = console()
        self._thread = threading.Thread(target=self._print_all, name="perdure-feed", daemon=True)

    @contextlib.contextmanager
    def opened(self) -> Iterator[Feed]:
        """Print for as long as the block lasts, and what is left at its end."""
        with contextlib.ExitStack() as stack:
            if self.form == "json":
                self._out = stack.enter_context(own_stdout())
            elif not sys.stdout.isatty():  # on a terminal the live display does this
                lines = WholeLines(sys.stdout)
                stack.callback(lines.close)  # while there is something to pass on to; else its end would try, and fail
                stack.enter_context(contextlib.redirect_stdout(lines))
            self._console = console()
            self._console.soft_wrap = True
            if self.form == "text" and self._console.is_terminal and not self.quiet and not self.silent:
                self._live = stack.enter_context(Live(console=self._console, transient=True, auto_refresh=False))
            stack.enter_context(self._taking_the_log())
            self._thread.start()
            try:
                yield self
            finally:
                self.close()

    def close(self) -> None:
        """Print what is left, unless whoever reads has stopped reading."""
        self._waiting.put(None)
        self._thread.join(_CLOSED_WITHIN_S)

    @property
    def is_live(self) -> bool:
        """Whether there is a line that shows how things stand."""
        return self._live is not None

    # ── from any thread ──────────────────────────────────────────────────────────────────────────

    def tell(self, told: Told) -> None:
        """Print activity, or a line of a log."""
        if self.silent or (self.quiet and not told_when_quiet(told)):
            return
        if self._waiting.qsize() < _WAITING_MAX:
            self._waiting.put(told)
        else:
            self._lost += 1

    def say(self, text: Text | str, event: str, at: int, **facts: Any) -> None:
        """Say something of the worker itself: the text to people, the event with its facts to machines."""
        if self.form == "json":
            self._waiting.put(json_line(event, at, **facts))
        elif not self.quiet and not self.silent:
            self._waiting.put(text if isinstance(text, Text) else Text(text))

    def say_table(self, title: str, shown: Table) -> None:
        """Say a table to people; machines are told by an event."""
        if self.form == "text":
            width = self._console.width - len(_INDENT) if self._console.is_terminal else 10_000
            rendered = Console(file=io.StringIO(), width=width)
            with rendered.capture() as captured:
                rendered.print(shown)
            lines = [title, *(_INDENT + line.rstrip() for line in captured.get().splitlines())]
            self.say(Text("\n".join(lines)), "", 0)

    def show(self, line: Text) -> None:
        """Change the live line."""
        self._live_line = line
        self._waiting.put(_REFRESH)

    # ── on its own thread ────────────────────────────────────────────────────────────────────────

    def _print_all(self) -> None:
        write = self._write_json if self.form == "json" else self._write_text
        ended = False
        while not ended:
            batch = [self._waiting.get()]
            with contextlib.suppress(queue.Empty):
                while len(batch) < _WAITING_MAX:
                    batch.append(self._waiting.get_nowait())
            ended = None in batch
            try:
                write([each for each in batch if each is not None and each is not _REFRESH])
            except (OSError, ValueError):  # nobody reads any more; the work goes on without being seen
                return

    def _write_json(self, batch: list[Any]) -> None:
        lines = [each if isinstance(each, str) else json_of(each) for each in batch]
        lost, self._lost = self._lost, 0
        if lost:
            lines.append(f'{{"event": "lines_lost", "count": {lost}}}')
        self._out.write("".join(f"{line}\n" for line in lines))
        self._out.flush()

    def _write_text(self, batch: list[Any]) -> None:
        lines = [each if isinstance(each, Text) else line_of(each, self.width) for each in batch]
        news = [line for line in lines if line is not None]
        lost, self._lost = self._lost, 0
        if self._live is not None and len(news) > _AT_ONCE_MAX:
            lost += len(news) - _AT_ONCE_MAX
            news = news[-_AT_ONCE_MAX:]
        if lost:
            news.insert(0, Text(f"… {lost:,} lines passed too quickly to be shown; --log json has them", "dim"))
        if self._console.is_terminal:
            if news:
                self._console.print(Text("\n").join(news), soft_wrap=True)
            if self._live is not None and self._live_line is not None:
                self._live.update(self._live_line, refresh=True)
        else:
            self._console.file.write("".join(f"{line.plain}\n" for line in news))
            self._console.file.flush()

    @contextlib.contextmanager
    def _taking_the_log(self) -> Iterator[None]:
        """Take the records of `logging`, unless the user's modules have said where they go."""
        root, ours = logging.getLogger(), logging.getLogger("perdure.run")  # what bodies write
        if root.handlers and self.form == "text":
            yield
            return
        taking = TellingHandler(self.tell)
        level = ours.level
        root.addHandler(taking)
        if level == logging.NOTSET:
            ours.setLevel(logging.INFO)
        try:
            yield
        finally:
            root.removeHandler(taking)
            ours.setLevel(level)


_REFRESH: Final = Text("")


class WholeLines(io.TextIOBase):
    """A stream that several threads print to, and that passes on whole lines: `print` writes a line in two parts."""

    def __init__(self, out: TextIO) -> None:
        self._out = out
        self._begun = threading.local()

    def write(self, text: str) -> int:
        """Take text; its last line is kept until it ends."""
        begun = getattr(self._begun, "text", "") + text
        end = begun.rfind("\n") + 1
        self._begun.text = begun[end:]
        if end:
            self._out.write(begun[:end])
        return len(text)

    def flush(self) -> None:
        """Pass on what there is, also a line that has not ended: whoever flushes wants it seen."""
        begun, self._begun.text = getattr(self._begun, "text", ""), ""
        if begun:
            self._out.write(begun)
        self._out.flush()

    def close(self) -> None:
        """Pass on what there is for the last time; what it passes on to stays open."""
        with contextlib.suppress(OSError):  # whoever reads has stopped reading
            super().close()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._out, name)


@contextlib.contextmanager
def own_stdout() -> Iterator[TextIO]:
    """Have standard output for oneself; whatever else writes to it, `print` and child processes too, gets to stderr."""
    shared = sys.stdout
    try:
        number = shared.fileno()
    except (OSError, ValueError):  # it is no file, as under a test
        with contextlib.redirect_stdout(sys.stderr):
            yield shared
        return
    sys.stdout.flush()
    kept = os.dup(number)
    own = os.fdopen(os.dup(number), "w", encoding="utf-8", errors="backslashreplace")
    os.dup2(sys.stderr.fileno(), number)
    try:
        yield own
    finally:
        sys.stdout.flush()
        with contextlib.suppress(OSError):
            own.close()
        os.dup2(kept, number)
        os.close(kept)
