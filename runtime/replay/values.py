"""Two recorded values, compared: at which paths they differ, and whether only their order does.

Knows JSON values and the shapes beside them. Must not know what they are arguments of.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any, NamedTuple

from perdure.core.elided import shortened

_SHOWN_MAX = 5
_VALUE_CHARACTERS_MAX = 60


class Change(NamedTuple):
    """One place where two values differ: `$[0].cents: 1250 → 1300`."""

    path: str
    before: str
    after: str

    def __str__(self) -> str:
        return f"{self.path}: {self.before} → {self.after}"


def changes(body: str | None, shape: str | None, new_body: str | None, new_shape: str | None) -> list[Change]:
    """List where two encoded values differ, the first few of them, in order."""
    if body == new_body:
        return [] if shape == new_shape else [_of_types(shape, new_shape)]
    found: list[Change] = []
    for change in _differences("$", _parsed(body), _parsed(new_body)):
        found.append(change)
        if len(found) >= _SHOWN_MAX:
            break
    return found


def only_order_differs(body: str | None, new_body: str | None) -> bool:
    """Whether both have the same parts, in another order: of a list, of keys, or of the words that a text joins."""
    if body is None or new_body is None or body == new_body:
        return False
    return bool(_sorted_parts(_parsed(body)) == _sorted_parts(_parsed(new_body)))


def _differences(path: str, before: Any, after: Any) -> Iterator[Change]:
    if isinstance(before, dict) and isinstance(after, dict):
        for key in [*before, *(key for key in after if key not in before)]:
            inner = f"{path}.{key}" if key.isidentifier() else f"{path}[{json.dumps(key, ensure_ascii=False)}]"
            if key not in after:
                yield Change(inner, _shown(before[key]), "(gone)")
            elif key not in before:
                yield Change(inner, "(nothing)", _shown(after[key]))
            else:
                yield from _differences(inner, before[key], after[key])
        if before == after and list(before) != list(after):
            yield Change(path, f"keys {', '.join(before)}", f"keys {', '.join(after)}")
    elif isinstance(before, list) and isinstance(after, list):
        for index in range(max(len(before), len(after))):
            inner = f"{path}[{index}]"
            if index >= len(after):
                yield Change(inner, _shown(before[index]), "(gone)")
            elif index >= len(before):
                yield Change(inner, "(nothing)", _shown(after[index]))
            else:
                yield from _differences(inner, before[index], after[index])
    elif type(before) is not type(after) or before != after:
        yield Change(path, _shown(before), _shown(after))


def _sorted_parts(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _sorted_parts(value[key]) for key in sorted(value)}
    if isinstance(value, list):
        return sorted((_sorted_parts(each) for each in value), key=lambda each: json.dumps(each, sort_keys=True))
    if isinstance(value, str) and any(mark in value for mark in ", ;|"):
        return sorted(value.replace(",", " ").replace(";", " ").replace("|", " ").split())
    return value


def _of_types(shape: str | None, new_shape: str | None) -> Change:
    words = [
        shortened(each, _VALUE_CHARACTERS_MAX) if each is not None else "plain JSON" for each in (shape, new_shape)
    ]
    return Change("$ (types)", words[0], words[1])


def _parsed(body: str | None) -> Any:
    return None if body is None else json.loads(body)


def _shown(value: Any) -> str:
    return shortened(json.dumps(value, ensure_ascii=False), _VALUE_CHARACTERS_MAX)
