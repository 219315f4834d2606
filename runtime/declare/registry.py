"""The workflows that a runtime knows, by id and version, and how they are found in modules.

Knows definitions. Must not know runs.
"""

from __future__ import annotations

import difflib
import logging
from collections.abc import Callable, Coroutine, Iterable
from types import ModuleType
from typing import Any, TypeAlias

from typing_extensions import TypeVar  # with a default, before Python 3.13

from perdure.declare.back_ends import BackEnds
from perdure.declare.workflow import WorkflowDefinition
from perdure.errors import DefinitionError, UnknownWorkflow

logger = logging.getLogger("perdure")

Definition: TypeAlias = WorkflowDefinition[Any]

#: What a workflow's body returns. Who names it by its id leaves that open.
Output = TypeVar("Output", default=Any)
#: A workflow or its id.
Startable: TypeAlias = str | WorkflowDefinition[Callable[..., Coroutine[Any, Any, Output]]]


class Registry:
    """Definitions by id, then version; the newest of an id is the one registered last.

    Attributes:
        back_ends: what the modules that they were found in say of services, for commands.
    """

    def __init__(self, found: Iterable[Definition] = ()) -> None:
        self._by_id: dict[str, dict[str, Definition]] = {}
        self.back_ends = BackEnds()
        for definition in found:
            self.add(definition)

    def add(self, definition: Definition) -> None:
        """Register a workflow, linking its body.

        Raises:
            DefinitionError: another definition has the same id and version.
            PolicyViolation: its body, now that its names exist, breaks the policy.
        """
        versions = self._by_id.setdefault(definition.id, {})
        other = versions.get(definition.version)
        if other is definition:
            return
        if other is not None:
            raise DefinitionError(
                f"two workflows are {definition.id!r} version {definition.version!r}.",
                where=f"{other.site} and {definition.site}",
                fix="give one of them another id or version",
            )
        definition.link()
        versions[definition.version] = definition

    def newest(self, id: str) -> Definition:
        """Find what `start` uses: the version registered last."""
        versions = self._by_id.get(id)
        if not versions:
            raise self.unknown(id)
        return next(reversed(versions.values()))

    def get(self, id: str, version: str) -> Definition:
        """Find one version."""
        versions = self._by_id.get(id)
        if not versions:
            raise self.unknown(id)
        definition = versions.get(version)
        if definition is None:
            raise self._unknown(f"workflow {id!r} has no version {version!r}; it has {', '.join(map(repr, versions))}.")
        return definition

    def find(self, workflow: str | Definition, version: str | None = None) -> Definition:
        """Find the definition that a caller names: a workflow or its id, and a version of it.

        Raises:
            DefinitionError: it is neither. UnknownWorkflow: it is not registered.
        """
        if not isinstance(workflow, (str, WorkflowDefinition)):
            raise DefinitionError(
                f"{workflow!r} is no workflow.", fix='pass a function decorated with @workflow, or its id: "shipping"'
            )
        if isinstance(workflow, str):
            return self.newest(workflow) if version is None else self.get(workflow, version)
        return self.get(workflow.id, version or workflow.version)

    def knows(self, id: str, version: str) -> bool:
        """Whether this version is registered."""
        return version in self._by_id.get(id, {})

    def all(self) -> list[Definition]:
        """List every definition, in order of registration within each id."""
        return [definition for versions in self._by_id.values() for definition in versions.values()]

    def log_missing(self) -> None:
        """Log the places of bodies that start a workflow by an id that is not registered: it would fail there."""
        for definition in self.all():
            for started in definition.restricted.started:
                if started.id not in self._by_id:
                    error = self.unknown(started.id)
                    error.where = f"{started.file}:{started.line}, in workflow {definition.id} v{definition.version}"
                    logger.warning("%s", error)

    def unknown(self, id: str) -> UnknownWorkflow:
        """Make the error for an id that is not registered."""
        return self._unknown(f"no workflow has the id {id!r}.", id)

    def _unknown(self, message: str, id: str | None = None) -> UnknownWorkflow:
        known = ", ".join(sorted(self._by_id)) or "none"
        close = difflib.get_close_matches(id or "", self._by_id, n=1)
        fix = f"did you mean {close[0]!r}? Else pass" if close else "pass"
        return UnknownWorkflow(
            message, why=f"registered are: {known}", fix=f"{fix} it to Runtime(workflows=[…]), or mend the name"
        )


def workflows_of(source: object) -> list[Definition]:
    """Take what `workflows=` may be: a definition, a module, or a list of either."""
    if isinstance(source, WorkflowDefinition):
        return [source]
    if isinstance(source, ModuleType):
        # A definition imported into a second module is the same object; it is found once.
        found = {id(value): value for value in vars(source).values() if isinstance(value, WorkflowDefinition)}
        return list(found.values())
    if isinstance(source, Iterable) and not isinstance(source, (str, bytes)):
        return [definition for each in source for definition in workflows_of(each)]
    raise DefinitionError(
        f"workflows={source!r} can't be used.", fix="pass a list of functions decorated with @workflow, or a module"
    )
