"""Where in the user's code a command was asked for: `orders.py:42`."""

from __future__ import annotations

import functools
import os
import sys
from types import CoroutineType
from typing import Any

_OURS = ("perdure.", "asyncio")
_LOOP = "perdure.core.loop"


@functools.lru_cache(maxsize=256)
def _file(filename: str) -> str:
    """The name that people know a file by; recorded code has a stamp behind it, `orders.py@1f2e3d4c`."""
    return os.path.basename(filename).partition(".py@")[0] + ".py" if ".py@" in filename else os.path.basename(filename)


def site() -> str:
    """Name the innermost line that is neither Perdure's nor asyncio's; empty when there is none."""
    frame = sys._getframe(1)
    while frame is not None:
        module = frame.f_globals.get("__name__", "")
        if module == _LOOP and frame.f_code.co_name == "run_ready":
            break  # a task of its own, whose maker is not on the stack; what called the machine is no line of the body
        if not (isinstance(module, str) and module.startswith(_OURS)):
            return f"{_file(frame.f_code.co_filename)}:{frame.f_lineno}"
        back = frame.f_back
        if back is None:
            break
        frame = back
    return ""


def line_of(function: object) -> str:
    """Name the line on which a function of the body begins; empty when it has none."""
    code = getattr(getattr(function, "__func__", function), "__code__", None)
    return "" if code is None else f"{_file(code.co_filename)}:{code.co_firstlineno}"


def waiting_site(coroutine: Any) -> str:
    """Name the innermost line of the user's at which a coroutine waits; empty when there is none."""
    found = ""
    while isinstance(coroutine, CoroutineType) and coroutine.cr_frame is not None:
        frame = coroutine.cr_frame
        if str(frame.f_globals.get("__name__", "")).startswith(_OURS):
            break
        found = f"{_file(frame.f_code.co_filename)}:{frame.f_lineno}"
        coroutine = coroutine.cr_await
    return found
