"""A document as it is stored: what may be one, its id, its text.

Knows documents one at a time. Must not know where they are kept.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from typing import Any, Final, TypeAlias, cast

from perdure.errors import DefinitionError
from perdure.services.filters import Filter
from perdure.services.paths import parts_of
from perdure.services.values import encoded_value
from perdure.storage.encoding import Encoded, decode, encode
from perdure.storage.holding import are_held
from perdure.storage.plain import all_scalars

Document: TypeAlias = dict[str, Any]

DOCUMENT_BYTES_MAX: Final = 8 * 2**20

#: Digits of an id that say when it was made; the others say by whom.
TIME_DIGITS: Final = 14


def new_id(version: int, maker: str) -> str:
    """Make an id: 26 characters that sort by the time at which they were made.

    Args:
        version: microseconds, which no id of this process had before: the first digits.
        maker: who makes it, such as a step's idempotency key and a number: the others.
    """
    return f"{version:014x}{hashlib.blake2b(maker.encode(), digest_size=6).hexdigest()}"


def checked_document(given: object) -> Document:
    """Refuse what can't be a document; give a copy of its top level. Raises DefinitionError."""
    if not isinstance(given, Mapping):
        hint = "give document.model_dump()" if hasattr(given, "model_dump") else 'give {"customer": "Ann"}'
        raise DefinitionError(f"a document is a mapping, not a {type(given).__name__}.", fix=hint)
    for name in given:
        if not isinstance(name, str) or not name or name.startswith("$"):
            raise DefinitionError(
                f"a document can't have the field {name!r}.",
                why="fields are texts, and those that begin with $ are operators",
                fix="give it another name; operators are for update_one()" if isinstance(name, str) else "",
            )
    return dict(given)


def encoded_document(collection: str, document: Document) -> Encoded:
    """Write a document as text, its id first.

    Raises:
        NotSerializable, ValueTooLarge: it can't be stored.
    """
    if next(iter(document)) != "_id":
        document = {"_id": document["_id"], **document}
    return encoded_value(
        document, f"document {document['_id']!r} of collection {collection!r}", DOCUMENT_BYTES_MAX,
        "keep large parts in storage (blobs) and their keys here, or make it several documents",
    )  # fmt: skip


def decoded(encoded: Encoded) -> Document:
    """Read a document back."""
    return cast("Document", decode(*encoded))


def matching(found: Iterable[tuple[str, Encoded]], wanted: Filter) -> list[tuple[str, Document]]:
    """Choose those that match."""
    chosen = []
    for key, encoded in found:
        if not are_held(wanted.needles, *encoded):
            continue  # it has not even the texts that it would have to have
        document = decoded(encoded)
        if wanted.matches(document):
            chosen.append((key, document))
    return chosen


def upserted(wanted: Filter) -> Document:
    """What a document that a filter wants begins as: the fields that must equal a value, copied."""
    document: Document = {}
    for path, value in wanted.fixed.items():
        place = document
        *above, last = parts_of(path)
        for part in above:
            place = place.setdefault(part, {})
            if not isinstance(place, dict):
                raise DefinitionError(f"the filter wants {path!r} inside of what it wants to be a plain value.")
        place[last] = value
    return document if all_scalars(map(type, document.values())) else decoded(encode(document))
