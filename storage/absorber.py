"""A thread that has the journal absorbed into the columns, soon after there is something and never all the time.

This file knows when. It must not know what absorbing is.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Final

from perdure.errors import LedgerError

#: How long batches are gathered; a reader of the columns does not wait for it, since it absorbs first.
GATHER_S: Final = 0.25
_RETRY_S: Final = 1.0


class Absorber:
    """Calls `absorb` in a thread of its own."""

    def __init__(self, absorb: Callable[[], None], gather_s: float = GATHER_S) -> None:
        self._absorb = absorb
        self._gather_s = gather_s
        self._wanted = threading.Event()
        self._at_once = threading.Event()
        self._stopped = False
        self._thread = threading.Thread(target=self._work, name="perdure-absorber", daemon=True)
        self._thread.start()

    def wake(self, at_once: bool) -> None:
        """Say that there is something to absorb. Costs next to nothing when it was said already."""
        if not self._wanted.is_set():
            self._wanted.set()
        if at_once and not self._at_once.is_set():
            self._at_once.set()

    def stop(self) -> None:
        """End the thread, when it is done with what it is doing."""
        self._stopped = True
        self._at_once.set()
        self._wanted.set()
        self._thread.join()

    def _work(self) -> None:
        pause = self._gather_s
        while True:
            self._wanted.wait()
            self._at_once.wait(pause)
            if self._stopped:
                return
            self._wanted.clear()
            self._at_once.clear()
            try:
                self._absorb()
                pause = self._gather_s
            except LedgerError:
                # Nothing is lost: the journal keeps it. Tried again here, and whoever absorbs in the foreground (a
                # query, a batch for a journal that has grown too long, the next start) gets the error.
                pause = _RETRY_S
                self._wanted.set()
