"""What pydantic found wrong with a value, in lines for people. Knows nothing of what the value is for."""

from __future__ import annotations

from pydantic import ValidationError


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
