"""How long encoding takes, beside `json` and `pickle` doing the same in the same process.

    python benchmarks/encoding.py

Times are of the machine at hand; the ratios are what to compare. `json` and `pickle` do less: the one loses types, the
other can't be read by SQL and runs code when it is read.
"""

from __future__ import annotations

import json
import pickle
import timeit
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal

from pydantic import BaseModel

from perdure.storage.encoding import decode, encode, encode_arguments


class Order(BaseModel):
    """What a typical step is given."""

    order_id: str
    cents: int
    note: str | None = None


@dataclass
class Line:
    """One of many records in a result."""

    sku: str
    price: Decimal
    at: datetime


FLAT = {f"key{i}": (i, f"value{i}", i * 1.5)[i % 3] for i in range(10)}
LINES = [Line(f"sku-{i}", Decimal(i) / 4, datetime(2024, 5, 1, tzinfo=UTC)) for i in range(100)]
CASES: dict[str, object] = {
    "an integer": 7,
    "a string": "charge-card",
    "a flat dict of 10": FLAT,
    "1,000 flat dicts": [dict(FLAT) for _ in range(1000)],
    "10,000 integers": list(range(10_000)),
    "a pydantic model": Order(order_id="o1", cents=4200),
    "100 dataclasses of str, Decimal, datetime": LINES,
}


def microseconds(call: Callable[[], object]) -> float:
    """Give the best of several rounds, in µs for one call."""
    timer = timeit.Timer(call)
    number, _ = timer.autorange(lambda number, seconds: None)
    return min(timer.repeat(5, max(1, number // 5))) / max(1, number // 5) * 1e6


def main() -> None:
    """Print one line for each case."""
    print(f"{'':44}{'encode':>10}{'json':>10}{'pickle':>10}{'decode':>10}{'json':>10}{'pickle':>10}   (µs)")
    for name, value in CASES.items():
        encoded, pickled = encode(value), pickle.dumps(value)
        times = [
            microseconds(lambda value=value: encode(value)),
            microseconds(lambda value=value: json.dumps(value, default=_by_fields)),
            microseconds(lambda value=value: pickle.dumps(value)),
            microseconds(lambda encoded=encoded: decode(*encoded)),
            microseconds(lambda encoded=encoded: json.loads(encoded.body)),
            microseconds(lambda pickled=pickled: pickle.loads(pickled)),
        ]
        print(f"{name:44}" + "".join(f"{time:10.2f}" for time in times))
        print(f"{'':44}{'':10}{times[0] / times[1]:9.1f}×{times[0] / times[2]:9.1f}×", end="")
        print(f"{'':10}{times[3] / times[4]:9.1f}×{times[3] / times[5]:9.1f}×")
    print("\narguments of a step, against json.dumps of the same tuple:")
    for arguments in ((), ("o1",), ("o1", 4200, 1.5), (Order(order_id="o1", cents=1),)):
        ours = microseconds(lambda arguments=arguments: encode_arguments(arguments))
        theirs = microseconds(lambda arguments=arguments: json.dumps(arguments, default=_by_fields))
        print(f"    {arguments!s:60}{ours:8.2f} µs {ours / theirs:6.2f}×")


def _by_fields(value: object) -> object:
    return {name: str(field) for name, field in vars(value).items()}


if __name__ == "__main__":
    main()
