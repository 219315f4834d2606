"""Texts that a ledger can keep: names, ids, tags, types of events. Knows Unicode, not what a text is for."""

from __future__ import annotations

import difflib
from collections.abc import Iterable

from perdure.errors import DefinitionError


def checked_text(text: str, what: str) -> str:
    """Refuse a text with a lone surrogate, such as a file name that was not UTF-8: no encoding can write it down.

    Args:
        what: the word for it in the error, such as `run_id`.

    Raises:
        DefinitionError: it has one.
    """
    if not text.isascii():
        try:
            text.encode()
        except UnicodeEncodeError as error:
            raise DefinitionError(
                f"{what} {text!a} has the lone surrogate {text[error.start]!a}, which is no character.",
                fix='decode it with errors="replace", or leave it out',
            ) from None
    return text


def did_you_mean(name: object, known: Iterable[str]) -> str:
    """The fix for a name that nobody knows: the nearest one that is known, or all of them."""
    names = list(known)
    close = difflib.get_close_matches(str(name), names, n=1)
    if close:
        return f"did you mean {close[0]}?"
    return f"use one of {', '.join(names)}" if names else "leave it out"
