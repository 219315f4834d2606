"""`python -m perdure`: the command `perdure`, for whoever has the package but not its scripts on the path."""

from __future__ import annotations

from perdure.cli.scripts import perdure

perdure()
