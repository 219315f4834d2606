"""A body's frames as its author knows them: which are the author's, and what is in them under the author's own names.

Knows what the policy adds to code. Must not know why somebody looks.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import FrameType, FunctionType, ModuleType

_STEP = "%step "


def is_authors(frame: FrameType) -> bool:
    """Tell whether a frame runs restricted code: the body, or a helper of the author's that it reaches."""
    return "%realm" in frame.f_globals


def variables(frame: FrameType) -> dict[str, object]:
    """The variables of a frame, in order of their first assignment; names that can't be spelled are the policy's."""
    return {name: value for name, value in frame.f_locals.items() if name.isidentifier()}


def step_functions(frame: FrameType) -> list[str]:
    """Names of the module's functions that the code only hands to steps: the sandbox has no value for them."""
    return [name.removeprefix(_STEP) for name in frame.f_globals if name.startswith(_STEP)]


def other_names(frame: FrameType) -> Mapping[str, object]:
    """Classes and constants of the module that the code does not use itself, but whoever looks at it may."""
    real: Mapping[str, object] = frame.f_globals.get("%real", {})
    return {
        name: value
        for name, value in real.items()
        if name not in frame.f_globals and not name.startswith("__") and _is_plain(value)
    }


def _is_plain(value: object) -> bool:
    return not isinstance(value, FunctionType | ModuleType) and (isinstance(value, type) or not callable(value))
