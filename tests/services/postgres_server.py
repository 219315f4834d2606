"""A PostgreSQL of the tests' own, in a folder of its own, on a port of its own; None where there is none to be had."""

from __future__ import annotations

import contextlib
import importlib.util
import os
import shutil
import signal
import socket
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path


def missing() -> str | None:
    """Why no server can be started here; None when one can."""
    if importlib.util.find_spec("psycopg") is None:
        return "psycopg is not installed (pip install 'perdure[postgres]')"
    if _programs() is None:
        return "no PostgreSQL server is installed (initdb and postgres are neither on PATH nor in /usr/lib/postgresql)"
    if os.geteuid() == 0 and _owner() is None:
        return "a PostgreSQL server does not run as root, and there is no other user"
    return None


class PostgresServer:
    """One server; it can be killed and come back."""

    def __init__(self, folder: Path) -> None:
        programs = _programs()
        assert programs is not None
        self._programs = programs
        self._folder = folder
        self._owner = _owner() if os.geteuid() == 0 else None
        if self._owner is not None:
            shutil.chown(folder, self._owner)
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port: int = probe.getsockname()[1]
        self._process: subprocess.Popen[bytes] | None = None
        self._run("initdb", "-D", str(folder / "data"), "-U", "perdure", "-A", "trust", "--no-sync", "-E", "UTF8")

    @property
    def url(self) -> str:
        """Where it listens."""
        return f"postgresql://perdure@127.0.0.1:{self.port}/postgres"

    def start(self) -> None:
        """Start it, and wait until it answers."""
        log = self._folder / "log"
        options = f"-p {self.port} -c listen_addresses=127.0.0.1 -c fsync=off -k {self._folder}"
        self._run("pg_ctl", "-D", str(self._folder / "data"), "-l", str(log), "-o", options, "-w", "start")

    def kill(self) -> None:
        """Kill it as a power cut would, and wait until it is gone."""
        pid_file = self._folder / "data" / "postmaster.pid"
        with contextlib.suppress(ProcessLookupError, FileNotFoundError):
            os.kill(int(pid_file.read_text().split()[0]), signal.SIGQUIT)
        while self._answers():
            os.sched_yield()
        pid_file.unlink(missing_ok=True)

    def _answers(self) -> bool:
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", self.port), timeout=1):
            return True
        return False

    def _run(self, program: str, *args: str) -> None:
        subprocess.run(
            [str(self._programs / program), *args],
            check=True,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            user=self._owner,
            cwd=self._folder,
        )


@contextlib.contextmanager
def running() -> Iterator[PostgresServer]:
    """A server that runs, until the end of the block."""
    folder = Path(tempfile.mkdtemp(prefix="perdure-pg-"))
    try:
        server = PostgresServer(folder)
        server.start()
        try:
            yield server
        finally:
            server.kill()
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _programs() -> Path | None:
    """The folder of initdb, pg_ctl and postgres."""
    places = [Path(found).resolve().parent] if (found := shutil.which("pg_ctl")) else []
    places += sorted(Path("/usr/lib/postgresql").glob("*/bin"), reverse=True)
    return next((place for place in places if (place / "postgres").exists() and (place / "initdb").exists()), None)


def _owner() -> str | None:
    import pwd

    names = {entry.pw_name for entry in pwd.getpwall()}
    return next((name for name in ("postgres", "nobody") if name in names), None)
