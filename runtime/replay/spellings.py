"""How else a value may be written: in capitals, as JSON text, in base64, an amount with its comma.

A body that puts a value into a text writes it in one of these ways, and writes a stand-in in the same way. So what was
derived can be found, and replaced by what would be derived from the stand-in.

Knows texts of values and the names of their types. Must not know which of them are secret.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Callable, Iterator
from datetime import datetime
from decimal import Decimal
from typing import Final
from urllib.parse import quote, quote_plus

from perdure.durations import moment_text, moment_us
from perdure.errors import DefinitionError

#: Shorter texts are words of the language too often: "paid" redacted must not make "Paid" another word.
CHARACTERS_MIN: Final = 6

_OF_TEXTS: Final[tuple[Callable[[str], str], ...]] = (
    str.lower,
    str.upper,
    str.title,
    str.capitalize,
    lambda text: json.dumps(text)[1:-1],
    lambda text: json.dumps(text, ensure_ascii=False)[1:-1],
    lambda text: repr(text)[1:-1],
    quote,
    quote_plus,
    lambda text: base64.b64encode(text.encode()).decode(),
    lambda text: base64.urlsafe_b64encode(text.encode()).decode(),
    lambda text: text.encode().hex(),
)
_OF_BYTES: Final[tuple[Callable[[bytes], str], ...]] = (
    lambda content: repr(content)[2:-1],
    bytes.hex,
    lambda content: base64.urlsafe_b64encode(content).decode(),
)
_OF_INTEGERS: Final[tuple[Callable[[str], str], ...]] = (
    lambda digits: f"{int(digits):,}",
    lambda digits: f"{digits[:-2]}.{digits[-2:]}",  # cents, as an amount
    lambda digits: f"{int(digits[:-2]):,}.{digits[-2:]}",
)


def respelled(kind: str, text: str, stand_in: str) -> Iterator[tuple[str, str]]:
    """Give the other spellings of a value, each with that of its stand-in.

    Args:
        kind: the name of its type (see `storage/scalars.py`); "number" for a JSON number.
        text, stand_in: as they are recorded.
    """
    for one, other in zip(_spellings(kind, text), _spellings(kind, stand_in), strict=False):
        if one != text and len(one) >= CHARACTERS_MIN:
            yield one, other


def _spellings(kind: str, text: str) -> list[str]:
    if kind in ("bytes", "bytearray"):
        content = base64.b64decode(text)
        return [spell(content) for spell in _OF_BYTES]
    if kind == "number":
        return [spell(text) for spell in _OF_INTEGERS] if text.isdigit() else []
    if kind == "Decimal":
        return [f"{Decimal(text):,}"]
    if kind == "UUID":
        return [text.replace("-", ""), text.upper()]
    if kind.startswith("datetime"):
        return [text.replace("T", " "), _in_utc(text)]
    if len(text) < CHARACTERS_MIN:
        return []
    return [_in_utc(text), *(spell(text) for spell in _OF_TEXTS)]


def _in_utc(text: str) -> str:
    """A moment as the ledger writes it; what is none as it is."""
    try:
        return moment_text(moment_us(datetime.fromisoformat(text)))
    except (ValueError, OverflowError, DefinitionError):  # no moment, or without a time zone
        return text
