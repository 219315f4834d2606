"""Which definition walks a run: the one that it started with, even when today's code has another one, or none.

    pinned   a run goes on with the body that the ledger recorded for it; steps and models are today's
    today    a run goes on with the body that is registered under its id and version, as one wants it in development

Knows registries and recorded definitions. Must not know what is done with them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, Literal, TypeAlias

from perdure.declare.options import WorkflowOptions
from perdure.declare.pinned import PinnedCode, PinnedDefinition
from perdure.declare.recorded_options import recorded_options
from perdure.declare.registry import Definition
from perdure.engine.created import PYTHON
from perdure.errors import DefinitionError
from perdure.storage import entries as kinds
from perdure.storage.entries import DefinitionRow
from perdure.storage.ledger import Ledger, RunRow

if TYPE_CHECKING:
    from perdure.engine.batch import Batch
    from perdure.engine.engine import Engine

Code: TypeAlias = Literal["pinned", "today"]
_CODES: Final[tuple[Code, ...]] = ("pinned", "today")


def checked_code(code: str) -> Code:
    """Refuse another word than the two."""
    for known in _CODES:
        if code == known:
            return known
    raise DefinitionError(
        f"code={code!r} can't be used.",
        fix='give "pinned" (runs go on with the code they started with) or "today" (with what is registered now)',
    )


class Definitions:
    """The definitions that one engine walks runs on. To be asked on the engine's thread."""

    def __init__(self, engine: Engine, code: Code) -> None:
        self.code = code
        self._engine = engine
        self._pinned = PinnedCode(engine.registry, engine.ledger.definition)

    def of(self, row: RunRow) -> Definition | PinnedDefinition:
        """Find what walks a run.

        Raises:
            UnknownWorkflow: it is to be today's, and nobody registered that.
            DefinitionError, PolicyViolation, LedgerCorrupt: the recorded code can't be loaded; each says why.
        """
        registry = self._engine.registry
        if self.code == "today":
            return registry.get(row.workflow, row.version)
        if registry.knows(row.workflow, row.version):
            today = registry.get(row.workflow, row.version)
            if today.digest == row.definition:
                return today
        return self._pinned.get(row.definition, row.workflow, row.version, lambda: options_of(self._engine.ledger, row))

    def keep(self, definition: Definition, batch: Batch) -> None:
        """Store the definition's source the first time that a run starts with it."""
        digest = definition.digest
        if self._engine.ledger.has_definition(digest) or any(row.digest == digest for row in batch.definitions):
            return
        batch.definitions.append(
            DefinitionRow(digest, definition.id, definition.version, PYTHON, definition.source_json, batch.now)
        )

    def may_walk(self, row: RunRow) -> bool:
        """Whether it is worth trying: on today's code a workflow that nobody registered here is left alone."""
        return self.code == "pinned" or self._engine.registry.knows(row.workflow, row.version)


def options_of(ledger: Ledger, row: RunRow) -> WorkflowOptions:
    """The options that were recorded with a run when it was started, or when it last went over to other code."""
    upgraded = ledger.selected(row.run, {kinds.UPGRADED})
    latest = upgraded[-1] if upgraded else ledger.entries(row.run, 0, 1)[0]
    return recorded_options(latest.facts().get("options", {}))
