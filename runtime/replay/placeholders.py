"""What stands for a redacted value: the same type, the same stand-in for the same value, and no way back to it.

A stand-in is made from a keyed digest, so nobody without the key can try card numbers until one fits.

Knows texts of values and the names of their types (see `storage/scalars.py`). Must not know where they stand.
"""

from __future__ import annotations

import base64
import ipaddress
import re
import uuid
from datetime import date, timedelta
from hashlib import blake2b
from typing import Final

#: What is longer stays longer, because closures record long values otherwise than short ones (`perdure.core.calls`).
LONG: Final = 256
_MARK: Final = "redacted"
#: What a stand-in is recognized by, so that nobody takes a part of one for the value "example".
STAND_IN: Final = re.compile(rf"{_MARK}-[0-9a-f]{{12}}(?:@example\.invalid|\.invalid)?", re.IGNORECASE)
_PATHS: Final = frozenset({"PurePosixPath", "PureWindowsPath", "PosixPath", "WindowsPath"})


class Placeholders:
    """Stand-ins under one key.

    Args:
        key: up to 64 bytes that nobody knows; the same key gives the same stand-ins again.
    """

    def __init__(self, key: bytes) -> None:
        self._key = blake2b(key, digest_size=64).digest()

    def text(self, text: str) -> str:
        """Stand for a text; one that looks like a mail address stays one."""
        mark = f"{_MARK}-{self._digest('str', text).hex()[:12]}"
        if len(text) > LONG:
            return mark.ljust(LONG + 44, ".")
        return f"{mark}@example.invalid" if "@" in text else mark

    def number(self, text: str) -> str:
        """Stand for a JSON number: an integer of as many digits and the same sign, or another fraction."""
        digest = self._digest("number", text)
        sign = "-" if text.startswith("-") else ""
        if any(mark in text for mark in ".eE"):
            return repr(float(f"{sign}{1 + digest[0] % 9}.{int.from_bytes(digest[1:4]) % 9000 + 1000}"))
        return sign + self._digits(digest, text.removeprefix("-"))

    def scalar(self, kind: str, text: str) -> str | None:
        """Stand for the text of a type that JSON doesn't have; None when there is no way to."""
        digest = self._digest(kind, text)
        if kind in _PATHS or kind == "str":
            return self.text(text)
        if kind == "Decimal":
            plain = text.strip("-+").replace(".", "").isdigit() and text[-1] != "."
            return self._digits(digest, text) if plain else None
        if kind == "UUID":
            return str(uuid.UUID(bytes=digest))
        if kind in ("bytes", "bytearray"):
            return base64.b64encode(f"{_MARK}-{digest.hex()[:12]}".encode()).decode()
        if kind == "date" or kind.startswith("datetime"):
            day = date(2000, 1, 1) + timedelta(days=int.from_bytes(digest[:4]) % 10_000)
            # The time of day stays: by itself it says little, and a change could fall into a clock change.
            return day.isoformat() + text[len("2000-01-01") :]
        if kind == "IPv4Address":
            return str(ipaddress.IPv4Address(b"\x0a" + digest[:3]))
        if kind == "IPv6Address":
            return str(ipaddress.IPv6Address(b"\xfd" + digest[:15]))
        if kind == "url":
            return f"https://{_MARK}-{digest.hex()[:12]}.invalid/"
        return None

    def _digest(self, kind: str, text: str) -> bytes:
        return blake2b(f"{kind}\0{text}".encode(), digest_size=16, key=self._key).digest()

    def _digits(self, digest: bytes, text: str) -> str:
        """Other digits, as many."""
        changed = re.sub(r"\d", lambda found: str(digest[found.start() % 16] % 9 + 1), text)
        # One in nine one-digit numbers would stand for itself.
        return changed if changed != text else changed[:-1] + str(int(changed[-1]) % 9 + 1)
