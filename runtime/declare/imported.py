"""Workflows that somebody names in a text, imported: whatever goes wrong is told with its place.

Knows that a module of the user's may raise anything. Must not know who asks.
"""

from __future__ import annotations

import traceback
from pathlib import Path

from perdure.declare.discovery import find_workflows
from perdure.declare.registry import Registry
from perdure.errors import DefinitionError, PerdureError


def registry_of(workflows: str) -> Registry:
    """Import workflows and check them.

    Raises:
        DefinitionError: the module fails to import. PolicyViolation: with all findings.
    """
    try:
        return Registry(find_workflows(workflows))
    except PerdureError:
        raise
    except Exception as error:  # the user's module may raise anything; told as an error with its place
        raise DefinitionError(
            f"{workflows!r} fails to import: {type(error).__name__}: {error}",
            where=_place(error),
            fix="make `python -c 'import …'` of it work first",
        ) from error
    except SystemExit as error:
        raise DefinitionError(
            f"{workflows!r} ends the process when it is imported (exit {error.code}).",
            fix='put what it runs under `if __name__ == "__main__":`',
        ) from error


def _place(error: BaseException) -> str:
    if isinstance(error, SyntaxError):
        return f"{error.filename}:{error.lineno}"
    frames = [
        frame
        for frame in traceback.extract_tb(error.__traceback__)
        if "importlib" not in frame.filename and Path(__file__).parent.parent not in Path(frame.filename).parents
    ]
    return f"{frames[-1].filename}:{frames[-1].lineno}" if frames else ""
