"""What callers give with a run: ids, keys and tags, checked.

Knows texts. Must not know what they are for.
"""

from __future__ import annotations

from collections.abc import Mapping

from perdure.errors import DefinitionError
from perdure.texts import checked_text

_CHARACTERS_MAX = 500


def check_id(what: str, value: str | None) -> None:
    """Refuse an id or key that is no text, or too long to be one."""
    if value is not None and (not isinstance(value, str) or not value or len(value) > _CHARACTERS_MAX):
        raise DefinitionError(
            f"{what}={value!r} can't be used.", fix=f"give a text of 1 to {_CHARACTERS_MAX} characters"
        )


def check_name(what: str, value: object) -> None:
    """Refuse what is no text, is empty, or can't be kept."""
    if not isinstance(value, str) or not value:
        raise DefinitionError(f"{what}={value!r} can't be used.", fix="give a text")
    checked_text(value, what)


def checked_tags(tags: Mapping[str, str] | None) -> dict[str, str]:
    """Copy tags, all of them texts."""
    checked = dict(tags or {})
    for name, value in checked.items():
        if not isinstance(name, str) or not isinstance(value, str):
            raise DefinitionError(f"the tag {name!r}: {value!r} is not text.", fix='give texts: tags={"tenant": "42"}')
    return checked
