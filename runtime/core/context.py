"""`ctx`: what a body may know of its own run, and its log.

Services (`kv`, `database`, …) belong to steps; asking for them here says so.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, ClassVar, NoReturn

from perdure.core.lacking import lacking
from perdure.core.sites import site
from perdure.core.state import RunState, record_state
from perdure.errors import SandboxViolation
from perdure.sandbox import activation
from perdure.services.services import of_step

if TYPE_CHECKING:
    from perdure.core.machine import Machine


class Log:
    """A structured log that does not repeat on replay.

    Lines are handed to the logger `perdure.run.<workflow>` after they are known to be new and what they follow from is
    durable; keyword arguments become fields (`record.fields`), beside `record.run_id`. Nothing is recorded in the
    ledger.
    """

    __perdure_opaque__ = True
    __slots__ = ("_machine",)

    def __init__(self, machine: Machine) -> None:
        self._machine = machine

    def debug(self, message: str, **fields: object) -> None:
        """Log at level DEBUG."""
        self._machine.put_out(logging.DEBUG, str(message), fields)

    def info(self, message: str, **fields: object) -> None:
        """Log at level INFO."""
        self._machine.put_out(logging.INFO, str(message), fields)

    def warning(self, message: str, **fields: object) -> None:
        """Log at level WARNING."""
        self._machine.put_out(logging.WARNING, str(message), fields)

    def error(self, message: str, **fields: object) -> None:
        """Log at level ERROR."""
        self._machine.put_out(logging.ERROR, str(message), fields)

    def exception(self, message: str, error: BaseException, **fields: object) -> None:
        """Log at level ERROR with the exception's type and text."""
        self._machine.put_out(logging.ERROR, f"{message}: {type(error).__name__}: {error}", fields)


class Context:
    """A run as its body sees it. Everything is the same on replay."""

    __perdure_opaque__ = True
    __slots__ = ("_machine", "log")
    __perdure_services__: ClassVar[frozenset[str]] = frozenset(
        {"kv", "database", "storage", "queue", "workflows", "platform"}
    )

    def __init__(self, machine: Machine) -> None:
        self._machine = machine
        self.log = Log(machine)

    @property
    def run_id(self) -> str:
        """The run's id. A fork's body that read it before the fork goes on with the id of the run it comes from."""
        return self._machine.known_as.run_id

    @property
    def workflow_id(self) -> str:
        """The workflow's id."""
        return self._machine.facts.workflow

    @property
    def version(self) -> str:
        """The workflow's version that this run was started with."""
        return self._machine.facts.version

    @property
    def attempt(self) -> int:
        """Which attempt of the whole run this is; 1 on the first."""
        return self._machine.facts.attempt

    @property
    def parent_run_id(self) -> str | None:
        """The run that started this one, or None."""
        return self._machine.known_as.parent_run_id

    @property
    def tags(self) -> Mapping[str, str]:
        """The tags given at start, read only."""
        return MappingProxyType(dict(self._machine.known_as.tags))

    def patched(self, change_id: str) -> bool:
        """Whether this run takes the new way of a change to the body; the old one when it passed here before.

        The answer for one id stays the same for as long as the attempt lasts, and on every replay.

        Args:
            change_id: names the change; a text, the same wherever the body asks about it.

        Records: a command of kind `patched` the first time that the answer is True.

        Raises:
            DefinitionError: it is no text, or an empty one.

        Example:
            ```python
            if ctx.patched("check-fraud-first"):
                await step.run("check-fraud", check_fraud, input)
            await step.run("charge", charge, input)
            ```
        """
        return self._machine.patches.ask(change_id)

    async def state(self) -> RunState:
        """Look at the run itself: its status, times, tags, how many entries it has, what other tasks wait for.

        Records: what it gives, so that a replay sees the same.
        """
        return record_state(self._machine, site())

    def __repr__(self) -> str:
        return f"<ctx of run {self.run_id}>"

    def __getattr__(self, name: str) -> Any:
        if name in self.__perdure_services__:
            services = of_step.get()
            if services is None or activation.current() is not None:
                self._refuse(name)
            return getattr(services(), name)
        raise lacking(self, "ctx", name)

    def _refuse(self, name: str) -> NoReturn:
        raise SandboxViolation(
            f"ctx.{name} is for steps, not for bodies.",
            where=f"{self.workflow_id} v{self.version}, run {self.run_id}",
            why="what it returns changes from one replay to the next",
            fix=f'do it in a step: await step.run("…", lambda: ctx.{name}.…), or current_step().{name} in the step',
        )
