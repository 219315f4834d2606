"""The same names as `perdure`, strict: every finding of the policy is an error, at import, all at once.

    from perdure.strict import workflow, step
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import perdure
from perdure.declare.workflow import strict_workflow as workflow

if TYPE_CHECKING:
    from perdure import *  # noqa: F403

__all__ = [name for name in perdure.__all__ if not name.startswith("_")]  # noqa: PLE0604


def __getattr__(name: str) -> Any:
    if name.startswith("__") or name not in __all__:
        raise AttributeError(f"module 'perdure.strict' has no attribute {name!r}")
    return getattr(perdure, name)
