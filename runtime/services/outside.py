"""Other back ends: what keeps a service's values somewhere else than in the ledger, by the service's name.

Knows names of services. Must not know any one back end.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Final, Protocol

from perdure.errors import DefinitionError
from perdure.texts import did_you_mean

#: The services that another back end can keep.
MOVABLE: Final = ("kv", "database", "storage", "queue")


class BackEnd(Protocol):
    """What every other back end has; the rest is between it and its service.

    It connects when it is first used, on the runtime's loop, and may be used again after it was closed, on another one.

    Attributes:
        service: the name of the service that it keeps.
    """

    service: str

    async def close(self) -> None:
        """Give back connections. Called on the loop that it was used on."""
        ...


def checked_back_ends(given: Mapping[str, Any] | None) -> dict[str, Any]:
    """Refuse what keeps no service, or another one.

    Raises:
        DefinitionError: a name is no service's, or what stands there does not keep it.
    """
    if given is None:
        return {}
    if not isinstance(given, Mapping):
        raise DefinitionError(
            f"services={given!r} is no mapping.", fix='write services={"kv": RedisKv("redis://localhost")}'
        )
    for name, back_end in given.items():
        if name not in MOVABLE:
            raise DefinitionError(
                f"services={{{name!r}: …}} names no service that can be kept elsewhere.",
                fix=did_you_mean(name, MOVABLE),
            )
        kept = getattr(back_end, "service", None)
        if kept != name:
            raise DefinitionError(
                f"services={{{name!r}: {back_end!r}}} does not fit.",
                why=f"it keeps {kept!r}" if isinstance(kept, str) else "it is no back end of a service",
                fix=f"give it as {kept!r}" if kept in MOVABLE else 'such as {"kv": RedisKv("redis://localhost")}',
            )
    return dict(given)


async def close_all(back_ends: Iterable[BackEnd]) -> list[Exception]:
    """Close them, each whatever happens to the others; give what went wrong."""
    failures: list[Exception] = []
    for back_end in back_ends:
        try:
            await back_end.close()
        except Exception as error:  # noqa: BLE001  # the runtime logs it: what closes must go on closing
            failures.append(error)
    return failures
