"""The first difference between what a body asks for and what its ledger says, put into words.

Knows two entries and how to show them. The likely cause beyond the obvious is found by `perdure.replay.causes`, which
may read definitions and walk again; this file must not.
"""

from __future__ import annotations

import json
from typing import Any

from perdure.core.facts import RunFacts
from perdure.errors import Divergence
from perdure.storage import entries as kinds
from perdure.storage.entries import Entry

_SHOWN_CHARACTERS_MAX = 300


class DivergenceSignal(BaseException):  # noqa: N818  # a control signal, not an error anybody handles
    """Ends a body that may not go on; derives from BaseException so that `except Exception` lets it pass."""


def mismatch(facts: RunFacts, recorded: Entry | None, replayed: Entry | None, where: str = "") -> Divergence:
    """Make the divergence of one recorded entry and what the body did instead.

    Args:
        recorded: None when the ledger has nothing there.
        replayed: None when the body asked for nothing there: it waits.
        where: the body's line that asked.
    """
    position = recorded.position if recorded is not None else 0
    places = [f"{facts.workflow} v{facts.version}"]
    recorded_site = _detail(recorded).get("site", "") if recorded is not None else ""
    if where or recorded_site:
        places.append(where or recorded_site)
    places.append(f"run {facts.run_id}")
    if recorded is not None:
        places.append(f"entry {position}")
    cause, why = _obvious_cause(recorded, replayed)
    return Divergence(
        _headline(recorded, replayed, position),
        run_id=facts.run_id,
        position=position,
        recorded=describe(recorded) + (f"   [{recorded_site}]" if recorded_site else ""),
        replayed=describe(replayed) + (f"   [{where}]" if where else ""),
        cause=cause,
        where=", ".join(places),
        why=why,
        fix="restore the old body, or give the new one a new version and let old runs finish on the old one",
    )


def describe(entry: Entry | None) -> str:
    """Show a command or an ending as a person would write it: `charge_card("o1", 1250)`."""
    if entry is None:
        return "nothing: the body waits"
    if entry.kind == kinds.STEP:
        return f"{entry.name}({_arguments(entry.body)})"
    if entry.kind in kinds.ENDINGS:
        return f"{entry.kind} {_short(entry.body or '')}".rstrip()
    return f"{entry.kind} {entry.name}({_arguments(entry.body)})"


def _headline(recorded: Entry | None, replayed: Entry | None, position: int) -> str:
    if replayed is None:
        return f"entry {position} is {_brief(recorded)}, but the body waits for something else."
    if recorded is None:
        return f"the body asked for {_brief(replayed)}, but the ledger has nothing there."
    if recorded.kind == replayed.kind and recorded.name == replayed.name:
        if recorded.kind in kinds.ENDINGS:
            return f"entry {position} is the run's end, but the body ended with another value."
        return f"entry {position} asked for {_brief(replayed)} with other arguments than the ledger has."
    return f"entry {position} asked for {_brief(replayed)}, but the ledger has {_brief(recorded)} there."


def _brief(entry: Entry | None) -> str:
    if entry is None:
        return "nothing"
    if entry.kind == kinds.STEP:
        return entry.name
    return f"{entry.kind} {entry.name}".strip()


def _obvious_cause(recorded: Entry | None, replayed: Entry | None) -> tuple[str, str]:
    if recorded is None:
        return "step added", "the body asks for more than it did when this was recorded"
    if replayed is None:
        return "step removed", "the body no longer asks for what was recorded"
    if recorded.kind == replayed.kind and recorded.name == replayed.name:
        if recorded.kind in kinds.ENDINGS:
            return "output changed", "the body returns something else for the same recorded outcomes"
        return "argument changed", "the same command has other arguments"
    return "body changed", "the body asks for another command than it did when this was recorded"


def _detail(entry: Entry) -> dict[str, Any]:
    return json.loads(entry.detail) if entry.detail else {}


def _arguments(body: str | None) -> str:
    if body is None:
        return ""
    text = body[1:-1] if body.startswith("[") and body.endswith("]") else body
    return _short(text)


def _short(text: str) -> str:
    if len(text) <= _SHOWN_CHARACTERS_MAX:
        return text
    return f"{text[:_SHOWN_CHARACTERS_MAX]}… ({len(text):,} characters)"
