"""Commands as processes whose lines a test waits for. No test sleeps: a line says that something has happened."""

from __future__ import annotations

import os
import queue
import subprocess
import sys
import threading
import time
from pathlib import Path

WITHIN_S = 40


class Running:
    """A command at work; what it prints, stderr too, is read as it comes."""

    def __init__(self, folder: Path, *command: str) -> None:
        environment = {**os.environ, "COLUMNS": "200", "PYTHONUNBUFFERED": "1"}
        self.process = subprocess.Popen(
            [str(Path(sys.executable).parent / command[0]), *command[1:]],
            cwd=folder, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL,
            text=True, encoding="utf-8",
        )  # fmt: skip
        self.lines: list[str] = []
        self._coming: queue.SimpleQueue[str | None] = queue.SimpleQueue()
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        assert self.process.stdout is not None
        with self.process.stdout as lines:
            for line in lines:
                self._coming.put(line.rstrip("\n"))
        self._coming.put(None)

    def until(self, text: str) -> str:
        """Wait for the next line that has this text."""
        end = time.monotonic() + WITHIN_S
        while True:
            try:
                line = self._coming.get(timeout=max(0.0, end - time.monotonic()))
            except queue.Empty:
                raise AssertionError(f"{text!r} did not come:\n" + "\n".join(self.lines)) from None
            if line is None:
                raise AssertionError(f"it ended without {text!r}:\n" + "\n".join(self.lines))
            self.lines.append(line)
            if text in line:
                return line

    def ended(self) -> int:
        """Wait for its end; give its exit code."""
        code = self.process.wait(WITHIN_S)
        self._reader.join(WITHIN_S)
        while (line := self._coming.get()) is not None:
            self.lines.append(line)
        return code

    @property
    def text(self) -> str:
        """All that was read so far."""
        return "\n".join(self.lines)

    def close(self) -> None:
        """End it, however it stands."""
        self.process.kill()
        self.process.wait()
        self._reader.join(WITHIN_S)
