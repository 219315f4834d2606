"""Noticing that the code of the workflows changed, and beginning anew on it: `perdure run --watch`.

The new code is tried in a process of its own first. Where it can't be used, the old one goes on and nothing was
interrupted. Where it can, the worker stops in order and the process becomes a fresh one: what a deploy does, so what
holds for a deploy holds here, and no module keeps a state that a re-import would have left behind.

Files are looked at a few times a second. That costs a millisecond, also where no file system tells of changes
(containers, networks), and needs no library.

Knows files and processes. Must not know runs.
"""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
import sysconfig
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final, NoReturn, TypeAlias

from rich.text import Text

from perdure.cli.feed import Feed
from perdure.declare.modules import modules_in, shortened
from perdure.declare.registry import Registry
from perdure.engine.clock import SystemClock
from perdure.errors import DefinitionError

Workflow: TypeAlias = tuple[str, str]  # id and version
_State: TypeAlias = dict[Path, tuple[int, int]]

_LOOK_EVERY_S: Final = 0.2
_DIGEST_CHARACTERS: Final = 12
#: Exit code by which a child tells its parent to start it anew, where a process can't become another one.
_ANEW: Final = 75
_PARENT: Final = "PERDURE_WATCHING_PARENT"


class Reloader:
    """Watches the code that workflows come from.

    Args:
        source: where the workflows are, as the user said; None stands for the usual places, where nothing is yet.
        registry: the workflows as they are now.
        feed: where to say what changed.
        since: when the code began to be imported, in microseconds since 1970; what was written later is a change.
        everything: watch all modules of the current folder, because those that failed to import are not known.

    Attributes:
        wanted: whether the code has changed for good, so that the worker is to begin anew.
    """

    def __init__(
        self, source: str | None, registry: Registry, feed: Feed, since: int, *, everything: bool = False
    ) -> None:
        self.wanted = False
        self._everything = everything
        self._has_parent = os.environ.pop(_PARENT, None) is not None  # it is not meant for what steps start
        self._source = source
        self._now = {(each.id, each.version): each.digest for each in registry.all()}
        self._feed = feed
        self._folder = Path.cwd()
        self._clock = SystemClock()
        self._state = {path: seen for path, seen in self._look().items() if seen[0] < since * 1_000}

    async def changed(self) -> None:
        """Wait until the code has changed, and can be used."""
        while True:
            state = await self._settled_change()
            files = [path for path in {**state, **self._state} if state.get(path) != self._state.get(path)]
            self._state = state
            found, problem = await self._tried()
            if found is not None:
                self._say_change(files, found)
                self.wanted = True
                return
            stays = "The code from before goes on." if self._now else "Still waiting for a change."
            self._feed.say(
                Text(f"{_listed(files)} changed and can't be used. {stays}\n", "bold red").append(
                    problem, "not bold default"
                ),
                "worker_not_reloaded", self._clock.now_us(), files=[shortened(path) for path in files], error=problem,
            )  # fmt: skip

    def begin_anew(self) -> NoReturn:
        """Become a fresh process with the same command line. Nothing may be open any more."""
        sys.stdout.flush()
        sys.stderr.flush()
        os.chdir(self._folder)
        command = [sys.executable, *sys.orig_argv[1:]]
        if os.name == "posix":
            os.execve(command[0], command, _environment())
        if self._has_parent:
            sys.exit(_ANEW)
        sys.exit(in_children(command))

    # ── files ────────────────────────────────────────────────────────────────────────────────────

    async def _settled_change(self) -> _State:
        """Wait for a change, and until whoever writes has finished: editors write in several steps."""
        before = self._state
        while True:
            await asyncio.sleep(_LOOK_EVERY_S)
            state = await asyncio.to_thread(self._look)
            if state == before and state != self._state:
                return state
            before = state

    def _look(self) -> _State:
        state: _State = {}
        for path in {*self._named(), *user_files()}:
            try:
                found = path.stat()
            except OSError:
                continue  # it was deleted, which is a change
            state[path] = (found.st_mtime_ns, found.st_size)
        return state

    def _named(self) -> list[Path]:
        """The files that the source stands for, also new ones."""
        found: list[Path] = []
        for source in (self._source, self._folder if self._everything else None):
            try:
                modules = [] if source is None else modules_in(source)
            except (DefinitionError, OSError):
                continue  # it was deleted, or moved for a moment
            found += [each.path for each in modules if each.path is not None]
        return found

    # ── what became of it ────────────────────────────────────────────────────────────────────────

    async def _tried(self) -> tuple[dict[Workflow, str] | None, str]:
        """Import the new code elsewhere: its workflows with their digests, or what is wrong with it."""
        command = [sys.executable, "-m", "perdure", "list", "--json"]
        if self._source is not None:
            command += ["--workflows", self._source]
        process = await asyncio.create_subprocess_exec(
            *command, cwd=self._folder, env=_environment(), stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )  # fmt: skip
        try:
            out, err = await process.communicate()
        except asyncio.CancelledError:
            process.kill()
            await process.wait()
            raise
        if process.returncode != 0:
            return None, err.decode(errors="replace").strip()
        found: list[dict[str, Any]] = json.loads(out.decode()[out.decode().index("[\n") :])  # modules may print, too
        return {(each["id"], each["version"]): each["digest"] for each in found}, ""

    def _say_change(self, files: Sequence[Path], found: Mapping[Workflow, str]) -> None:
        changes = list(_differences(self._now, found))
        lines = [f"{_listed(files)} changed."]
        lines += [f"  {each['id']} v{each['version']}  {_shown(each)}" for each in changes]
        if not changes:
            lines.append("  no body did, so open runs and new ones go on alike, with the new steps")
        elif any(each["before"] for each in changes):
            lines.append("  open runs go on with the code that they started with")
        self._feed.say(
            Text("\n".join(lines), "cyan"), "worker_reloading", self._clock.now_us(),
            files=[shortened(path) for path in files], workflows=changes,
        )  # fmt: skip


