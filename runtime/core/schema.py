"""What a payload from outside has to look like, as a body gave it: `schema=Approval`.

Knows pydantic. Must not know where payloads come from.
"""

from __future__ import annotations

import functools
import inspect
from typing import Any

from pydantic import PydanticUserError, TypeAdapter
from pydantic.errors import PydanticSchemaGenerationError, PydanticUndefinedAnnotation

from perdure.core.sites import site
from perdure.declare.problems import Unfit, validated
from perdure.errors import DefinitionError, InvalidInput
from perdure.sandbox import activation


class Schema:
    """A type that payloads are validated against."""

    __slots__ = ("_adapter", "_what")

    def __init__(self, adapter: TypeAdapter[Any], what: str) -> None:
        self._adapter = adapter
        self._what = what

    def validated(self, value: Any) -> Any:
        """Give the value as the body gets it.

        Raises:
            InvalidInput: it does not fit; the message names the first problem, `why` has all.
        """
        with activation.suspended():  # validators are a library's, not the body's
            try:
                return validated(self._adapter, value, "payload")
            except Unfit as error:
                raise InvalidInput(
                    f"the payload does not fit {self._what}: {error.first}",
                    why="\n".join(error.lines),
                    fix=f"send what {self._what} says",
                ) from None


def schema_of(wanted: object) -> Schema | None:
    """Take what a body gave as `schema=`: a pydantic model, a dataclass, a TypedDict or builtin types; None is none.

    Raises:
        DefinitionError: nothing can be validated against it.
    """
    if wanted is None:
        return None
    with activation.suspended():  # building a validator is a library's work, not the body's
        try:
            return _kept(wanted)
        except TypeError:  # it can't be hashed
            return _made(wanted)


def _made(wanted: Any) -> Schema:
    what = wanted.__name__ if inspect.isclass(wanted) else str(wanted)
    if isinstance(wanted, str):  # pydantic would look for the name when the first payload comes, and find nothing
        raise DefinitionError(
            f"schema={wanted!r} is a text, not a type.", where=site(), fix=f"give the class itself: schema={wanted}"
        )
    try:
        return Schema(TypeAdapter(wanted), what)
    except (PydanticUserError, PydanticUndefinedAnnotation, PydanticSchemaGenerationError) as error:
        raise DefinitionError(
            f"schema={wanted!r} can't be validated against.",
            where=site(),
            why=str(error).splitlines()[0],
            fix="give a pydantic model, a dataclass, a TypedDict or builtin types such as dict[str, int]",
        ) from None


_kept = functools.lru_cache(maxsize=256)(_made)
