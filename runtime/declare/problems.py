"""Validation of values by pydantic, and what it found wrong, in lines for people.

Knows nothing of what the value is for.
"""

from __future__ import annotations

from typing import Any

from pydantic import TypeAdapter, ValidationError

from perdure.errors import PerdureError


class Unfit(Exception):
    """A value does not fit; `lines` has each problem, `first` the first one."""

    def __init__(self, lines: list[str], first: str) -> None:
        super().__init__(first)
        self.lines = lines
        self.first = first


def validated(adapter: TypeAdapter[Any], value: object, whole: str = "input") -> Any:
    """Give the value as its annotation has it.

    Raises:
        Unfit: it does not fit, or a validator of the model failed over it.
    """
    try:
        return adapter.validate_python(value)
    except ValidationError as error:
        raise Unfit(problems(error, whole), first_problem(error, whole)) from None
    except PerdureError:
        raise  # it says itself what is wrong
    except Exception as error:  # a validator's own mistake; who asked for the validation answers for the value
        first = f"{whole}: a validator raised {type(error).__name__}: {error}"
        advice = "a validator raises ValueError or AssertionError over a value that does not fit"
        raise Unfit([first, advice], first) from error


def problems(error: ValidationError, whole: str = "input") -> list[str]:
    """A line for each problem, with its place; `whole` is what the value is called where the place is all of it."""
    return [
        f"{'.'.join(str(part) for part in problem['loc']) or whole}: {problem['msg']}" for problem in error.errors()
    ]


def first_problem(error: ValidationError, whole: str = "input") -> str:
    """The first problem, and how many more there are."""
    found = problems(error, whole)
    more = len(found) - 1
    return found[0] + (f" (and {more} more)" if more else "")
