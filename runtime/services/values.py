"""What a service takes: names that can be written down, and values with a lossless encoding, within a size.

Knows limits and words for errors. Must not know any one service.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from perdure.errors import DefinitionError, NotSerializable, ValueTooLarge
from perdure.storage.encoding import Encoded, encode
from perdure.texts import checked_text

#: Of a key, a namespace, a queue's name. It is in every index and every line of a log, so an essay is a mistake.
NAME_CHARACTERS_MAX: Final = 1_024


def checked_name(value: object, what: str) -> str:
    """Refuse what can't name anything.

    Raises:
        DefinitionError: it is no text, empty, too long, or can't be written down.
    """
    if type(value) is str and value.isascii() and 0 < len(value) <= NAME_CHARACTERS_MAX:
        return value  # nearly all are
    if not isinstance(value, str):
        raise DefinitionError(
            f"{what}={value!r} is {type(value).__name__}, and a {what} is a text.",
            fix=f'write {what}=f"{{{what}}}" or str({what}), the same everywhere',
        )
    if not value:
        raise DefinitionError(f"an empty {what} names nothing.", fix="give a text, such as an id")
    if len(value) > NAME_CHARACTERS_MAX:
        raise DefinitionError(
            f"{what} {value[:40] + '…'!r} is {len(value):,} characters long, and may be {NAME_CHARACTERS_MAX:,}.",
            fix="use an id or a digest as the name, and keep the text in the value",
        )
    return checked_text(value, what)


def check_page(prefix: object, after: object, limit: object) -> None:
    """Refuse what lists nothing. Raises DefinitionError."""
    for what, text in (("prefix", prefix), ("after", "" if after is None else after)):
        if not isinstance(text, str):
            raise DefinitionError(
                f"{what}={text!r} is {type(text).__name__}, and names are texts.",
                fix='give what they begin with, such as prefix="inv:"; or the last one of the page before, as after=',
            )
    if limit is not None and (isinstance(limit, bool) or not isinstance(limit, int) or limit < 1):
        raise DefinitionError(f"limit={limit!r} lists nothing.", fix="give a number from 1 on, or None for all")


def shown_url(url: object) -> str:
    """A URL for errors, which are recorded and sent around: without what may be a password."""
    if not isinstance(url, str):
        return repr(url)
    where, _, _ = url.partition("?")
    scheme, there_is, rest = where.partition("://")
    _, at, host = rest.rpartition("@")
    if there_is and at:
        return repr(f"{scheme}://…@{host}")
    return repr(f"…@{where.rpartition('@')[2]}" if "@" in where else where)


def encoded_value(value: object, where: str | Callable[[], str], bytes_max: int, instead: str) -> Encoded:
    """Encode a value that somebody wants to keep.

    Args:
        where: its name in errors, or what gives it. instead: the fix when it is too large.

    Raises:
        NotSerializable, ValueTooLarge: it can't be kept.
    """
    try:
        encoded = encode(value)
    except NotSerializable as refused:
        refused.where = f"{refused.path} of {where() if callable(where) else where}"
        raise
    if len(encoded.body) > bytes_max // 4:  # else even four bytes for each character fit
        size = len(encoded.body.encode()) + len((encoded.shape or "").encode())
        if size > bytes_max:
            raise ValueTooLarge(
                f"a value of {size / 2**20:,.1f} MiB, encoded, is more than the {bytes_max / 2**20:,.0f} MiB that fit.",
                where=where() if callable(where) else where,
                fix=instead,
            )
    return encoded
