"""The mail gateway, as a folder: every mail is a file. The same key is the same mail, however often it is sent."""

from __future__ import annotations

import re
from pathlib import Path

OUTBOX = "outbox"


def send(key: str, to: str, text: str) -> None:
    """Send one mail."""
    folder = Path(OUTBOX)
    folder.mkdir(exist_ok=True)
    name = re.sub(r"[^\w.-]", "-", key)
    (folder / f"{name}.txt").write_text(f"{to}: {text}\n", encoding="utf-8")


def sent() -> list[str]:
    """What was sent, by alphabet."""
    return sorted(file.read_text(encoding="utf-8").strip() for file in Path(OUTBOX).glob("*.txt"))
