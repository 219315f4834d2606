"""The first difference between what a body asks for and what its ledger says, put into words.

Knows two entries and how to show them. The likely cause beyond the obvious is found by `perdure.replay`, which may read
definitions and walk again; this file must not.
"""

from __future__ import annotations

import json
from typing import Any, NamedTuple

from perdure.core.elided import elide_equal
from perdure.core.facts import RunFacts
from perdure.errors import Divergence
from perdure.storage import entries as kinds
from perdure.storage.entries import Entry

FIX = "restore the old body, or give the new one a new version and let old runs finish on the old one"


class DivergenceSignal(BaseException):  # a control signal, not an error anybody handles
    """Ends a body that may not go on; derives from BaseException so that `except Exception` lets it pass."""


class Difference(NamedTuple):
    """One recorded entry and what the body did instead."""

    recorded: Entry | None  # None: the ledger has nothing there
    replayed: Entry | None  # None: the body asked for nothing there, it waits
    position: int  # of `recorded`, or where the ledger would have the next entry
    length: int  # entries of the run
    site: str = ""  # the body's line that asked

    @property
    def recorded_site(self) -> str:
        """The line that asked when this was recorded: `orders.py:42`."""
        return site_of(self.recorded)


def divergence_of(facts: RunFacts, difference: Difference) -> Divergence:
    """Make the error of a difference, with its obvious cause."""
    cause, why = _obvious_cause(difference)
    return say(facts, difference, cause=cause, why=why)


def say(
    facts: RunFacts,
    difference: Difference,
    *,
    cause: str,
    why: str,
    evidence: str = "",
    fix: str = FIX,
    ledger: str = "LEDGER",
) -> Divergence:
    """Put a difference and its cause into the words of every divergence.

    Args:
        cause: its short name. why: a sentence. evidence: further lines that show what it was concluded from.
        ledger: the path for the command that looks further.
    """
    recorded, replayed = describe_both(difference)
    places = [f"{facts.workflow} v{facts.version}"]
    site = difference.site or difference.recorded_site
    if site:
        places.append(site)
    places.append(f"run {facts.run_id}")
    places.append(f"entry {difference.position} of {difference.length}")
    error = Divergence(
        _headline(difference),
        run_id=facts.run_id,
        position=difference.position,
        recorded=recorded,
        replayed=replayed,
        cause=cause,
        evidence=evidence,
        where=", ".join(places),
        why=f"{why}\n{evidence}" if evidence else why,
        fix=fix,
        inspect=f"perdure show {ledger} {facts.run_id} --at {min(difference.position, max(difference.length - 1, 0))}",
    )
    error.recorded_site = difference.recorded_site
    error.replayed_site = difference.site
    return error


def describe(entry: Entry | None) -> str:
    """Show a command or an ending as a person would write it: `charge_card("o1", 1250)`."""
    if entry is None:
        return "nothing: the body waits"
    if entry.kind == kinds.STEP:
        return f"{entry.name}({_arguments(entry.body)})"
    if entry.kind in kinds.ENDINGS:
        return f"{entry.kind} {_ending_value(entry)}".rstrip()
    return f"{entry.kind} {entry.name}({_arguments(entry.body)})"


def describe_both(difference: Difference) -> tuple[str, str]:
    """Show the two sides, one line each: equal parts of long ones elided, their source lines one below the other."""
    recorded = "nothing" if difference.recorded is None else describe(difference.recorded)
    first, second = elide_equal(recorded, describe(difference.replayed))
    width = max(len(first), len(second))
    sites = (difference.recorded_site, difference.site)
    shown = [f"{text:<{width}}   {site}" if site else text for text, site in zip((first, second), sites, strict=True)]
    return shown[0], shown[1]


def site_of(entry: Entry | None) -> str:
    """The source line that a command's entry names; empty when it names none."""
    if entry is None or not entry.detail or not entry.detail.startswith("{"):
        return ""
    return str(entry.facts().get("site", ""))


def _headline(difference: Difference) -> str:
    recorded, replayed, position = difference.recorded, difference.replayed, difference.position
    if replayed is None:
        return f"entry {position} is {_brief(recorded)}, but the body waits for something else."
    if replayed.kind in kinds.ENDINGS:
        if recorded is not None and recorded.kind == replayed.kind:
            return f"entry {position} is the run's end, but the body ended with another value."
        return f"the body {_ended(replayed)} at entry {position}, but the ledger has {_brief(recorded)} there."
    place = f"step {position}" if replayed.kind == kinds.STEP else f"entry {position}"
    if recorded is None:
        return f"{place} asked for {_brief(replayed)}, but the ledger has nothing there."
    if recorded.kind == replayed.kind and recorded.name == replayed.name:
        if recorded[8:10] == replayed[8:10]:
            return f"{place} asked for {_brief(replayed)} in another branch than the ledger has it."
        return f"{place} asked for {_brief(replayed)} with other arguments than the ledger has."
    return f"{place} asked for {_brief(replayed)}, but the ledger has {_brief(recorded)} there."


def _brief(entry: Entry | None) -> str:
    if entry is None:
        return "nothing"
    if entry.kind == kinds.STEP:
        return entry.name
    if entry.kind in kinds.ENDINGS:
        return f"the run's end ({entry.kind})"
    return f"{entry.kind} {entry.name}".strip()


def _ended(entry: Entry) -> str:
    said = {kinds.COMPLETED: "returned", kinds.CANCELLED: "was cancelled", kinds.CONTINUED: "continued as another run"}
    return said.get(entry.kind, "raised")


def _ending_value(entry: Entry) -> str:
    if entry.body is None:
        return ""
    if entry.kind in (kinds.COMPLETED, kinds.CONTINUED):
        return entry.body
    failure: Any = json.loads(entry.body)
    return f"{failure.get('type', '')}: {failure.get('message', '')}"


def _obvious_cause(difference: Difference) -> tuple[str, str]:
    recorded, replayed = difference.recorded, difference.replayed
    if recorded is None:
        return "step added", "the body asks for more than it did when this was recorded"
    if replayed is None:
        return "step removed", "the body no longer asks for what was recorded"
    if recorded.kind in kinds.ENDINGS and replayed.kind in kinds.ENDINGS:
        return "output changed", "the body ends otherwise for the same recorded outcomes"
    if recorded.kind == replayed.kind and recorded.name == replayed.name and recorded.body != replayed.body:
        return "argument changed", "the same command has other arguments"
    return "body changed", "the body asks for another command than it did when this was recorded"


def _arguments(body: str | None) -> str:
    if body is None:
        return ""
    return body[1:-1] if body.startswith("[") and body.endswith("]") else body
