"""Exceptions as values: text for people and SQL, and what is needed to make the same exception again.

The body is a JSON object:

    type       "module:qualname" of the class
    message    str(error), shortened when it is very long; without the labels for an error of Perdure's
    code       of an error of Perdure's
    traceback  the traceback without Perdure's own frames, shortened in the middle
    notes      of add_note
    cause      type and message of the exception that it was raised from, or during
    args       its arguments
    state      its attributes
    lost       names of attributes that have no encoding
    call       instead of args: what a class with a `__reduce__` of its own wants its constructor to be called with
    members    of an exception group: one such object each

An exception is made again without its `__init__`, by the builtin class below it: a constructor that formats its
message would format it twice. Only a class that asks for it, by a `__reduce__` that names the class, is called.

This file knows exceptions. It must not know steps, runs or ledgers.
"""

from __future__ import annotations

import asyncio
import concurrent.futures
import os
import sys
import traceback
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, Final

from perdure.errors import InternalError, NotSerializable, PerdureError, ValueUnreadable
from perdure.storage.classes import ClassGone, class_name, find_class
from perdure.storage.encoding import Encoded, Sets, decode, encode
from perdure.storage.plain import parse
from perdure.storage.records import slots_of

TRACEBACK_MAX: Final = 16_000  # characters; a deep recursion is cut in the middle
MESSAGE_MAX: Final = 8_000  # characters of the text for people; `args` has the whole

_TEXTS: Final = ("type", "message", "code", "traceback", "notes", "cause", "lost")  # what to keep when all else fails


@dataclass(frozen=True, slots=True)
class Failure:
    """A recorded exception.

    Attributes:
        error_type: its class, as `module:qualname`.
        message: its text, without the class.
        traceback_text: the recorded traceback; empty when there was none.
        code: of an error of Perdure's, else empty.
        notes: what `add_note` added.
        cause: type and message of the exception behind it, else empty.
        lost: names of attributes that could not be recorded.
        members: the parts of an exception group.
    """

    error_type: str
    message: str
    traceback_text: str = ""
    code: str = ""
    notes: tuple[str, ...] = ()
    cause: str = ""
    lost: tuple[str, ...] = ()
    members: tuple[Failure, ...] = ()
    _encoded: Encoded = field(default=Encoded("null", None), repr=False)
    _sets: Sets = field(default=(set, frozenset), repr=False)

    @property
    def first_line(self) -> str:
        """The class's own name and the first line of the message, as a log would show them."""
        name = self.error_type.rpartition(":")[2].rpartition(".")[2]
        head = f"{name} [{self.code}]" if self.code else name
        line = self.message.strip().partition("\n")[0]
        return f"{head}: {line}" if line else head

    def exception(self) -> BaseException | None:
        """Make the exception again, with its class, arguments, attributes and notes.

        None when that can't be: the class is gone or local, or an argument had no encoding.
        """
        try:
            document: Any = decode(*self._encoded, sets=self._sets)
            return _rebuilt(document)
        except (ValueUnreadable, ClassGone):
            return None


# ── recording ────────────────────────────────────────────────────────────────────────────────────


def encode_failure(error: BaseException, traceback_text: str | None = None) -> Encoded:
    """Write an exception as text. It never raises: what has no encoding is left out.

    Args:
        traceback_text: a traceback to record instead of the exception's own.
    """
    document = _document(error)
    if traceback_text is None:
        traceback_text = format_traceback(error)
    document["traceback"] = _clean(_shortened(traceback_text))
    try:
        return encode(document)
    except NotSerializable:  # the parts have encodings, but not so deep down
        return encode({name: document[name] for name in _TEXTS if name in document})


def _document(error: BaseException) -> dict[str, Any]:
    document: dict[str, Any] = {"type": _clean(class_name(type(error))), "message": _clean(_message(error))}
    if isinstance(error, PerdureError):
        document["code"] = error.code
    document["traceback"] = ""
    # From __dict__, because a class's own __getattr__ may raise anything (urllib's HTTPError has such a one).
    notes = [_clean(note) for note in vars(error).get("__notes__", ()) if isinstance(note, str)]
    if notes:
        document["notes"] = notes
    behind = error.__cause__ or (None if error.__suppress_context__ else error.__context__)
    if behind is not None:
        document["cause"] = _clean(f"{type(behind).__name__}: {_message(behind)}")
    _add_recipe(document, error)
    return document


def _message(error: BaseException) -> str:
    try:
        text = error.message if isinstance(error, PerdureError) else str(error)
    except Exception as raised:  # noqa: BLE001  # a user's __str__; the record says what it raised
        text = f"<str() of this {type(error).__name__} raised {type(raised).__name__}>"
    return text if len(text) <= MESSAGE_MAX else f"{text[:MESSAGE_MAX]}…"


def _clean(text: str) -> str:
    """Make text for people Unicode: a lone surrogate becomes its escape."""
    return text.encode("utf-8", "backslashreplace").decode()


def _add_recipe(document: dict[str, Any], error: BaseException) -> None:
    """Add what the exception can be made from again, as far as it has an encoding."""
    arguments, attributes = _reduced(error)
    call = _own_call(error)
    if isinstance(error, BaseExceptionGroup):
        document["members"] = [_document(member) for member in error.exceptions]
        document["args"] = (error.message,)
    elif call is not None:
        document["call"] = call
    elif _encodes(arguments):
        document["args"] = arguments
    kept = {name: value for name, value in attributes.items() if _encodes(value)}
    if kept:
        document["state"] = kept
    if len(kept) < len(attributes):
        document["lost"] = sorted(attributes.keys() - kept.keys())


