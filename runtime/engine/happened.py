"""What a function is told of a change: the values as they are, or as they are recorded where a class is gone.

Knows changes and how they are written down. Must not know who is told.
"""

from __future__ import annotations

from typing import Any, Final

from perdure.errors import InternalError
from perdure.services.effects import Change
from perdure.storage.encoding import Encoded, decode, encode
from perdure.triggers.changes import DbChange, KvChange

#: A kind of service, as a change names it, and as CREATED does.
KV: Final = "kv"
DATABASE: Final = "database"


def happened(change: Change) -> KvChange | DbChange:
    """What happened.

    Raises:
        ValueUnreadable: a class is gone, or was changed, that a value is of.
    """
    return _told(change, _value(change.value), _value(change.previous))


def happened_as_recorded(change: Change) -> Encoded:
    """The same as it is written down, without reading the values: whoever reads it later finds their classes again."""
    hollow = encode(_told(change, None, None))
    name = "value" if change.service == KV else "document"
    values = {name: change.value or Encoded("null", None), "previous": change.previous or Encoded("null", None)}
    end = f'"{name}":null,"previous":null}}'
    if not hollow.body.endswith(end) or hollow.shape is None:
        raise InternalError("a change is written down otherwise than was thought.", where=hollow.body)
    body = ",".join(f'"{each}":{encoded.body}' for each, encoded in values.items())
    shapes = ",".join(f'"{each}":{values[each].shape}' for each in sorted(values) if values[each].shape is not None)
    shape = f'{hollow.shape[:-1]},"fields":{{{shapes}}}}}' if shapes else hollow.shape
    return Encoded(f"{hollow.body.removesuffix(end)}{body}}}", shape)


def _told(change: Change, value: Any, previous: Any) -> KvChange | DbChange:
    if change.service == KV:
        return KvChange(change.place, change.key, change.op, value, previous)  # type: ignore[arg-type]
    return DbChange(change.place, change.op, change.key, value, previous)  # type: ignore[arg-type]


def _value(encoded: Encoded | None) -> Any:
    return None if encoded is None else decode(*encoded)
