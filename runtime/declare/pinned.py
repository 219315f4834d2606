"""Definitions with the code that a ledger recorded: the body of then, with the steps and models of today's modules.

Knows recorded closures and registries. Must not know runs, nor why somebody wants the old code.
"""

from __future__ import annotations

import inspect
import warnings
from collections.abc import Callable, Coroutine, Mapping
from typing import Any

from perdure.declare.options import WorkflowOptions
from perdure.declare.registry import Definition, Registry
from perdure.errors import DefinitionError, DeterminismWarning, PerdureError
from perdure.sandbox import Restricted, load_sources, restrict_pinned
from perdure.storage.encoding import Encoded
from perdure.storage.entries import DefinitionRow


class PinnedDefinition:
    """A recorded body. Options, and how input and output are validated, are those of today's definition.

    Attributes:
        id, version, digest: those of the recorded definition.
        source_json: its source closure as the ledger has it.
        today: the definition that stands for it in today's code.
        restricted: the recorded body, under today's policy.
        takes: how many of (input, step, ctx) it takes.
    """

    def __init__(self, recorded: DefinitionRow, today: Definition) -> None:
        self.id = recorded.workflow
        self.version = recorded.version
        self.digest = recorded.digest
        self.source_json = recorded.source
        self.today = today
        # What has not changed since is at hand, also where it could not be made from its text alone.
        same = recorded.digest == today.digest
        self.restricted: Restricted = today.restricted if same else _restricted(recorded, strict=today.strict)
        self.takes = len(inspect.signature(self.restricted.original).parameters)

    def __repr__(self) -> str:
        return f"<pinned workflow {self.id} v{self.version}, {self.digest[:8]}>"

    @property
    def options(self) -> WorkflowOptions:
        """Today's options."""
        return self.today.options

    @property
    def libraries(self) -> Mapping[str, str]:
        """The versions of the libraries that today's definition can call."""
        return self.today.libraries

    def body(self) -> Callable[..., Coroutine[Any, Any, Any]]:
        """The restricted body."""
        return self.restricted.function

    def encode_input(self, value: object) -> Encoded:
        """Validate an input as today's definition does, and encode it."""
        return self.today.encode_input(value)

    def encode_output(self, value: object) -> Encoded:
        """Validate what the body returned as today's definition does, and encode it."""
        return self.today.encode_output(value)


class PinnedCode:
    """The recorded definitions of one ledger, each loaded once.

    Args:
        registry: today's definitions, whose modules are imported.
        find: looks a recorded definition up by its digest.
    """

    def __init__(self, registry: Registry, find: Callable[[str], DefinitionRow | None]) -> None:
        self._registry = registry
        self._find = find
        self._loaded: dict[tuple[str, str], PinnedDefinition | PerdureError] = {}

    def get(self, digest: str, workflow: str, version: str) -> PinnedDefinition:
        """Find the definition that a run of this workflow and version was started with.

        Raises:
            UnknownWorkflow: today's code has no workflow of that id.
            DefinitionError: the ledger has no such definition, or it can't be loaded any more.
            PolicyViolation: today's policy refuses it.
        """
        # Two versions may have the same code; what stands for it today is found by the version.
        key = digest, version
        if key not in self._loaded:
            try:
                self._loaded[key] = self._load(digest, workflow, version)
            except PerdureError as error:
                self._loaded[key] = error
        found = self._loaded[key]
        if isinstance(found, PerdureError):
            raise found
        return found

    def _load(self, digest: str, workflow: str, version: str) -> PinnedDefinition:
        registry = self._registry
        today = registry.get(workflow, version) if registry.knows(workflow, version) else registry.newest(workflow)
        recorded = self._find(digest)
        if recorded is None:
            raise DefinitionError(
                f"the ledger does not have the code that {workflow} v{version} ran with.",
                where=f"definition {digest}",
                fix="replay it on today's code instead",
            )
        return PinnedDefinition(recorded._replace(workflow=workflow, version=version), today)


def _restricted(recorded: DefinitionRow, *, strict: bool) -> Restricted:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeterminismWarning)  # told when this code was new
            return restrict_pinned(load_sources(recorded.source), strict=strict)
    except PerdureError:
        raise
    except Exception as error:  # recorded text may fail in any way when it is run as code: told as what can't be loaded
        raise DefinitionError(
            f"the recorded code of {recorded.workflow} v{recorded.version} can't be loaded: "
            f"{type(error).__name__}: {error}",
            where=f"definition {recorded.digest}",
            why="pinned code takes its steps and models from today's modules, and something there is not as it was",
            fix="bring back what it misses, or replay on today's code",
        ) from error
