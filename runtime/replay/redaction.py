"""Takes secrets out of a history so that it still replays: a value that a pattern selects is replaced everywhere.

    input.card.number            of the run's input; output and error likewise
    charge_card.result.token     of a step's result; arguments, error, and the payload of an event likewise
    *.arguments.**.password      * is one name or one level, ** any number of levels

What a body hands on must still equal what it was given, so the same value has the same stand-in wherever it stands,
also inside of longer texts. A short number stands for too many things; it is replaced where a pattern selects it, and
in fields of the same name.

Knows entries, bodies and shapes. Must not know bodies' code: whether the result replays is asked afterwards.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from hashlib import blake2b
from ntpath import basename  # knows the separators of all systems
from typing import Any, Final

from perdure.durations import moment_text
from perdure.errors import DefinitionError
from perdure.replay.history_file import History
from perdure.replay.leaves import Path, mapped, parsed, text_of, texts_in
from perdure.replay.placeholders import LONG, Placeholders
from perdure.replay.selected import Selected
from perdure.storage import entries as kinds
from perdure.storage.chain import GENESIS, seal
from perdure.storage.entries import Entry
from perdure.storage.fold import fold_all

_OF_RUNS: Final = {
    "input": frozenset({kinds.CREATED, kinds.DEBOUNCED, kinds.CONTINUED}),
    "output": frozenset({kinds.COMPLETED}),
    "error": frozenset({kinds.FAILED, kinds.RETRYING}),
}
_OF_COMMANDS: Final = {
    "arguments": frozenset({kinds.STEP}),
    "input": frozenset({kinds.CHILD}),
    "result": frozenset({kinds.STEP_COMPLETED, kinds.CHILD_COMPLETED}),
    "payload": frozenset({kinds.EVENT_RECEIVED, kinds.SIGNAL_RECEIVED, kinds.HOOK_RECEIVED, kinds.EMIT}),
    "error": frozenset({kinds.STEP_FAILED, kinds.STEP_RETRYING, kinds.CHILD_FAILED, kinds.HOOK_REFUSED}),
    "chunk": frozenset({kinds.STREAM_WRITTEN}),
    "heartbeat": frozenset({kinds.STEP_HEARTBEAT}),
}
_FAILURES: Final = _OF_RUNS["error"] | _OF_COMMANDS["error"]
_NUMBERED: Final = re.compile(r"(#\d+|\[\d+\])$")  # what a second call, or an item of step.map, adds to a name
_EXAMPLE: Final = "write input.card.number, charge_card.result.token, *.arguments.**.password, or tags.customer"

#: Parts of an entry's detail that hold what people gave; the rest is names and numbers of Perdure's.
_DETAIL_REWRITTEN: Final = (
    "tags", "idempotency_key", "type", "match", "token", "state", "message", "report", "forked_from",
    "queue", "cause",
)  # fmt: skip
#: Parts that come from the code, and hold nothing secret.
_DETAIL_OF_CODE: Final = ("version", "definition", "python", "site", "function", "workflow")


@dataclass(frozen=True, slots=True)
class Pattern:
    """Which values of a history are secret.

    Attributes:
        text: as it was written.
        name: of the command, `*` allowed; None for what is the run's own.
        part: `input`, `arguments`, `result`, `payload`, `chunk`, `heartbeat`, `output`, `error`, `tags` or
            `idempotency_key`.
        path: keys and indexes below it.
    """

    text: str
    name: re.Pattern[str] | None
    part: str
    path: Path

    def selects(self, entry: Entry, names: frozenset[str], path: Path) -> bool:
        """Whether a leaf of an entry is secret; `names` are those that its command goes by."""
        if self.name is None:
            return entry.kind in _OF_RUNS.get(self.part, ()) and _covers(self.path, path)
        return (
            entry.kind in _OF_COMMANDS[self.part]
            and any(self.name.fullmatch(name) for name in names)
            and _covers(self.path, path)
        )


def parse_pattern(text: str) -> Pattern:
    """Read a pattern.

    Raises:
        DefinitionError: it names no part of a history.
    """
    first, *rest = text.split(".")
    if first in _OF_RUNS or first in ("tags", "idempotency_key"):
        return Pattern(text, None, first, tuple(rest))
    found = re.fullmatch(rf"(.+?)\.({'|'.join(_OF_COMMANDS)})(?:\.(.+))?", text)
    if found is None:
        raise DefinitionError(f"--redact {text!r} names no part of a history.", fix=_EXAMPLE)
    name, part, path = found.groups()
    glob = ".*".join(map(re.escape, name.split("*")))
    return Pattern(text, re.compile(glob, re.DOTALL), part, tuple(path.split(".")) if path else ())


def _covers(pattern: Path, path: Path) -> bool:
    """Whether a pattern selects a leaf, or what the leaf lies in."""
    if not pattern:
        return True
    if pattern[0] == "**":
        return any(_covers(pattern[1:], path[start:]) for start in range(len(path) + 1))
    return bool(path) and pattern[0] in ("*", path[0]) and _covers(pattern[1:], path[1:])


class Redaction:
    """Patterns and a key, for one history or many; the same value gets the same stand-in in all of them.

    Attributes:
        unmatched: the patterns that have selected nothing so far.

    Raises:
        DefinitionError: a pattern can't be read.
    """

    def __init__(self, patterns: Sequence[str], key: bytes) -> None:
        self.patterns = [parse_pattern(text) for text in patterns]
        self.unmatched = [pattern.text for pattern in self.patterns]
        self._placeholders = Placeholders(key)

    def apply(self, history: History) -> History:
        """Replace what the patterns select, and chain the entries anew.

        Raises:
            DefinitionError: a selected value has no stand-in of its type, or could still be read somewhere.
        """
        secrets = Selected(self._placeholders)
        names = {each.command: each.name for each in history.entries if each.kind in kinds.COMMANDS}
        for entry in history.entries:
            self._collect(entry, frozenset(_names_of(entry, names)), secrets)
        rewritten = [self._rewritten(entry, frozenset(_names_of(entry, names)), secrets) for entry in history.entries]
        rewritten = [_with_captured(entry, secrets) for entry in rewritten]
        sealed: list[Entry] = []
        previous = GENESIS
        for entry in rewritten:
            fresh, _ = seal(previous, entry)
            sealed.append(fresh)
            previous = fresh.digest
        _refuse_leaks(sealed, secrets)
        patterns = tuple(pattern.text for pattern in self.patterns)
        definition = history.definition
        if definition is not None:
            definition = definition._replace(source=_rewritten_source(definition.source, secrets))
        return History(fold_all(None, sealed), tuple(sealed), definition, patterns)

    def _selecting(self, entry: Entry, names: frozenset[str], path: Path) -> Pattern | None:
        return next((each for each in self.patterns if each.selects(entry, names, _plain_path(entry, path))), None)

    def _note(self, pattern: Pattern, kind: str, value: Any, entry: Entry, secrets: Selected, path: Path = ()) -> None:
        if pattern.text in self.unmatched:
            self.unmatched.remove(pattern.text)
        if not secrets.add(kind, value, path):
            raise DefinitionError(
                f"--redact {pattern.text} selects a value of the type {kind}, which has no stand-in.",
                where=f"entry {entry.position}, {entry.kind} {entry.name}",
                fix="select what is secret in it more closely, or leave this run out",
            )

    def _collect(self, entry: Entry, names: frozenset[str], secrets: Selected) -> None:
        def look(path: Path, kind: str, value: Any) -> Any:
            pattern = self._selecting(entry, names, path)
            if pattern is not None and not _is_fixed(entry, path):
                self._note(pattern, kind, value, entry, secrets, path)
            return value

        if entry.body is not None:
            mapped(parsed(entry.body), _shape(entry), (), look)
        if entry.kind == kinds.CREATED:
            detail = entry.facts()
            for pattern in self.patterns:
                if pattern.part == "idempotency_key" and "idempotency_key" in detail:
                    self._note(pattern, "str", detail["idempotency_key"], entry, secrets)
                for name, value in (detail.get("tags") or {}).items() if pattern.part == "tags" else ():
                    if _covers(pattern.path, (name,)):
                        self._note(pattern, "str", value, entry, secrets)

    def _rewritten(self, entry: Entry, names: frozenset[str], secrets: Selected) -> Entry:
        def change(path: Path, kind: str, value: Any) -> Any:
            if _is_fixed(entry, path):
                return value
            return secrets.replaced(kind, value, path, here=self._selecting(entry, names, path) is not None)

        def note(before: Any, shape: Any, after: Any) -> None:
            texts = (text_of(before), text_of(after))
            if len(texts[0]) > LONG:
                first, second = (_captured_digest(text, shape) for text in texts)
                secrets.captured[first] = second

        body = entry.body
        if body is not None:
            before = parsed(body)
            after = mapped(before, _shape(entry), (), change, note)
            body = text_of(after) if after != before else body
        name = entry.name if entry.kind == kinds.CREATED else secrets.replaced("str", entry.name)
        return entry._replace(name=name, body=body, detail=_rewritten_detail(entry.detail, secrets))


# ── entries ──────────────────────────────────────────────────────────────────────────────────────


def _names_of(entry: Entry, commands: dict[str, str]) -> set[str]:
    """What a command goes by: its name, without the number of a repeated call, and an event's type."""
    names = {entry.name, commands.get(entry.command, entry.name)}
    return names | {_NUMBERED.sub("", name) for name in names}


