"""Arguments that a step changed: it has copies, so nobody ever sees the change. Told once for each function.

Looking costs two more encodings of the arguments, so the simulator does it and a runtime does not.

Knows calls and values. Must not know who runs them.
"""

from __future__ import annotations

import logging
from typing import Any

from perdure.core.calls import StepCall
from perdure.errors import NotSerializable
from perdure.storage.encoding import encode

logger = logging.getLogger("perdure")

_told: set[str] = set()


def tell_mutation(call: StepCall, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
    """Log a warning when a step that has returned left its arguments other than it got them."""
    function = getattr(call.function, "__qualname__", call.name)
    place = f"{getattr(call.function, '__module__', '')}:{function}"
    if place in _told or not (args or kwargs):
        return
    before, before_by_name = call.values()
    changed = [f"argument {index}" for index, pair in enumerate(zip(before, args, strict=True)) if _differ(*pair)]
    changed += [name for name in kwargs if _differ(before_by_name[name], kwargs[name])]
    if changed:
        _told.add(place)
        logger.warning(
            "Step %r changed its %s (%s), and the body does not see it: arguments are passed by value. "
            "Return what changed, and let the body take the result.",
            call.name, " and ".join(changed), place,
        )  # fmt: skip


def _differ(before: Any, after: Any) -> bool:
    try:
        return encode(before) != encode(after)
    except NotSerializable:  # the step put something into it that no body could be given
        return True
