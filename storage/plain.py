"""JSON text of plain values: what needs no shape, because JSON says it all.

Plain are None, bool, int, float, str, and lists and dictionaries of them. Not quite plain, although of these types:

- `nan` and the infinities, which JSON doesn't have;
- strings with lone surrogates, which are no Unicode text: neither UTF-8 nor DuckDB takes them;
- integers of more than `DIGITS_MAX` digits, which CPython refuses to read by default.

This file knows JSON text. It must not know shapes, nor any other type.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterable, Mapping
from decimal import Decimal
from json import encoder as _json_encoder
from typing import Any, Final, TypeAlias

#: CPython's default limit for reading an integer from decimal text; longer ones are written in hexadecimal.
DIGITS_MAX: Final = 4300
#: The smallest power of ten that is too long.
INTEGER_END: Final = 10**DIGITS_MAX

_SCALARS: Final = frozenset({str, int, float, bool, type(None)})

#: Whether every type in an iterable is that of a plain scalar.
all_scalars: Final[Callable[[Iterable[object]], bool]] = _SCALARS.issuperset
#: Whether every type in an iterable is `str`.
all_strings: Final[Callable[[Iterable[object]], bool]] = frozenset({str}).issuperset
#: A string as JSON text, with its quotes.
quote: Final[Callable[[str], str]] = _json_encoder.encode_basestring


Pieces: TypeAlias = Callable[[object, int], Iterable[str]]


def make_encoder(
    quoted: Callable[[str], str], separators: tuple[str, str], *, sort_keys: bool = False, allow_nan: bool = True
) -> Pieces:
    """Give the quickest way to JSON text, in pieces; the separators are as for `json.dumps`.

    `JSONEncoder.encode` makes a new C encoder on each call, which costs more than the work itself on small values, so
    that one is kept; where there is none (it is private to `json`), the public way does the same.
    """
    make = getattr(_json_encoder, "c_make_encoder", None)
    if make is None:
        public = json.JSONEncoder(
            separators=separators, ensure_ascii=quoted is not quote, allow_nan=allow_nan, sort_keys=sort_keys
        )
        return lambda value, indent: public.encode(value)
    # No cycle check: callers pass what can't have any.
    item_end, name_end = separators
    encoder: Pieces = make(None, _refuse, quoted, None, name_end, item_end, sort_keys, False, allow_nan)
    return encoder


def _refuse(value: object) -> object:
    raise TypeError(f"{type(value).__name__} is not plain")


_pieces: Final = make_encoder(quote, (",", ":"), allow_nan=False)
_spaced: Final = make_encoder(quote, (", ", ": "))


def spaced_text(facts: Mapping[str, object]) -> str:
    """Write facts of our own, all of them plain: what `json.dumps(facts, ensure_ascii=False)` gives."""
    return "".join(_spaced(facts, 0))


def flat_text(container: object) -> str | None:
    """Write a list, tuple or dictionary of scalars, or a list of such dictionaries; None when it isn't quite plain."""
    try:
        text = "".join(_pieces(container, 0))
    except ValueError:
        return None  # nan, an infinity, or an integer that this process refuses to write
    if not text.isascii() and not is_unicode(text):
        return None
    if len(text) > DIGITS_MAX and not 0 < sys.get_int_max_str_digits() <= DIGITS_MAX:
        return None  # this process writes integers of any length, so each has to be looked at
    return text


def is_unicode(text: str) -> bool:
    """Whether a string is Unicode text, that is, without lone surrogates."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def integer_text(value: int) -> str:
    """Write an integer as decimal text, or as hexadecimal with `0x` beyond `DIGITS_MAX` digits."""
    if not -INTEGER_END < value < INTEGER_END:
        return hex(value)
    try:
        return int.__repr__(value)
    except ValueError:  # a process may have lowered CPython's limit; the text must not depend on it
        return str(Decimal(value))


def integer_from(text: str) -> int:
    """Read what `integer_text` wrote."""
    if "0x" in text:
        return int(text, 16)
    try:
        return int(text)
    except ValueError:
        return int(Decimal(text))  # beyond the limit of this process


_scan: Final[Callable[[str, int], tuple[Any, int]]] = json.JSONDecoder().scan_once  # type: ignore[attr-defined]  # typeshed omits it


def parse(text: str) -> Any:
    """Read JSON text. Raises `ValueError` when it is none."""
    try:
        # `json.loads` does this too, after five times as much work on small texts.
        value, end = _scan(text, 0)
    except StopIteration:
        return json.loads(text)  # for its message
    except json.JSONDecodeError:
        raise
    except ValueError:
        return json.loads(text, parse_int=integer_from)
    return value if end == len(text) else json.loads(text)
