"""Texts that a ledger can keep: names, ids, tags, types of events. Knows Unicode, not what a text is for."""

from __future__ import annotations

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
