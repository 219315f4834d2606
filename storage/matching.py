"""When an event's payload has what a `match` mapping names: equality of JSON values, and their canonical text.

This file knows equality. It must not know who waits, nor what a payload is for.
"""

from __future__ import annotations

from collections.abc import Mapping
from json.encoder import encode_basestring_ascii
from typing import Any, Final

from perdure.storage.plain import make_encoder

_pieces: Final = make_encoder(encode_basestring_ascii, (",", ":"), sort_keys=True)


def canonical(value: object) -> str:
    """Write a JSON value so that equal values give equal text: keys sorted, 1.0 as 1, True never 1."""
    return "".join(_pieces(_with_plain_numbers(value), 0))


def _with_plain_numbers(value: object) -> object:
    if isinstance(value, float):
        return int(value) if value.is_integer() else value
    if isinstance(value, Mapping):
        return {str(key): _with_plain_numbers(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_with_plain_numbers(item) for item in value]
    return value


def satisfies(payload: Mapping[str, Any], match: Mapping[str, Any]) -> bool:
    """Whether every key of `match` is in the payload with an equal value."""
    return all(key in payload and canonical(payload[key]) == canonical(value) for key, value in match.items())
