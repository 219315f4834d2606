"""`services = {…}` in a module of workflows: where the commands keep what services hold, when that is not the ledger.

It is found with the workflows, and no option, because every command that runs their steps must know it: a step that one
of them ran with the ledger's own service would write where no other looks.

Knows modules and names. Must not know any one back end.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import ModuleType
from typing import Final

from perdure.errors import DefinitionError
from perdure.services.outside import BackEnd, checked_back_ends

NAME: Final = "services"


class BackEnds:
    """The back ends that modules name.

    Attributes:
        by_service: as `Runtime(services=…)` takes them.
    """

    def __init__(self) -> None:
        self.by_service: dict[str, BackEnd] = {}
        self._named_in: dict[str, str] = {}

    def add(self, module: ModuleType, shown: str) -> None:
        """Take what a module says; `shown` is what its author calls it.

        Raises:
            DefinitionError: it can't be used, or another module names another back end for the same service.
        """
        given = getattr(module, NAME, None)
        if not _is_meant(given):
            return
        try:
            back_ends = checked_back_ends(given)
        except DefinitionError as error:
            error.where = shown
            if isinstance(given, Mapping):
                error.why = error.why or f"commands take {NAME} in a module of workflows for where services are kept"
                error.fix = f"{error.fix}; if it is for something else, call it otherwise"
            raise
        for name, back_end in back_ends.items():
            other = self.by_service.setdefault(name, back_end)
            if other is not back_end:
                raise DefinitionError(
                    f"two modules of workflows say where {name!r} is kept, and not the same.",
                    where=f"{self._named_in[name]} and {shown}",
                    why=f"{other!r} is one back end, and {back_end!r} another",
                    fix=f"make it once, and import it: from {_stem(self._named_in[name])} import {NAME}",
                )
            self._named_in.setdefault(name, shown)


def _is_meant(given: object) -> bool:
    """Whether a module's `services` is for us: a module or a function of that name is not."""
    members = given if isinstance(given, (list, tuple, set)) else [given]
    return isinstance(given, Mapping) or any(isinstance(getattr(each, "service", None), str) for each in members)


def _stem(shown: str) -> str:
    return shown.removesuffix(".py").rpartition("/")[2]