def _reduced(error: BaseException) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """Give the arguments and attributes, as the builtin class below knows them (an OSError's file name, for one)."""
    builtin: Any = _builtin_base(type(error))
    reduced = builtin.__reduce__(error)
    attributes = dict(reduced[2] or {}) if len(reduced) > 2 else {}
    for name in slots_of(type(error)):
        if hasattr(error, name):
            attributes[name] = getattr(error, name)
    # Notes have a place of their own, and the arguments too (AttributeError repeats them since Python 3.12).
    return reduced[1], {name: value for name, value in attributes.items() if name not in ("__notes__", "args")}


def _own_call(error: BaseException) -> tuple[Any, ...] | None:
    """Give the constructor's arguments that a `__reduce__` of the class's own names; None when there are none."""
    cls = type(error)
    if cls.__reduce__ is _builtin_base(cls).__reduce__ and cls.__reduce_ex__ is object.__reduce_ex__:
        return None
    try:
        reduced = error.__reduce_ex__(4)
    except Exception:  # noqa: BLE001  # a user's __reduce__; the arguments are recorded as for any other class
        return None
    if not isinstance(reduced, tuple) or reduced[0] is not cls or not _encodes(reduced[1]):
        return None
    arguments: tuple[Any, ...] = reduced[1]
    return arguments


def _encodes(value: object) -> bool:
    try:
        encode(value)
    except NotSerializable:
        return False
    return True


def _builtin_base(cls: type[BaseException]) -> type[BaseException]:
    """Find the nearest base that Python brings: it holds what is not in `__dict__`."""
    return next(base for base in cls.__mro__ if base.__module__ == "builtins" and issubclass(base, BaseException))


# ── tracebacks ───────────────────────────────────────────────────────────────────────────────────


def format_traceback(error: BaseException) -> str:
    """Write a traceback without the frames of Perdure and of the machinery that calls steps."""
    report = traceback.TracebackException.from_exception(error)
    for part in _parts(report):
        users = [frame for frame in part.stack if not frame.filename.startswith(_own_folders())]
        if users:
            part.stack = traceback.StackSummary.from_list(users)
        elif part is report and isinstance(error, PerdureError) and not isinstance(error, InternalError):
            part.stack = None  # type: ignore[assignment]  # as of an exception that was never raised: a timeout says all
    return "".join(report.format())


def _parts(report: traceback.TracebackException) -> Iterator[traceback.TracebackException]:
    yield report
    for below in (report.__cause__, report.__context__, *(getattr(report, "exceptions", None) or ())):
        if below is not None:
            yield from _parts(below)


def _own_folders() -> tuple[str, ...]:
    modules = (sys.modules.get(name) for name in ("perdure", "perdure.sandbox", "perdure.storage"))
    ours = [folder for module in modules if module is not None for folder in module.__path__]
    machinery = [os.path.dirname(module.__file__ or "") for module in (asyncio, concurrent.futures)]
    return tuple(os.path.join(folder, "") for folder in (*ours, *machinery))


def _shortened(text: str) -> str:
    if len(text) <= TRACEBACK_MAX:
        return text
    head = text[: TRACEBACK_MAX // 3].rpartition("\n")[0]
    tail = text[-(TRACEBACK_MAX // 2) :].partition("\n")[2]
    left_out = text.count("\n") - head.count("\n") - tail.count("\n")
    return f"{head}\n  … {left_out} lines left out …\n{tail}"


# ── reading ──────────────────────────────────────────────────────────────────────────────────────


def decode_failure(body: str, shape: str | None, *, sets: Sets = (set, frozenset)) -> Failure:
    """Read back what `encode_failure` wrote. The exception itself is only made when it is asked for."""
    try:
        document = parse(body)
    except ValueError:
        document = None
    return _failure(document if isinstance(document, dict) else {}, Encoded(body, shape), sets)


def _failure(document: dict[str, Any], encoded: Encoded, sets: Sets) -> Failure:
    return Failure(
        error_type=document.get("type", ""),
        message=document.get("message", ""),
        traceback_text=document.get("traceback", ""),
        code=document.get("code", ""),
        notes=tuple(document.get("notes", ())),
        cause=document.get("cause", ""),
        lost=tuple(document.get("lost", ())),
        # A member can't be decoded by itself: the shape is the whole group's.
        members=tuple(_failure(member, Encoded("null", None), sets) for member in document.get("members", ())),
        _encoded=encoded,
        _sets=sets,
    )


def _rebuilt(document: Any) -> BaseException | None:
    if not isinstance(document, dict):
        return None
    cls: Any = find_class(document.get("type", ""))
    if not issubclass(cls, BaseException):
        return None
    try:
        error = _made(cls, document)
    except Exception:  # noqa: BLE001  # a user's constructor, or a class that changed: the caller has the text
        return None
    if error is None:
        return None
    for name, value in document.get("state", {}).items():
        try:
            object.__setattr__(error, name, value)
        except (AttributeError, TypeError):
            error.__dict__[name] = value  # a property of that name hides the attribute
    if hasattr(cls, "__getattr__"):
        # It may rely on what was lost, and then raise KeyError even when the traceback is printed.
        for name in document.get("lost", ()):
            error.__dict__.setdefault(name, None)
    for note in document.get("notes", ()):
        error.add_note(note)
    return error


def _made(cls: type[BaseException], document: dict[str, Any]) -> BaseException | None:
    if "call" in document:
        return cls(*document["call"])
    if "args" not in document:
        return None
    builtin = _builtin_base(cls)
    arguments = document["args"]
    if "members" in document:
        members = [_rebuilt(member) for member in document["members"]]
        if None in members:
            return None
        arguments = (*arguments, members)
    error: BaseException = builtin.__new__(cls, *arguments)
    builtin.__init__(error, *arguments)
    return error
