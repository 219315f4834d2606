"""A recorded value as today's classes have it: read, and written again.

A model that gained a field with a default since, or lost one, is another text today and the same value to the body:
what the body got was read by that class too. So a command whose recorded arguments read and write themselves as those
that are asked for is the recorded one.

Knows encodings. Must not know which command is compared.
"""

from __future__ import annotations

from perdure.errors import NotSerializable, ValueUnreadable
from perdure.sandbox import activation
from perdure.storage.encoding import decode, encode


def reads_as(recorded: tuple[str | None, str | None], body: str | None, shape: str | None) -> bool:
    """Whether a recorded value, as body and shape, is this one by today's classes. Slow; for what differs as text."""
    recorded_body, recorded_shape = recorded
    if recorded_body is None or recorded_shape is None or body is None:
        return False  # without a shape it is plain JSON, which no class has a say in
    try:
        with activation.suspended():  # reading may import the classes of what was recorded
            return encode(decode(recorded_body, recorded_shape)) == (body, shape)
    except (ValueUnreadable, NotSerializable):
        return False
