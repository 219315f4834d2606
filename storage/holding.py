"""What the text of a wanted value has in it: by that a ledger leaves out cells without anybody reading their values.

    >>> wanted = Holding(('"status":"open"', '"status":['))
    >>> is_held(wanted, '{"status":"paid"}', None)
    False

It is about texts alone, so every place for cells can look for them, and says the same. Whoever asks derives from what
is wanted what its text must have, and looks at what is found as closely as ever.

This file knows texts. It must not know what a filter is, nor how one place looks for them.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple


class Holding(NamedTuple):
    """One thing that a wanted cell has: its body has one of these texts, or its shape says that this need not be."""

    texts: tuple[str, ...]
    unless: tuple[str, ...] = ()  # texts of a shape: a cell that has one of them is found whatever its body


def is_held(wanted: Holding, body: str | None, shape: str | None) -> bool:
    """Whether a cell with this body and shape is found. One without a body is not."""
    if body is None:
        return False
    if any(text in body for text in wanted.texts):
        return True
    return shape is not None and any(text in shape for text in wanted.unless)


def are_held(wanted: Iterable[Holding], body: str | None, shape: str | None) -> bool:
    """Whether a cell has all of these."""
    for each in wanted:  # noqa: SIM110  # a generator would cost as much as the look
        if not is_held(each, body, shape):
            return False
    return True