def _plain_path(entry: Entry, path: Path) -> Path:
    """A leaf's path as a pattern writes it: without the wrapping that a closure's or a child's arguments have."""
    if entry.kind == kinds.STEP and path and path[0] in ("args", "kwargs", "captured"):
        return path[1:]
    if entry.kind == kinds.CHILD and path and path[0] == "input":
        return path[1:]
    return path


def _is_fixed(entry: Entry, path: Path) -> bool:
    """Names of classes and workflows, without which nothing could be read back."""
    if entry.kind in _FAILURES:
        return path[-1:] in (("type",), ("code",)) and "state" not in path and "args" not in path
    return entry.kind == kinds.CHILD and path == ("workflow",)


def _rewritten_detail(detail: str | None, secrets: Selected) -> str | None:
    if detail is None or not detail.startswith("{"):
        return detail
    facts: dict[str, Any] = parsed(detail)
    after = {
        name: mapped(value, None, (), lambda path, kind, leaf: secrets.replaced(kind, leaf, path))
        if name in _DETAIL_REWRITTEN
        else value
        for name, value in facts.items()
    }
    return detail if after == facts else text_of(after)


def _rewritten_source(source: str, secrets: Selected) -> str:
    """The recorded code without selected values in its literals, and without the folders in which it lay."""
    units: list[dict[str, Any]] = json.loads(source)
    rewritten = [
        {**unit, "file": basename(unit["file"]), "source": secrets.replaced_in_source(unit["source"])} for unit in units
    ]
    return json.dumps(rewritten, ensure_ascii=False)


