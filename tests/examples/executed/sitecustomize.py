"""Notes which lines of a folder's programs are executed, in a Python that is started with this folder on its path.

Python imports a module of this name before anything else. `EXECUTED_IN` is the folder whose lines count, `EXECUTED_TO`
where to write them, as `name:line`. Only `python program.py` is traced: commands would become slow for nothing.
"""

from __future__ import annotations

import atexit
import os
import sys
import threading
from types import FrameType
from typing import Any

FOLDER = os.environ["EXECUTED_IN"]
seen: set[tuple[str, int]] = set()


def calls(frame: FrameType, event: str, argument: object) -> Any:
    return lines(frame, event, argument) if frame.f_code.co_filename.startswith(FOLDER) else None


def lines(frame: FrameType, event: str, argument: object) -> Any:
    if event == "line":
        seen.add((os.path.basename(frame.f_code.co_filename), frame.f_lineno))
    return lines


def write() -> None:
    with open(os.path.join(os.environ["EXECUTED_TO"], f"{os.getpid()}.lines"), "w", encoding="utf-8") as file:
        file.writelines(f"{name}:{line}\n" for name, line in seen)


if sys.orig_argv[1].endswith(".py"):
    sys.settrace(calls)
    threading.settrace(calls)
    atexit.register(write)
