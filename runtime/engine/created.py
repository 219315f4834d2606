"""What a run's first entry says beside its input: the detail of CREATED.

Most of it is the same for all runs of a definition, so its text is kept. Knows how it is written down, and where that
entry is. Must not know when a run begins.
"""

from __future__ import annotations

import platform
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final

from perdure.declare.recorded_options import record_options
from perdure.declare.registry import Definition
from perdure.storage.entries import Entry
from perdure.storage.ledger import Ledger
from perdure.storage.plain import spaced_text

if TYPE_CHECKING:
    from perdure.engine.batch import Batch
    from perdure.engine.starting import Start

PYTHON: Final = ".".join(platform.python_version_tuple()[:2])


class CreatedDetails:
    """The details of the runs that one engine starts."""

    def __init__(self) -> None:
        #: By definition: the digest and the libraries that its texts are about, as long as they are the same.
        self._texts: dict[Definition, tuple[str, Mapping[str, str], str, str]] = {}

    def text(self, wanted: Start, run_id: str, key: str | None, timeout_at: int | None) -> str:
        """Write a run's detail: what `json.dumps` gives for all of it."""
        first, last = self._constant(wanted.definition)
        optional = {
            "tags": dict(wanted.tags),
            "idempotency_key": key,
            "parent_run_id": wanted.parent_run_id,
            "parent_command": wanted.parent_command,
            "on_parent_close": wanted.on_parent_close,
            "timeout_at": timeout_at,
            "continued_from": wanted.continued_from,
            "queue": wanted.place,
            "cause": wanted.cause,
            "cascade": wanted.cascade,
        }
        given = {name: value for name, value in optional.items() if value}
        run = _inside({"run_id": run_id})
        return f"{{{run}, {first}{', ' + _inside(given) if given else ''}{last}}}"

    def _constant(self, definition: Definition) -> tuple[str, str]:
        digest, libraries = definition.digest, definition.libraries
        known = self._texts.get(definition)
        if known is not None and known[0] == digest and known[1] is libraries:
            return known[2:]
        first = {"version": definition.version, "definition": digest, "python": PYTHON, "libraries": dict(libraries)}
        options = record_options(definition.options)
        last = ", " + _inside({"options": options}) if options else ""
        self._texts[definition] = digest, libraries, _inside(first), last
        return _inside(first), last


def first_entry_of(run: int, ledger: Ledger, batch: Batch) -> Entry:
    """A run's first entry, which may be of this very batch."""
    recorded = ledger.entries(run, 0, 1)
    return recorded[0] if recorded else next(each for each in batch.entries if each.run == run)


def _inside(facts: Mapping[str, Any]) -> str:
    """The text of a JSON object without its braces."""
    return spaced_text(facts)[1:-1]
