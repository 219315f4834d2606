"""A stopped body, shown: per branch the source with the line where it stands, and the variables there.

Knows stops and source files. Must not know how a stop came about.
"""

from __future__ import annotations

import linecache
import os
from collections.abc import Sequence
from typing import Any

from rich.console import Console
from rich.text import Text

from perdure.replay.stop import Frame, Stack, Stop

_LINES_AROUND = 3


def show_stop(shown: Console, stop: Stop) -> None:
    """Print where the body stands after an entry."""
    if stop.ending and not stop.stacks:
        shown.print(Text(f"  body      {_ended(stop)}", style="bold"), soft_wrap=True)
    for stack in stop.stacks:
        shown.print(Text(f"  body      {_headline(stack, stop)}", style="bold"), soft_wrap=True)
        for frame in stack.frames:
            _show_frame(shown, frame)


def where_it_stands(stop: Stop) -> str:
    """One line: what the body waits for, or how it ended."""
    if stop.ending:
        return f"the body {_ended(stop)}"
    places = []
    for stack in stop.stacks:
        if stack.waits_for:
            site = f" at {_site(stack.frames[-1])}" if stack.frames else ""
            places.append(f"{stack.waits_for}{site}")
    return f"the body waits for {' and '.join(places)}" if places else "the body waits"


def stop_json(stop: Stop) -> dict[str, Any]:
    """A stop as plain JSON values."""
    return {
        "replayed_to": stop.position,
        "ending": stop.ending or None,
        "error": stop.error or None,
        "stacks": [
            {
                "branch": stack.branch,
                "waits_for": stack.waits_for or None,
                "position": stack.position,
                "frames": [
                    {
                        "file": frame.file,
                        "line": frame.line,
                        "function": frame.function,
                        "source": linecache.getline(frame.file, frame.line).strip(),
                        "variables": dict(frame.variables),
                    }
                    for frame in stack.frames
                ],
            }
            for stack in stop.stacks
        ],
    }


def numbered_lines(lines: Sequence[tuple[int, str]], wanted: int) -> list[str]:
    """The lines around one of them, which is marked."""
    return [
        f"{'→' if number == wanted else ' '} {number:>4}  {text}"
        for number, text in lines
        if abs(number - wanted) <= _LINES_AROUND
    ]


def _headline(stack: Stack, stop: Stop) -> str:
    if stop.ending:
        return _ended(stop)
    branch = "" if stack.branch == "0" else f"branch {stack.branch} "
    if not stack.waits_for:
        return f"{branch}waits for other branches"
    return f"{branch}waits for {stack.waits_for}, entry {stack.position}"


def _ended(stop: Stop) -> str:
    if stop.error:
        return f"raised {stop.error}"
    return {"completed": "returned", "cancelled": "was cancelled"}.get(stop.ending, "failed")


def _show_frame(shown: Console, frame: Frame) -> None:
    shown.print(Text(f"            {_site(frame)}, in {frame.function}"), soft_wrap=True)
    lines = list(enumerate((line.rstrip("\n") for line in linecache.getlines(frame.file)), start=1))
    for line in numbered_lines(lines, frame.line):
        shown.print(Text(f"            {line}", style="bold" if line.startswith("→") else "dim"), soft_wrap=True)
    for name, value in frame.variables.items():
        shown.print(Text(f"            {name} = {value}", style="cyan"), soft_wrap=True)


def _site(frame: Frame) -> str:
    return f"{os.path.basename(frame.file)}:{frame.line}"
