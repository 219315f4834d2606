"""What the sandbox costs: body code against the same code as plain Python, in one run on one machine.

    python benchmarks/sandbox.py

Prints ratios (times on a shared machine mean little). The bars: at most 1.3 × plain Python for the first four rows, and
at most 10 µs to start a run's sandbox. Short inner loops pay for beginning each loop (about 0.2 µs), which shows in
`model_attributes` from Python 3.12 on, where plain attribute access became very fast.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import suppress
from typing import Any

from pydantic import BaseModel

from perdure.sandbox import fuel, restrict
from perdure.sandbox.activation import activation
from perdure.sandbox.fixed import FixedEnvironment

ROUNDS = 9  # the best of them counts: noise only ever adds


class Line(BaseModel):
    sku: str
    quantity: int
    price: int

    def total(self) -> int:
        return self.quantity * self.price


async def arithmetic(input: int, step: object) -> int:
    total = 0
    for i in range(input):
        total += i * 3 % 7 - (i >> 2)
    return total


async def while_loop(input: int, step: object) -> int:
    n, total = input, 0
    while n > 0:
        total += n * 2 - 1
        n -= 1
    return total


async def containers(input: int, step: object) -> int:
    counts: dict[int, int] = {}
    seen: list[int] = []
    for i in range(input):
        key = i % 50
        counts[key] = counts.get(key, 0) + 1
        if counts[key] == 2:
            seen.append(key)
    return sum(counts.values()) + len([x for x in seen if x > 3])


async def model_attributes(input: int, step: object) -> int:
    lines = [Line(sku="a", quantity=i, price=2) for i in range(10)]
    total = 0
    for _ in range(input // 10):
        for line in lines:
            if line.sku == "a":
                total += line.quantity * line.price
    return total


async def methods(input: int, step: object) -> int:
    line = Line(sku="a", quantity=3, price=2)
    total = 0
    for _ in range(input):
        total += line.total()
    return total


def double(n: int) -> int:
    return n * 2


async def calls(input: int, step: object) -> int:
    total = 0
    for i in range(input):
        total += double(i)
    return total


async def text(input: int, step: object) -> int:
    total = 0
    for i in range(input):
        total += len(f"{i}-{total}")
    return total


BODIES = (arithmetic, while_loop, containers, model_attributes, methods, calls, text)


def seconds(body: Callable[..., Any], size: int) -> float:
    """Drive a coroutine that never waits, and time it."""
    began = time.thread_time()
    with suppress(StopIteration):
        body(size, None).send(None)
    return time.thread_time() - began


def main() -> None:
    size = 100_000
    environment = FixedEnvironment("benchmark", max_ops=100_000_000)
    print(f"{'':<18} {'plain':>10} {'in a body':>10} {'ratio':>6}")
    for body in BODIES:
        began = time.thread_time()
        restricted = restrict(body, strict=False).function
        compiled_ms = (time.thread_time() - began) * 1000
        plain_times, restricted_times = [], []
        for _ in range(ROUNDS):  # turn by turn, so that both see the same machine
            plain_times.append(seconds(body, size))
            with activation(environment):
                fuel.refill(environment.max_ops)
                restricted_times.append(seconds(restricted, size))
        plain, inside = min(plain_times), min(restricted_times)
        print(
            f"{body.__name__:<18} {plain / size * 1e9:>7.1f} ns {inside / size * 1e9:>7.1f} ns {inside / plain:>6.2f}"
            f"   compiled once in {compiled_ms:.1f} ms"
        )
    rounds = 20_000
    restriction = restrict(arithmetic, strict=False)
    restriction.link()
    began = time.thread_time()
    for _ in range(rounds):
        with activation(environment):
            fuel.refill(environment.max_ops)
            restriction.function(0, None).close()
    print(f"starting a run's sandbox: {(time.thread_time() - began) / rounds * 1e6:.2f} µs")


if __name__ == "__main__":
    main()