def _captured_digest(body: str, shape: Any) -> str:
    """How a closure's arguments name a long captured value (`perdure.core.calls`)."""
    text = body
    if shape is not None:
        text += json.dumps(shape, ensure_ascii=False, separators=(",", ":"), sort_keys=True)
    return "blake2b:" + blake2b(text.encode("utf-8", "surrogatepass"), digest_size=16).hexdigest()


def _with_captured(entry: Entry, secrets: Selected) -> Entry:
    body = entry.body
    if entry.kind == kinds.STEP and body is not None:
        for before, after in secrets.captured.items():
            body = body.replace(before, after)
    return entry._replace(body=body)


def _refuse_leaks(entries: Sequence[Entry], secrets: Selected) -> None:
    """What was to be hidden must not be readable anywhere, such as in a run's id or a key of a mapping."""
    for entry in entries:
        for field, value in _readable(entry):
            if any(map(secrets.readable_in, texts_in(value))):
                raise DefinitionError(
                    f"a redacted value can still be read in the {field} of entry {entry.position}.",
                    where=f"entry {entry.position}, {entry.kind} {entry.name}".strip(),
                    why="it is part of a run's id, of a mapping's key, of a moment, or of a value of a type that is "
                    "kept, or the body or a step changed its letters",
                    fix="redact that too, or leave this run out",
                )


def _readable(entry: Entry) -> Iterator[tuple[str, Any]]:
    """What of an entry holds values, by its name."""
    detail = entry.detail or ""
    facts: Any = parsed(detail) if detail.startswith("{") else detail
    if isinstance(facts, dict):
        facts = {name: value for name, value in facts.items() if name not in _DETAIL_OF_CODE}
    yield "name", entry.name
    yield "value", None if entry.body is None else parsed(entry.body)
    yield "detail", facts
    if entry.due is not None:
        yield "time", _moment(entry.due)
    yield "time", _moment(entry.at)


def _moment(micros: int) -> str:
    try:
        return moment_text(micros)
    except OverflowError:  # beyond the calendar, so that no value was one
        return ""


def _shape(entry: Entry) -> Any:
    return None if entry.shape is None else json.loads(entry.shape)
