"""Steps that recorded code names and today's modules have no more: what a body holds in their place.

A replay asks for such a step by name and arguments and gets its recorded result. To run it is what nobody can.
"""

from __future__ import annotations

from typing import Any

from perdure.declare.options import StepOptions
from perdure.declare.step import StepDefinition
from perdure.errors import DefinitionError


class GoneFunction:
    """A function that is not there any more."""

    __perdure_opaque__ = True

    def __init__(self, module: str, name: str) -> None:
        self.__module__ = module
        self.__name__ = name
        self.__qualname__ = name

    def __call__(self, *_: object, **__: object) -> Any:
        raise DefinitionError(
            f"step {self.__name__} is gone.",
            why=f"module {self.__module__} has no {self.__name__} any more",
            fix="bring it back, or an alias of what replaced it",
        )


def gone_step(module: str, name: str) -> StepDefinition[..., Any, Any]:
    """Make what stands for a step that is gone."""
    return StepDefinition(GoneFunction(module, name), StepOptions())
