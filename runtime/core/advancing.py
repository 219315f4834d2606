"""The moment in which a body is advanced: the sandbox watches, and asyncio takes the body's loop for the running one.

Knows what to put back afterwards. Must not know what advances a body.
"""

from __future__ import annotations

import asyncio
from asyncio import events as asyncio_events

from perdure.sandbox import activation
from perdure.sandbox.environment import Environment


class Advancing:
    """`with Advancing(environment, loop):` around everything that may run a body's code."""

    __slots__ = ("_environment", "_loop", "_outer")

    def __init__(self, environment: Environment, loop: asyncio.AbstractEventLoop) -> None:
        self._environment = environment
        self._loop = loop
        self._outer: asyncio.AbstractEventLoop | None = None

    def __enter__(self) -> None:
        self._outer = asyncio_events._get_running_loop()
        activation.enter(self._environment)
        asyncio_events._set_running_loop(self._loop)

    def __exit__(self, *_: object) -> None:
        asyncio_events._set_running_loop(self._outer)
        activation.leave()
