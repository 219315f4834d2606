"""One value of each kind that a document may hold, and some that back ends are known to stumble over."""

from __future__ import annotations

import datetime
import uuid
from decimal import Decimal

SAMPLES = [
    None, True, 0, -1, 2**63, 2**64, 10**400, 0.1, 1e300, -0.0, float("inf"), "", "é", "a\0b", "'; --", "\ud800", "%s",
    b"", b"\0\xff", Decimal("1.50"), Decimal("NaN"), uuid.UUID(int=7), datetime.date(2026, 2, 28),
    datetime.datetime(2026, 2, 28, 1, 2, 3, 4), datetime.datetime(2026, 2, 28, 1, 2, 3, 4, datetime.UTC),
    datetime.time(1, 2, 3), datetime.timedelta(days=-1, microseconds=1), (1, 2), (), [], {}, {"b": 1, "a": 2},
    {"a": [{"b": (None, {"c": Decimal(1)})}]}, {1: 2, (1, 2): 3}, {"a.b": 1, "": 2}, frozenset({1}),
]  # fmt: skip
