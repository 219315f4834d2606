"""How activity reads: a line for people, or one JSON object for machines.

Knows words and colours. Must not know where lines go.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, Final

from rich.text import Text

from perdure.cli.activity import Activity, LogLine, Told
from perdure.cli.output import STATUS_STYLES, as_plain, elapsed_text
from perdure.storage import entries as kinds
from perdure.storage.entries import Entry
from perdure.storage.failures import decode_failure

_STEP_KINDS: Final = frozenset(
    {kinds.STEP, kinds.STEP_STARTED, kinds.STEP_COMPLETED, kinds.STEP_FAILED, kinds.STEP_RETRYING}
)
_FAILURES: Final = frozenset(
    {kinds.STEP_FAILED, kinds.STEP_RETRYING, kinds.FAILED, kinds.RETRYING, kinds.CHILD_FAILED, kinds.HOOK_REFUSED}
)
_WRONG: Final = frozenset({kinds.FAILED, kinds.DIVERGED})
_QUIETLY: Final = frozenset({"DEBUG", "INFO", ""})
_ERROR_CHARACTERS_MAX: Final = 300


def told_when_quiet(told: Told) -> bool:
    """Whether it is something that went wrong."""
    return told.level not in _QUIETLY if isinstance(told, LogLine) else told.entry.kind in _WRONG


# ── for people ───────────────────────────────────────────────────────────────────────────────────


def line_of(told: Told, width: int = 0) -> Text | None:
    """The line for people, None for what is no news to them. Workflows are padded to `width`."""
    if isinstance(told, LogLine):
        return _log_line(told, width)
    words = _words(told)
    if words is None:
        return None
    text, style = words
    return _begun(told.entry.at, told.workflow, told.run_id, width).append(text, style)


def took_text(us: int) -> str:
    """How long something took: `0.012s`, `3m07s`."""
    return elapsed_text(us).removeprefix("+")


def _begun(at: int, workflow: str, run_id: str, width: int) -> Text:
    line = Text(datetime.fromtimestamp(at / 1_000_000, UTC).strftime("%H:%M:%SZ  "), style="")
    line.stylize("dim")
    return line.append(f"{workflow:<{width}}  ").append(f"{run_id}  ", "bold")


def _words(told: Activity) -> tuple[str, str] | None:
    """What is said of an entry, and its colour."""
    entry = told.entry
    match entry.kind:
        case kinds.CREATED:
            return _created_words(told), ""
        case kinds.BEGAN:
            return "began", ""
        case kinds.RESTARTED:
            return f"begins attempt {entry.attempt}", ""
        case kinds.REQUEUED:
            return "is to be tried again, waits on its queue", ""
        case kinds.STEP_RETRYING:
            pause = took_text(max(0, (entry.due or entry.at) - entry.at))
            return f"{entry.name} failed, attempt {entry.attempt}, next one in {pause}: {_error(entry)}", "yellow"
        case kinds.STEP_FAILED:
            tried = f" after {entry.attempt} attempts" if entry.attempt > 1 else ""
            return f"{entry.name} failed for good{tried}: {_error(entry)}", "red"
        case kinds.CANCEL_REQUESTED:
            return ("ran out of time" if entry.name == "timeout" else "was asked to stop"), "yellow"
        case kinds.UPGRADED:
            return "goes on with other code", ""
        case kinds.RECOVERED:
            return "goes on, no longer diverged", "green"
        case kinds.DIVERGED:
            return f"diverged: {_shortened(told.error or '')}", STATUS_STYLES["diverged"]
        case _:
            return _ending_words(told)


def _created_words(told: Activity) -> str:
    by = f" by {told.parent_run_id}" if told.parent_run_id is not None else ""
    if told.entry.due is not None:
        return f"created{by}, begins {datetime.fromtimestamp(told.entry.due / 1_000_000, UTC):%Y-%m-%d %H:%M:%SZ}"
    if told.status == "queued" and told.queue is not None:
        return f"created{by}, waits on queue {told.queue}"
    return f"started{by}"


def _ending_words(told: Activity) -> tuple[str, str] | None:
    entry = told.entry
    took = took_text(told.took_us or 0)
    match entry.kind:
        case kinds.COMPLETED:
            return f"completed in {took}", STATUS_STYLES["completed"]
        case kinds.FAILED:
            return f"failed after {took}: {_error(entry)}", STATUS_STYLES["failed"]
        case kinds.CANCELLED:
            return f"cancelled after {took}", STATUS_STYLES["cancelled"]
        case kinds.RETRYING:
            pause = took_text(max(0, (entry.due or entry.at) - entry.at))
            return f"failed after {took}, next attempt in {pause}: {_error(entry)}", STATUS_STYLES["awaiting_retry"]
        case kinds.CONTINUED:
            return f"continues as {told.continued_as} after {took}", ""
        case _:
            return None


def _log_line(told: LogLine, width: int) -> Text:
    if told.run_id:
        line = _begun(told.at, told.workflow, told.run_id, width)
    else:
        line = Text(datetime.fromtimestamp(told.at / 1_000_000, UTC).strftime("%H:%M:%SZ  "), style="")
        line.stylize("dim")
        line.append(f"{told.logger}  ", "dim")
    if told.level not in _QUIETLY:
        line.append(f"{told.level.lower()}: ", "bold red" if told.level in ("ERROR", "CRITICAL") else "yellow")
    line.append(told.text)
    for name, value in told.fields.items():
        line.append(f" {name}={value!r}", "dim")
    if told.exception:
        line.append("\n" + told.exception.rstrip("\n"), "dim")
    return line


def _error(entry: Entry) -> str:
    return _shortened(decode_failure(entry.body or "null", entry.shape).first_line)


def _shortened(text: str) -> str:
    line = text.partition("\n")[0]
    return line if len(line) <= _ERROR_CHARACTERS_MAX else line[: _ERROR_CHARACTERS_MAX - 1] + "…"


# ── for machines ─────────────────────────────────────────────────────────────────────────────────


def json_line(event: str, at: int, **facts: Any) -> str:
    """One JSON object on one line; what is None is left out."""
    shown = {"at": datetime.fromtimestamp(at / 1_000_000, UTC).isoformat(), "event": event}
    shown |= {name: value for name, value in facts.items() if value is not None}
    try:
        return json.dumps(shown, ensure_ascii=False, allow_nan=False, default=as_plain)
    except (
        TypeError,
        ValueError,
    ):  # a field of a log: a key that is no text, a NaN, a circle
        return json.dumps({name: _in_words(value) for name, value in shown.items()}, ensure_ascii=False)


def _in_words(value: Any) -> str:
    return value if isinstance(value, str) else repr(value)


def json_of(told: Told) -> str:
    """The line for machines."""
    if isinstance(told, LogLine):
        return _log_json(told)
    entry = told.entry
    is_step = entry.kind in _STEP_KINDS
    return json_line(
        entry.kind,
        entry.at,
        workflow=told.workflow,
        version=told.version,
        run_id=told.run_id,
        position=entry.position,
        status=told.status,
        step=entry.name if is_step else None,
        name=entry.name if entry.name and not is_step and entry.kind != kinds.CREATED else None,
        attempt=entry.attempt or None,
        duration_s=None if told.took_us is None else told.took_us / 1_000_000,
        due=None if entry.due is None else datetime.fromtimestamp(entry.due / 1_000_000, UTC),
        error=_error_json(told),
        queue=told.queue if entry.kind == kinds.CREATED else None,
        parent_run_id=told.parent_run_id if entry.kind == kinds.CREATED else None,
        continued_as=told.continued_as if entry.kind == kinds.CONTINUED else None,
    )


def _error_json(told: Activity) -> Mapping[str, str] | None:
    entry = told.entry
    if entry.kind == kinds.DIVERGED:
        return {"type": "Divergence", "message": told.error or ""}
    if entry.kind not in _FAILURES or entry.body is None:
        return None
    failure = decode_failure(entry.body, entry.shape)
    return {"type": failure.error_type, "message": failure.message, "traceback": failure.traceback_text}


def _log_json(told: LogLine) -> str:
    return json_line(
        "log" if told.level else "print",
        told.at,
        level=told.level.lower() or None,
        logger=told.logger or None,
        workflow=told.workflow or None,
        run_id=told.run_id or None,
        attempt=told.attempt or None,
        message=told.text,
        fields=told.fields or None,
        exception=told.exception or None,
    )
