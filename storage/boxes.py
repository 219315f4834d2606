"""What the boxes of a run are called, in which its messages are kept.

Knows names. Must not know what is in a box, nor who waits for it.
"""

from __future__ import annotations


def signal_box(name: str) -> str:
    """The box in which a run's signals of this name are kept."""
    return f"signal:{name}"


def hook_box(command: str) -> str:
    """The box of the hook that this command made."""
    return f"hook:{command}"
