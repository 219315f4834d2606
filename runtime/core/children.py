"""Child runs as a body sees them: their ids, and the handle that `spawn` gives."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, Generic

from perdure.core.facts import RunFacts
from perdure.declare.registry import Output
from perdure.durations import Duration
from perdure.errors import DefinitionError
from perdure.storage.encoding import Encoded, encode

if TYPE_CHECKING:
    from perdure.core.step import StepContext


def child_run_id(facts: RunFacts, command: str) -> str:
    """Derive a child's run_id from its parent and the command, so that a crash between the two can't double it."""
    again = f"~{facts.attempt}" if facts.attempt > 1 else ""
    return f"{facts.run_id}-{command.replace('/', '-')}{again}"


def child_named(detail: str | None) -> str:
    """The run_id that a child's command has recorded; what was recorded counts, whoever derives it differently now."""
    return str(json.loads(detail or "{}")["run_id"])


def child_input(workflow: str, value: Any) -> Encoded:
    """Write down what a child is asked to do; which workflow it is counts as an argument."""
    return encode({"workflow": workflow, "input": value})


def workflow_id(workflow: object) -> str:
    """Take a workflow or its id."""
    if isinstance(workflow, str) and workflow:
        return workflow
    wanted = getattr(workflow, "id", None)
    if isinstance(wanted, str) and wanted:
        return wanted
    raise DefinitionError(
        f"{workflow!r} is no workflow.", fix='pass a function decorated with @workflow, or its id: "shipping"'
    )


class ChildHandle(Generic[Output]):
    """A child run that goes on beside its parent."""

    __perdure_opaque__ = True
    __slots__ = ("_name", "_step", "run_id")

    def __init__(self, step: StepContext, name: str, run_id: str) -> None:
        self._step = step
        self._name = name
        self.run_id = run_id

    def __repr__(self) -> str:
        return f"<child {self._name} {self.run_id}>"

    async def result(self, *, timeout: Duration | None = None) -> Output:
        """Wait for the child's output.

        Raises:
            ChildFailed, ChildCancelled: as the child ended. StepTimeout: it took longer than `timeout`; it goes on.
        """
        output: Output = await self._step.child_result(self._name, self.run_id, timeout)
        return output

    async def cancel(self) -> None:
        """Ask the child to stop; its compensation runs."""
        await self._step.child_cancel(self._name, self.run_id)
