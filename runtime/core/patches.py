"""`ctx.patched`: whether a run goes through a change of its code on the new way.

    asked first while living    the new way; a PATCHED command says so, under an identity of its own: `patched/<change>`
    asked first on replay       the new way if the history has had that command by then, else the old one: the run
                                passed here before the change was there
    asked again                 the same answer, for as long as the attempt lasts

The command takes no index of its branch, so that those around it keep theirs, and nothing demands that the body asks:
a check that was taken out again leaves what is recorded unread.

A new attempt goes the way that the earlier ones went: where one of them recorded the command it is not recorded again,
and where one of them completed what comes next without it, the old way is kept, so that nothing completed runs twice.

Knows one attempt's answers. Must not know what the ways are.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from perdure.core.asking import detail_text
from perdure.core.sites import site
from perdure.errors import DefinitionError
from perdure.storage import entries as kinds
from perdure.texts import checked_text

if TYPE_CHECKING:
    from perdure.core.history import Reused
    from perdure.core.machine import Machine


def patched_command(change: str) -> str:
    """The identity of the command that says that a run takes a change's new way."""
    return f"patched/{change}"


class Patches:
    """The answers of one attempt, by change."""

    def __init__(self, machine: Machine, reused: Reused) -> None:
        self._machine = machine
        self._reused = reused
        self._answers: dict[str, bool] = {}

    def recorded(self, changes: Iterable[str]) -> None:
        """Take what the history has said by now. What was answered before stays."""
        for change in changes:
            self._answers.setdefault(change, True)

    def ask(self, change: object) -> bool:
        """Answer the body.

        Raises:
            DefinitionError: `change` is no id, or somebody else than the body asks.
        """
        machine = self._machine
        branch = machine.branch()
        change = _checked(change)
        known = self._answers.get(change)
        if known is None:
            if patched_command(change) in self._reused:
                known = True
            elif f"{branch.path}/{branch.commands}" in self._reused:
                known = False
            else:
                known = self.is_new(change)
            self._answers[change] = known
        return known

    def is_new(self, change: str) -> bool:
        """Answer for a change that neither the history so far nor an earlier attempt knows."""
        machine = self._machine
        if machine.living:
            machine.write(kinds.PATCHED, patched_command(change), change, detail=detail_text({}, site()))
            return True
        machine.check_room()
        return False


def _checked(change: object) -> str:
    if not isinstance(change, str) or not change:
        raise DefinitionError(
            f"{change!r} is no id of a change.",
            where=site(),
            why="the id is recorded, and finds the answer again on replay",
            fix='give a text that names the change: if ctx.patched("check-fraud-first"): …',
        )
    checked_text(change, "the id of a change")
    return change
