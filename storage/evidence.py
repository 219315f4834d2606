"""What is kept elsewhere to prove later that no history was rewritten, chain and all.

A chain of digests shows what was changed by somebody who did not recompute it. Who can write the file can recompute it;
so the head of each run, its length and newest digest, is written down in a document that lies where the ledger's writer
has no hand. Later, every run must still have that digest at that length: it may have grown, and new ones may have come.

    {"perdure_evidence": 1, "perdure": "0.1.0", "at": "2030-01-01T00:00:00+00:00", "root": "5f…",
     "definitions": {"<digest>": "<digest of its row>", …},
     "runs": [{"run": 1, "run_id": "order-1", "length": 6, "digest": "ab…"}, …]}

`root` is BLAKE2b-256 over one line for each definition, `["definition","<digest>","<digest of its row>"]`, in order of
their digests, and then for each run, `[1,"order-1",6,"ab…"]`, in order of their numbers: compact JSON, ASCII, a newline
after each. Whoever keeps the root alone can tell whether a document is the one that was exported.

This file knows the document. It must not know how a ledger is gone through (verify.py).
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from hashlib import blake2b
from typing import Any, Final, NamedTuple, TextIO

from perdure.errors import LedgerCorrupt, LedgerTooNew
from perdure.storage.chain import DIGEST_BYTES
from perdure.storage.entries import DefinitionRow, Entry
from perdure.storage.ledger import RunRow

FORMAT: Final = 1


class Head(NamedTuple):
    """A run as far as it had got."""

    run: int
    run_id: str
    length: int
    digest: str  # hexadecimal, of its newest entry


@dataclass(slots=True)
class Evidence:
    """The heads of all runs of a ledger, and its definitions."""

    perdure: str  # version that wrote it
    at: str  # when, ISO 8601
    heads: dict[str, Head] = field(default_factory=dict)  # by run_id
    definitions: dict[str, str] = field(default_factory=dict)  # digest → digest of the row

    def take(self, row: RunRow) -> None:
        """Write down where a run stands."""
        self.heads[row.run_id] = Head(row.run, row.run_id, row.length, row.digest.hex())

    def take_definition(self, row: DefinitionRow) -> None:
        """Write down what a definition says."""
        self.definitions[row.digest] = definition_digest(row)

    def in_order(self) -> list[Head]:
        """The heads by the numbers of their runs."""
        return sorted(self.heads.values())

    @property
    def root(self) -> str:
        """One digest over everything."""
        hasher = blake2b(digest_size=DIGEST_BYTES)
        for digest, of_row in sorted(self.definitions.items()):
            hasher.update(_line(["definition", digest, of_row]))
        for head in self.in_order():
            hasher.update(_line(head))
        return hasher.hexdigest()

    def change_in(self, row: RunRow, entries: Sequence[Entry]) -> tuple[int, str] | None:
        """Compare a run with its head: None, or at which position it is not what it was, and how."""
        head = self.heads.get(row.run_id)
        if head is None:
            return None  # it came later
        if row.run != head.run:
            return 0, f"it is run number {row.run}, and was {head.run} in the evidence: it was replaced"
        if len(entries) < head.length:
            return len(entries), f"it has {len(entries)} entries, and had {head.length} in the evidence: it was cut off"
        if entries[head.length - 1].digest.hex() != head.digest:
            return head.length - 1, (
                f"its history up to here is not that of the evidence: one of the entries 0 to {head.length - 1} was "
                "rewritten, with all digests after it"
            )
        return None

    def write(self, file: TextIO) -> None:
        """Write the document, a run a line."""
        facts = {"perdure_evidence": FORMAT, "perdure": self.perdure, "at": self.at, "root": self.root}
        file.write("{" + ", ".join(f"{json.dumps(name)}: {json.dumps(value)}" for name, value in facts.items()))
        definitions = dict(sorted(self.definitions.items()))
        file.write(f',\n "definitions": {json.dumps(definitions, indent=2)},\n "runs": [')
        separator = "\n  "
        for head in self.in_order():
            file.write(separator + json.dumps(head._asdict()))
            separator = ",\n  "
        file.write("\n]}\n")


def read_evidence(text: str, name: str) -> Evidence:
    """Read a document back.

    Raises:
        LedgerTooNew: a newer release wrote it. LedgerCorrupt: it is none, or was changed since it was exported.
    """
    fix = "take the file as `perdure verify LEDGER --export FILE` wrote it"
    try:
        facts: Any = json.loads(text)
        if not isinstance(facts, dict) or "perdure_evidence" not in facts:
            raise ValueError("it has no key `perdure_evidence`")
        if facts["perdure_evidence"] != FORMAT:
            raise LedgerTooNew(
                f"the evidence has format {facts['perdure_evidence']!r}, and this release reads {FORMAT}.",
                where=name, fix="verify with the release that wrote it, or a newer one",
            )  # fmt: skip
        evidence = Evidence(facts["perdure"], facts["at"])
        evidence.definitions = _texts(facts["definitions"])
        for each in facts["runs"]:
            head = Head(int(each["run"]), str(each["run_id"]), int(each["length"]), str(each["digest"]))
            if head.length < 1 or head.run_id in evidence.heads:
                raise ValueError(f"run {head.run_id!r} is there twice, or has no length")
            evidence.heads[head.run_id] = head
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise LedgerCorrupt("the file is no evidence.", where=name, why=repr(error), fix=fix) from error
    if evidence.root != facts.get("root"):
        raise LedgerCorrupt(
            "the evidence was changed since it was exported.", where=name, fix=fix,
            why=f"its root is {evidence.root}, and it says {facts.get('root')}",
        )  # fmt: skip
    return evidence


def definition_digest(row: DefinitionRow) -> str:
    """Digest everything that the ledger says of a definition."""
    return blake2b(_line(row), digest_size=DIGEST_BYTES).hexdigest()


def _line(fields: Iterable[object]) -> bytes:
    return json.dumps(list(fields), separators=(",", ":")).encode("ascii") + b"\n"


def _texts(facts: Mapping[str, Any]) -> dict[str, str]:
    return {str(name): str(value) for name, value in facts.items()}
