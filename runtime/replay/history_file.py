"""A run's history as a text file, `*.history.jsonl`: a line that says whose it is, then one line an entry.

    {"perdure_history": 1, "run_id": "order-1", "workflow": "fulfill-order", "version": "1", …}
    {"position": 0, "kind": "created", "at": "2030-01-01T00:00:00Z", …, "body": {"order_id":"o1"}, "digest": "5f…"}

Rules:
- what is read back equals what was written, to the letter: bodies, shapes and details stand in the line as the ledger's
  own text, not as JSON that was read and written again, so key order, `1.50`, and integers of any size survive;
- the same history gives the same file, so that it can be kept beside the code and compared;
- every line carries its digest of the chain, so an edited line is found, and named by its number.

This file knows lines. It must not know what an entry means to a body, nor what is secret in it.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePath
from typing import Any, Final, TextIO

from perdure.durations import moment_text, moment_us
from perdure.errors import DefinitionError, InternalError, LedgerCorrupt, LedgerError, LedgerTooNew
from perdure.storage.chain import GENESIS, digest_of, line_of
from perdure.storage.entries import DefinitionRow, Entry
from perdure.storage.fold import fold_all
from perdure.storage.ledger import Ledger, RunRow
from perdure.storage.memory_ledger import MemoryLedger
from perdure.storage.plain import is_unicode, quote

FORMAT: Final = 1
SUFFIX: Final = ".history.jsonl"

#: Fields of a line, in the order in which they are written; what has its default is left out.
_FIELDS: Final = ("position", "kind", "at", "command", "name", "attempt", "due")
_TEXTS: Final = ("body", "shape", "detail")
_DEFAULTS: Final = Entry(0, 0, "", 0)
_KNOWN: Final = frozenset({*_FIELDS, *_TEXTS, *(f"{each}_text" for each in _TEXTS), "digest"})

#: What the first line must have besides the definition, which may be unknown.
_HEADER: Final = {
    "run_id": str, "workflow": str, "version": str, "status": str, "entries": int, "run": int, "digest": str,
    "redacted": list,
}  # fmt: skip

_FIX: Final = "export it again with `perdure history export`, or take the file from version control"


@dataclass(frozen=True, slots=True)
class History:
    """One run by itself: all that a replay needs, without its ledger.

    Attributes:
        row: the fold of the entries.
        definition: what the run was started with; evidence for the cause of a divergence.
        redacted: the patterns whose values were replaced.
        file: where it was read from; empty when it came from a ledger.
    """

    row: RunRow
    entries: tuple[Entry, ...]
    definition: DefinitionRow | None = None
    redacted: tuple[str, ...] = ()
    file: str = ""

    @property
    def module(self) -> str:
        """The module in which the body was written, as others import it; empty when that is not known."""
        units: Any = json.loads(self.definition.source) if self.definition is not None else []
        if not units:
            return ""
        name, file = str(units[0]["module"]), str(units[0]["file"])
        if name != "__main__":
            return name
        # Recorded by a script that was run. A body that stands in no file, as a reaction's does, does not say by which.
        return "" if file.startswith("<") else PurePath(file).stem

    def ledger(self) -> MemoryLedger:
        """Make a ledger that has this run alone."""
        made = MemoryLedger()
        made.append(self.entries, [self.definition] if self.definition is not None else [])
        return made


def history_of(ledger: Ledger, row: RunRow) -> History:
    """Take a run out of a ledger."""
    return History(row, tuple(ledger.entries(row.run)), ledger.definition(row.definition))


# ── writing ──────────────────────────────────────────────────────────────────────────────────────


def write_history(history: History, file: TextIO) -> None:
    """Write a history as text."""
    file.write(_header(history) + "\n")
    for entry in history.entries:
        file.write(_line(entry) + "\n")


def _header(history: History) -> str:
    row, definition = history.row, history.definition
    facts: dict[str, object] = {
        "perdure_history": FORMAT,
        "run_id": row.run_id,
        "workflow": row.workflow,
        "version": row.version,
        "status": row.status,
        "entries": len(history.entries),
        "run": row.run,
        "digest": row.digest.hex(),
        "redacted": list(history.redacted),
    }
    parts = [f"{quote(name)}: {_json(value)}" for name, value in facts.items()]
    if definition is not None:
        about = {
            "digest": definition.digest,
            "workflow": definition.workflow,
            "version": definition.version,
            "python": definition.python,
        }
        inner = [f"{quote(name)}: {_json(value)}" for name, value in about.items()]
        inner += [f'"at": {_moment(definition.at)}', _verbatim("source", definition.source)]
        parts.append(f'"definition": {{{", ".join(inner)}}}')
    return "{" + ", ".join(parts) + "}"


def _line(entry: Entry) -> str:
    parts = []
    for name in _FIELDS:
        value = getattr(entry, name)
        if name in ("at", "due"):
            if value is not None:
                parts.append(f'"{name}": {_moment(value)}')
        elif name in ("position", "kind") or value != getattr(_DEFAULTS, name):
            parts.append(f'"{name}": {_json(value)}')
    for name in _TEXTS:
        text = getattr(entry, name)
        if text is not None:
            parts.append(_verbatim(name, text))
    parts.append(f'"digest": "{entry.digest.hex()}"')
    return "{" + ", ".join(parts) + "}"


def _json(value: object) -> str:
    text = json.dumps(value, ensure_ascii=False)
    return text if is_unicode(text) else json.dumps(value)


def _moment(micros: int) -> str:
    try:
        return quote(moment_text(micros))
    except OverflowError:  # beyond the calendar
        return str(micros)


def _verbatim(name: str, text: str) -> str:
    """Put JSON text into a line as it is; other text, or what would break the line, as a JSON string."""
    if "\n" not in text and "\r" not in text and is_unicode(text) and _end_of_value(text, 0) == len(text):
        return f'"{name}": {text}'
    return f'"{name}_text": {_json(text)}'


# ── reading ──────────────────────────────────────────────────────────────────────────────────────


def read_history(path: str | os.PathLike[str]) -> History:
    """Read a history back, and prove that it is whole.

    Raises:
        LedgerCorrupt: it was cut off or edited, or is something else; with the number of the line.
        LedgerTooNew: a newer release wrote it. LedgerError: there is no such file, or it can't be read.
    """
    place = os.fspath(path)
    lines = _lines_of(place)
    first = next(lines, None)
    if first is None:
        raise _corrupt(place, 1, "the history is empty.", "the file has no line")
    if not first.startswith('{"perdure_history": '):
        _refuse_conflict(place, 1, first)
        raise _corrupt(place, 1, "the file is no history.", "its first line does not begin with perdure_history")
    header, definition = _read_header(place, first)
    entries: list[Entry] = []
    previous = GENESIS
    for number, line in enumerate(lines, start=2):
        entry = _read_entry(place, number, line, header)
        if entry.position != len(entries):
            raise _corrupt(
                place, number, "an entry is out of place.", f"it is entry {entry.position}, not {len(entries)}"
            )
        if entry.digest != digest_of(previous, line_of(entry)):
            raise _corrupt(
                place,
                number,
                f"entry {entry.position} was altered.",
                "its digest does not fit it and the line before; formatting the JSON anew counts as well",
            )
        previous = entry.digest
        entries.append(entry)
    row = _folded(place, header, entries)
    if definition is not None and definition.digest != row.definition:
        raise _corrupt(place, 1, "the definition is of another run.", f"the run began with {row.definition}")
    return History(row, tuple(entries), definition, tuple(header["redacted"]), place)


def _lines_of(place: str) -> Iterator[str]:
    try:
        content = Path(place).read_bytes()
    except OSError as error:
        raise LedgerError("the history can't be read.", where=place, why=str(error), fix="mend the path") from None
    # Not splitlines: a body may hold other characters that end a line elsewhere.
    lines = content.split(b"\n")
    if not lines[-1]:
        lines.pop()
    for number, line in enumerate(lines, start=1):
        try:
            yield line.decode("utf-8").removesuffix("\r")  # some checkouts change line endings
        except UnicodeDecodeError as error:
            raise _corrupt(place, number, "a line is no UTF-8 text.", str(error)) from None


def _read_header(place: str, line: str) -> tuple[dict[str, Any], DefinitionRow | None]:
    members = _members(place, 1, line)
    try:
        version = json.loads(members["perdure_history"])
        if type(version) is not int or version < 1:
            raise ValueError(f"perdure_history is {version!r}")
        if version > FORMAT:
            raise LedgerTooNew(
                f"the history has format {version}, and this release reads up to {FORMAT}.",
                where=f"{place}:1",
                fix="check it with the release that wrote it, or install that one",
            )
        header = {name: json.loads(text) for name, text in members.items() if name != "definition"}
        for name, kind in _HEADER.items():
            if type(header.get(name)) is not kind:
                raise ValueError(f"{name} is {header.get(name)!r}")
        return header, _read_definition(place, members.get("definition"))
    except (ValueError, KeyError, TypeError, DefinitionError) as error:
        raise _corrupt(place, 1, "the first line was altered.", f"{type(error).__name__}: {error}") from None


def _read_definition(place: str, text: str | None) -> DefinitionRow | None:
    if text is None:
        return None
    members = _members(place, 1, text)
    digest, workflow, version, python = (
        json.loads(members[name]) for name in ("digest", "workflow", "version", "python")
    )
    source = _text_of(members, "source")
    if source is None:
        raise KeyError("source")
    return DefinitionRow(digest, workflow, version, python, source, _micros(members["at"]))


def _read_entry(place: str, number: int, line: str, header: dict[str, Any]) -> Entry:
    members = _members(place, number, line)
    unknown = members.keys() - _KNOWN
    try:
        if unknown:
            raise ValueError(f"it has {', '.join(sorted(unknown))}, which no entry has")
        fields: dict[str, Any] = {name: json.loads(members[name]) for name in _FIELDS if name in members}
        fields |= {name: _micros(members[name]) for name in ("at", "due") if name in members}
        fields |= {name: _text_of(members, name) for name in _TEXTS}
        entry = Entry(run=header["run"], digest=bytes.fromhex(json.loads(members["digest"])), **fields)
        line_of(entry)  # raises when a field is of another type
        return entry
    except (ValueError, KeyError, TypeError, DefinitionError) as error:
        raise _corrupt(place, number, "a line is no entry.", f"{type(error).__name__}: {error}") from None


def _text_of(members: dict[str, str], name: str) -> str | None:
    if name in members:
        return members[name]
    quoted = members.get(f"{name}_text")
    return None if quoted is None else str(json.loads(quoted))


def _micros(text: str) -> int:
    value = json.loads(text)
    return value if isinstance(value, int) else moment_us(value)


def _folded(place: str, header: dict[str, Any], entries: Sequence[Entry]) -> RunRow:
    last = len(entries) + 1
    expected = header["entries"]
    if len(entries) < expected:
        raise _corrupt(
            place,
            last,
            "the history was cut off.",
            f"it has {len(entries)} entries of {expected}; this is its last line",
        )
    if len(entries) > expected:
        raise _corrupt(
            place, expected + 2, "the history has lines too many.", f"it has {expected} entries by its first line"
        )
    row: RunRow | None = None
    for number, entry in enumerate(entries, start=2):
        try:
            row = fold_all(row, (entry,))
        except InternalError as error:
            raise _corrupt(place, number, "an entry does not fit the ones before it.", error.why) from None
    if row is None:
        raise _corrupt(place, 1, "the history has no entries.", "a run has one at least: it was created")
    for name in ("run_id", "workflow", "version", "status", "digest"):
        value = header[name]
        found = getattr(row, name)
        found = found.hex() if isinstance(found, bytes) else found
        if value != found:
            raise _corrupt(
                place,
                1,
                "the first line says otherwise than the entries.",
                f"{name} is {value!r} there, {found!r} by them",
            )
    return row


# ── one line ─────────────────────────────────────────────────────────────────────────────────────


def _refuse_constant(name: str) -> None:
    raise ValueError(f"{name} is no JSON")


#: Finds where a value ends; what numbers mean is not asked, since CPython refuses to read very long ones.
_SCANNER: Final = json.JSONDecoder(parse_int=len, parse_float=len, parse_constant=_refuse_constant)


def _end_of_value(text: str, start: int) -> int:
    """Where the JSON value that begins here ends; -1 when there is none."""
    try:
        return int(_SCANNER.raw_decode(text, start)[1])
    except (ValueError, RecursionError):
        return -1


def _members(place: str, number: int, line: str) -> dict[str, str]:
    """Read an object's members as the texts that stand there."""
    members: dict[str, str] = {}
    at = 1
    while line[:1] == "{":
        end = _end_of_value(line, at)
        if end < 0 or line[at] != '"' or line[end : end + 1] != ":":
            break
        name = json.loads(line[at:end])
        start = end + 1 + (line[end + 1 : end + 2] == " ")
        end = _end_of_value(line, start)
        if end < 0 or name in members:
            break
        members[name] = line[start:end]
        if line[end:] == "}":
            return members
        if line[end : end + 2] != ", ":
            break
        at = end + 2
    _refuse_conflict(place, number, line)
    raise _corrupt(
        place, number, "a line was cut off or edited.", f"it is not as histories are written: {line[-60:]!r}"
    )


def _refuse_conflict(place: str, number: int, line: str) -> None:
    if line.startswith(("<<<<<<<", "=======", ">>>>>>>", "|||||||")):
        raise LedgerCorrupt(
            "a merge left its conflict in the history.",
            where=f"{place}:{number}",
            why=f"the line is {line[:60]!r}",
            fix="take the file of one side whole: git checkout --ours, or --theirs",
        )


def _corrupt(place: str, number: int, message: str, why: str) -> LedgerCorrupt:
    return LedgerCorrupt(message, where=f"{place}:{number}", why=why, fix=_FIX)
