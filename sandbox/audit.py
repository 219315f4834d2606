"""The second line: an audit hook that stops input and output which slipped through, from a library's inside.

CPython reports files, sockets, processes, threads, imports and code generation to audit hooks, wherever they are called
from. What it does not report (reading clocks, random numbers, the environment, `stat`) this can't see; the stand-ins
and replay are for those. `id()` is reported, but the standard library itself keeps memos by it, so it passes.

A hook's exception is an ordinary one that a body could catch, so it is noted as well. A hook can't be removed; outside
of bodies this one costs a comparison per event.

This file knows events. It must not know environments or bodies; whether one runs here it asks.
"""

from __future__ import annotations

import _strptime  # type: ignore[import-not-found]  # private, and has no stub
import collections
import dataclasses
import encodings
import encodings.idna
import os
import sys
import sysconfig
from collections.abc import Callable
from types import FrameType
from typing import Final

import perdure.errors
from perdure.errors import SandboxViolation

# The first use of some functions imports their other half; a refusal that only happens once would itself not replay.
PRELOADED: Final = (_strptime, encodings.idna)

#: Events that stand for input, output, processes, threads or code from text, by name.
REFUSED_EVENTS: Final = frozenset({
    "open", "import", "compile", "exec", "marshal.load", "marshal.loads", "pickle.find_class", "mmap.__new__",
    "builtins.input", "builtins.breakpoint", "time.sleep", "sqlite3.connect", "webbrowser.open", "pdb.Pdb",
    "_thread.start_new_thread", "_thread.start_joinable_thread", "code.__new__", "function.__new__", "pty.spawn",
    "sys._current_frames", "sys._current_exceptions", "sys.setprofile", "sys.settrace", "sys.addaudithook",
    "sys.remote_exec", "sys.set_asyncgen_hooks_finalizer", "sys.set_asyncgen_hooks_firstiter", "sys.unraisablehook",
    "gc.get_objects", "gc.get_referrers", "gc.get_referents", "urllib.Request", "signal.pthread_kill",
})  # fmt: skip

#: The same, by everything before the first dot.
REFUSED_FAMILIES: Final = frozenset({
    "os", "socket", "subprocess", "shutil", "tempfile", "glob", "pathlib", "ctypes", "ensurepip", "fcntl", "ftplib",
    "http", "imaplib", "nntplib", "poplib", "smtplib", "telnetlib", "syslog", "resource", "msvcrt", "winreg", "_winapi",
})  # fmt: skip

#: `sys.unraisablehook` reports an error that was raised elsewhere; refusing it would hide that.
_REPORTS: Final = frozenset({"sys.unraisablehook"})

# These two generate code from names that Python has checked to be identifiers, for `@dataclass` and `namedtuple`.
_GENERATORS: Final = frozenset({dataclasses.__file__, collections.__file__})
_GENERATED: Final = frozenset({"compile", "exec", "code.__new__", "function.__new__"})

_OF_IMPORTS: Final = frozenset({"import", "open", "exec", "compile", "marshal.loads", "os.listdir", "os.scandir"})

_DEBUGGERS: Final = frozenset({"bdb", "pdb", "pydevd", "debugpy", "_pydevd_bundle", "_pydevd_frame_eval", "IPython"})

_NOT_THE_AUTHORS: Final = (
    os.path.dirname(os.path.abspath(__file__)) + os.sep,
    os.path.dirname(os.path.abspath(perdure.errors.__file__)) + os.sep,
    sysconfig.get_path("stdlib") + os.sep,
    "<frozen ",
)

_WHAT: Final = {
    "open": ("a file was opened", "what is in a file may differ the next time"),
    "import": ("a module was imported for the first time", "an import reads files and runs code once per process"),
    "exec": ("code was executed", "code from text is outside of what was checked"),
    "compile": ("code was compiled", "code from text is outside of what was checked"),
    "time.sleep": ("the thread was put to sleep", "nothing else runs meanwhile"),
}

_installed = False


def install(is_active: Callable[[], bool], note: Callable[[SandboxViolation], None]) -> None:
    """Add the hook to this process, once. It asks `is_active` for its own thread and tells `note` what it refused."""
    global _installed
    if _installed:
        return
    _installed = True

    def hook(event: str, arguments: tuple[object, ...]) -> None:
        if is_active() and _is_refused(event):
            frame = sys._getframe(1)
            if not _is_permitted(event, frame):
                violation = _violation(event, arguments, frame)
                note(violation)
                raise violation

    sys.addaudithook(hook)


def _is_refused(event: str) -> bool:
    return (event in REFUSED_EVENTS or event.partition(".")[0] in REFUSED_FAMILIES) and event not in _REPORTS


def _is_permitted(event: str, frame: FrameType) -> bool:
    if event in _GENERATED and frame.f_code.co_filename in _GENERATORS:
        return True
    if event in _OF_IMPORTS and _is_codec_lookup(frame):
        return True
    trace = sys.gettrace()
    if trace is None:
        return False
    # A debugger's doings while it shows a body are not the body's; a coverage measurement traces, but does no I/O.
    owner = type(getattr(trace, "__self__", trace))
    names = {getattr(trace, "__module__", None) or "", *(kind.__module__ for kind in owner.__mro__)}
    return not _DEBUGGERS.isdisjoint(name.partition(".")[0] for name in names)


def _is_codec_lookup(frame: FrameType | None) -> bool:
    """Tell whether Python is importing a codec, as the first `"ä".encode("cp1252")` of a process does."""
    while frame is not None:
        if frame.f_code is encodings.search_function.__code__:
            return True
        frame = frame.f_back
    return False


def _violation(event: str, arguments: tuple[object, ...], frame: FrameType) -> SandboxViolation:
    what, why = _WHAT.get(event, (f"{event} was called", "its outcome may differ the next time"))
    subject = arguments[0] if arguments else None
    shown = f" ({str(subject)[:80]!r})" if isinstance(subject, str | bytes) and event != "marshal.loads" else ""
    fix = 'move the call into a step: `await step.run("name", …)`'
    if event == "import":
        fix = f"import {subject} at the top of the module, so that it is loaded before any body runs"
    return SandboxViolation(f"{what} while a body ran{shown}.", where=_place(frame), why=why, fix=fix)


def _place(frame: FrameType) -> str:
    """Name the innermost line that is neither the standard library's nor ours."""
    at: FrameType | None = frame
    while at is not None:
        file = at.f_code.co_filename
        if not file.startswith(_NOT_THE_AUTHORS) or "site-packages" in file:
            return f"{file}:{at.f_lineno}, in {at.f_code.co_qualname}"
        at = at.f_back
    return f"{frame.f_code.co_filename}:{frame.f_lineno}"