def _differences(before: Mapping[Workflow, str], after: Mapping[Workflow, str]) -> Iterator[dict[str, str | None]]:
    for workflow in {**before, **after}:
        old, new = before.get(workflow), after.get(workflow)
        if old != new:
            yield {"id": workflow[0], "version": workflow[1], "before": old, "after": new}


def _shown(change: Mapping[str, str | None]) -> str:
    before, after = change["before"], change["after"]
    if before is None:
        return f"is new: {(after or '')[:_DIGEST_CHARACTERS]}"
    if after is None:
        return "is gone"
    return f"{before[:_DIGEST_CHARACTERS]} → {after[:_DIGEST_CHARACTERS]}"


def _listed(files: Sequence[Path]) -> str:
    return ", ".join(sorted(shortened(path) for path in files))


def user_files() -> Iterator[Path]:
    """The files of the modules that were imported and belong to neither Python, nor what is installed, nor us."""
    installed = [Path(sysconfig.get_path(kind)) for kind in ("stdlib", "platstdlib", "purelib", "platlib")]
    for name, module in list(sys.modules.items()):
        file = getattr(module, "__file__", None)
        if not isinstance(file, str) or name.partition(".")[0] in ("perdure", "__main__"):
            continue
        path = Path(file)
        if path.suffix == ".py" and not any(path.is_relative_to(folder) for folder in installed):
            yield path


def _environment() -> dict[str, str]:
    # Bytecode is told from its source by the second and the size, and edits are quicker than that.
    return {**os.environ, "PYTHONDONTWRITEBYTECODE": "1"}


def in_children(command: Sequence[str]) -> int:
    """Run a command as a child, again and again for as long as it asks for that; give its exit code in the end."""
    environment = {**_environment(), _PARENT: "yes"}
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)  # the console tells the child, too
    try:
        while True:
            code = subprocess.call(command, env=environment)
            if code != _ANEW:
                return code
    finally:
        signal.signal(signal.SIGINT, before)
