"""A wall clock beside the fuel: it ends a body that is stuck where fuel is not counted.

Fuel sees loop rounds and calls. It doesn't see what happens inside one C call: a regular expression that backtracks for
a year, `10**10**10`, `x in some_endless_iterator`. A daemon thread looks at the clock now and then, and when one
activation took too long it throws `BudgetExceeded` into the thread.

What it can't stop: CPython delivers the exception only when bytecode runs again, so a single C call that never returns
is not interrupted, and memory that one call allocates is not limited. A process with limits does that.

This file knows seconds and threads. It must not know bodies, nor fuel.
"""

from __future__ import annotations

import ctypes
import sys
import threading
import time
from typing import Final

from perdure.errors import BudgetExceeded

DEFAULT_SECONDS: Final = 10.0

# Looked up here, because the lookup is an audited event and `end` runs where those are refused.
_throw_into = ctypes.pythonapi.PyThreadState_SetAsyncExc
_throw_into.argtypes = (ctypes.c_ulong, ctypes.c_void_p)


class OutOfTime(BudgetExceeded):
    """What the watchdog throws: CPython makes the instance without arguments, so the text is here."""

    def __init__(self, *_: object) -> None:
        super().__init__(
            "the body ran longer than the watchdog allows between two waits.",
            why="one activation of a body may only take moments; nothing else can run meanwhile",
            fix='move the work into a step: `await step.run("name", …)`',
        )


class Watchdog:
    """Watches one activation at a time; `begin` and `end` only store numbers, a thread does the rest."""

    def __init__(self, seconds: float = DEFAULT_SECONDS) -> None:
        self.seconds = seconds  # wall-clock limit of one activation; 0 or less: no limit
        self._began = 0.0  # 0: nobody is inside
        self._again = False  # whether what is inside went through a wait since the patrol last looked
        self._thread = 0  # identity of the thread that is inside
        self._thrown = False
        self._lock = threading.Lock()
        self._patrol: threading.Thread | None = None

    def begin(self) -> None:
        """Note that this thread enters a body."""
        self._thread = threading.get_ident()
        self._began = time.monotonic()
        if self._patrol is None:
            self._start()

    def again(self) -> None:
        """Give what is inside its whole time anew: a replay walks through many waits in one activation."""
        self._again = True  # the patrol looks at the clock: every step of a replay comes here

    def end(self) -> bool:
        """Note that the thread has left the body; nothing is thrown into it any more. Tell whether anything was."""
        late = False
        while self._began:
            try:
                with self._lock:
                    self._began = 0.0
                if self._thrown:
                    late, self._thrown = True, False
                    for _ in range(3):  # what is under way arrives when code jumps backwards: here, and nowhere later
                        pass
            except OutOfTime:
                late = True
        return late

    def _start(self) -> None:
        with self._lock:
            if self._patrol is None:
                self._patrol = threading.Thread(target=self._watch, name="perdure-watchdog", daemon=True)
                self._patrol.start()

    def _watch(self) -> None:
        while True:
            # A tenth of the limit: late by that much at most, and a sleeping patrol costs nothing.
            time.sleep(min(1.0, max(0.01, self.seconds / 10)) if self.seconds > 0 else 1.0)
            if self._again:
                with self._lock:
                    self._again = False
                    if self._began:
                        self._began = time.monotonic()
            elif self._is_late():
                with self._lock:
                    # Again and again until the body has left: a task keeps what is thrown while it runs, and the loop
                    # goes on with the next one.
                    if self._is_late() and _is_in_body(self._thread):
                        _throw_into(self._thread, id(OutOfTime))
                        self._thrown = True

    def _is_late(self) -> bool:
        return self._began > 0 and self.seconds > 0 and time.monotonic() - self._began > self.seconds


def _is_in_body(thread: int) -> bool:
    """Tell whether a thread is in restricted code, or in what that called, and not in code of ours around it."""
    frame = sys._current_frames().get(thread)
    while frame is not None:
        if "%realm" in frame.f_globals:
            return True
        if frame.f_globals.get("__name__", "").startswith("perdure."):
            return False
        frame = frame.f_back
    return False


_watchdog = Watchdog()
begin = _watchdog.begin
again = _watchdog.again
end = _watchdog.end


def limit(seconds: float) -> float:
    """Set the wall-clock limit of one activation in seconds and return the former one; 0 switches it off."""
    former, _watchdog.seconds = _watchdog.seconds, seconds
    return former
