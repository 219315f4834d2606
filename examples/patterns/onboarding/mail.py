"""The mail gateway, as a folder: every mail is a file. The same key is the same mail, however often it is sent."""

from __future__ import annotations

from pathlib import Path

OUTBOX = "outbox"


def send(key: str, to: str, subject: str, text: str) -> str:
    """Send one mail; give its id."""
    folder = Path(OUTBOX)
    folder.mkdir(exist_ok=True)
    name = f"{key.replace('/', '_').replace(':', '_')}.txt"
    (folder / name).write_text(f"To: {to}\nSubject: {subject}\n\n{text}\n", encoding="utf-8")
    return name


def subjects(to: str) -> list[str]:
    """The subjects of what was sent to somebody, by alphabet."""
    mails = [file.read_text(encoding="utf-8").splitlines() for file in Path(OUTBOX).glob("*.txt")]
    return sorted(lines[1].removeprefix("Subject: ") for lines in mails if lines[0] == f"To: {to}")
