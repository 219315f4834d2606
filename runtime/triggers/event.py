"""`Event`: which events start a run, and `ReceivedEvent`: one that came. Frozen, and checked where they are written.

Knows equality. Must not know who is started.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from perdure.errors import DefinitionError, NotSerializable
from perdure.misfit import fitting_methods
from perdure.storage.encoding import encode
from perdure.storage.matching import satisfies
from perdure.storage.plain import parse
from perdure.texts import checked_text


@dataclass(frozen=True)
class ReceivedEvent:
    """An event as an `@on_event` function gets it, as its second parameter.

    Attributes:
        type, payload: as they were sent. resource, namespace: what it is about, where the sender said so.
        id: what the sender knows it by, or None.
    """

    type: str
    payload: Any = None
    resource: str | None = None
    namespace: str | None = None
    id: str | None = None


@fitting_methods
@dataclass(frozen=True)
class Event:
    """A run per matching event, with its payload as input: `@workflow(trigger=Event("auth.user.registered"))`.

    Attributes:
        type: equal to the event's.
        resource, namespace: equal to the event's; None is any, and none.
        match: fields that the payload must have, with equal values, as for `step.wait_for_event`; None is any payload.

    Raises:
        DefinitionError: it could never match.
    """

    type: str
    resource: str | None = None
    namespace: str | None = None
    match: Mapping[str, Any] | None = field(default=None, hash=False)

    def __post_init__(self) -> None:
        check_event(self.type, self.resource, self.namespace)
        if "*" in self.type:
            raise DefinitionError(
                f"type={self.type!r} matches no event.",
                why="types are compared as they are, and * stands for nothing in them",
                fix='name each type in an Event of its own, trigger=[Event("order.paid"), Event("order.sent")]',
            )
        if self.match is not None:
            object.__setattr__(self, "match", _plain(self.match))

    def matches(
        self, type: str, payload: Mapping[str, Any], resource: str | None = None, namespace: str | None = None
    ) -> bool:
        """Whether an event is one of these; `payload` holds plain JSON values, and is empty for one without fields."""
        return (
            self.type == type
            and (self.resource is None or self.resource == resource)
            and (self.namespace is None or self.namespace == namespace)
            and (self.match is None or satisfies(payload, self.match))
        )

    def __str__(self) -> str:
        parts = {"namespace": self.namespace, "resource": self.resource, "match": self.match}
        return " ".join(
            ["event", self.type, *(f"{name}={value}" for name, value in parts.items() if value is not None)]
        )


def check_event(type: object, resource: object, namespace: object) -> None:
    """Refuse what no event is called.

    Raises:
        DefinitionError: it is no text, or empty, or Perdure's own.
    """
    given = {"type": type, "resource": resource, "namespace": namespace}
    for what, value in given.items():
        if value is None and what != "type":
            continue
        if not isinstance(value, str) or not value:
            raise DefinitionError(
                f"{what}={value!r} matches no event.",
                why=f"the {what} of an event is a text, and not empty",
                fix='write Event("order.paid")' if what == "type" else f"leave {what} out for any, or give a text",
            )
        checked_text(value, what)
    if isinstance(type, str) and type.startswith(":"):
        raise DefinitionError(
            f"type={type!r} matches no event.",
            why="a type that begins with a colon is Perdure's own",
            fix="choose another type",
        )


def _plain(match: object) -> dict[str, Any]:
    """The mapping as JSON has it, which is how payloads are compared."""
    if not isinstance(match, Mapping) or not match or not all(isinstance(key, str) for key in match):
        raise DefinitionError(
            f"match={match!r} is no mapping of fields.",
            why="it names fields of the payload and the values that they must have",
            fix='write match={"country": "DE"}, or leave it out for any payload',
        )
    try:
        plain: dict[str, Any] = parse(encode(dict(match)).body)
    except NotSerializable as error:
        raise DefinitionError(
            f"match={match!r} matches no payload.", why=error.message, fix="give values that a payload can hold"
        ) from None
    return plain
