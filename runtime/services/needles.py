"""Needles: texts that every document that matches a filter must have, so that all others need not be read.

    rules   1. Nothing that matches may be lost: what can't be said for sure gives no needle; all documents are read.
            2. A value stands after its field's name, `"status":"open"`, or somewhere in a list there, `"status":[`.
               Under an index, `"items.0"`, it stands anywhere.
            3. Numbers that are equal are not always written alike (1 and 1.0), and a Decimal is written as a text.
            4. Classes, and mappings whose names are no texts, are written in ways of their own: a document whose shape
               names one is always read.

Knows how values are written (encoding.py). Must not know what is done with a needle, nor operators that give none.
"""

from __future__ import annotations

import datetime
import math
from collections.abc import Mapping, Sequence, Set
from typing import Any, Final
from uuid import UUID

from perdure.storage.holding import Holding
from perdure.storage.plain import is_unicode, quote

#: More alternatives take longer to look for than documents take to read.
_TEXTS_MAX: Final = 64
#: Beyond it a float is written with an exponent, and no digits of an equal integer.
_INTEGER_END: Final = 10**15

#: Parts of a shape (see shape.py) by which something in the document is not written as rule 2 says.
_UNUSUAL: Final = (
    '"dataclass":', '"model":', '"namedtuple":', '"enum":', '"member":', '"url":', '"keys":', '"jsonkeys":', '"pairs":',
    '.escaped"',
)  # fmt: skip
_UNUSUAL_FOR_NUMBERS: Final = (*_UNUSUAL, '"Decimal"')


def needles_of(path: str, operations: Mapping[str, Any]) -> list[Holding]:
    """Give what a document must have so that all operators of one field can hold."""
    found: list[Holding | None] = []
    last = path.rpartition(".")[2]
    for name, operand in operations.items():
        if name == "$eq":
            found.append(_one_of(last, [operand]))
        elif name == "$in" and isinstance(operand, list | tuple | Set):
            found.append(_one_of(last, list(operand)))
        elif name == "$all" and isinstance(operand, list | tuple | Set):
            found += [_one_of(last, [each]) for each in operand]
        elif name == "$exists" and operand is True and not last.isdecimal():
            found.append(Holding((f"{quote(last)}:",), _UNUSUAL) if is_unicode(last) else None)
    return [each for each in found if each is not None]


def _one_of(last: str, operands: Sequence[Any]) -> Holding | None:
    """The needle of a field that equals one of these, itself or in one of its items; None when there is none."""
    if not operands or len(operands) > _TEXTS_MAX or not is_unicode(last):
        return None
    written = [_written(each) for each in operands]
    if not all(written):
        return None
    has_numbers = any(type(each) in (int, float) for each in operands)
    texts = dict.fromkeys(text for each in written for text in each)
    if not last.isdecimal():
        name = quote(last)
        texts = dict.fromkeys([*(f"{name}:{text}" for text in texts), f"{name}:["])
    return Holding(tuple(texts), _UNUSUAL_FOR_NUMBERS if has_numbers else _UNUSUAL)


def _written(value: Any) -> tuple[str, ...]:
    """What values that equal this one begin with as text, one of them at least; nothing when that can't be told."""
    kind = type(value)
    if kind is str:
        return (quote(value),) if is_unicode(value) else ()
    if kind is bool:
        return ("true" if value else "false",)
    if kind is float and (not math.isfinite(value) or not value.is_integer()):
        return (float.__repr__(value),) if math.isfinite(value) else ()
    if kind is int or kind is float:
        if not -_INTEGER_END < value < _INTEGER_END:
            return ()
        return (str(int(value)),) if value else ("0", "-0")  # 1.0 begins with 1; there is a -0.0
    if kind is UUID:
        return (quote(str(value)),)
    if kind is datetime.date:
        return (quote(value.isoformat()),)
    return ()
