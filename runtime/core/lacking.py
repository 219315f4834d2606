"""What a body hears that asks `step` or `ctx` for something they don't have.

Knows names. Must not know what the others do.
"""

from __future__ import annotations

from perdure.core.sites import site
from perdure.errors import SandboxViolation
from perdure.texts import did_you_mean


def lacking(holder: object, shown: str, name: str) -> Exception:
    """Make the error for a name that a body's object lacks; a name with an underscore is Python's own question."""
    if name.startswith("_"):
        return AttributeError(f"{shown} has no {name!r}")
    known = [each for each in dir(type(holder)) if not each.startswith("_")]
    return SandboxViolation(
        f"{shown} has no {name!r}.",
        where=site(),
        why=f"{shown} has {', '.join(known)}",
        fix=did_you_mean(name, known),
    )
