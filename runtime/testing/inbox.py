"""One life's engine as its steps reach it: what they say goes with the process, and no later life hears of it.

Knows turns and lives. Must not know what is asked for.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import Future
from contextvars import copy_context
from typing import TYPE_CHECKING, Any, TypeAlias

from perdure.engine.batch import Batch
from perdure.engine.engine import Engine, Request
from perdure.testing.simulated_ledger import SimulatedCrash

if TYPE_CHECKING:
    from perdure.testing.simulation import Simulation

Word: TypeAlias = Callable[[Engine, Batch], Any]


class Inbox:
    """The way to the engine for the steps of one life of a simulated process."""

    def __init__(self, simulation: Simulation) -> None:
        self._simulation = simulation
        self._life = simulation.lives
        self._context = copy_context()  # of no step: a turn walks bodies, which are in none

    def tell(self, word: Word) -> Future[Any]:
        """Have something recorded in the next turn, and again until it is."""
        answer: Future[Any] = Future()
        self._put(Request(word, answer, kept=True))
        return answer

    def later(self, word: Word) -> asyncio.Future[Any]:
        """Have something done in the next turn. On the steps' loop."""
        answer: Future[Any] = Future()
        self._put(Request(word, answer))
        return asyncio.wrap_future(answer)

    def now(self, word: Word) -> Any:
        """Have something done in a turn that is taken within this call.

        Raises:
            SimulatedCrash: the process, and with it whoever calls, died in that turn or before.
        """
        simulation = self._simulation
        if simulation.lives == self._life:
            answer: Future[Any] = Future()
            asked, simulation._requests = simulation._requests, []
            self._context.run(simulation._take_turn, [*asked, Request(word, answer)])
            if simulation.lives == self._life:
                return answer.result()
        raise SimulatedCrash

    def look(self, word: Word) -> Any:
        """Ask the engine between its turns."""
        return word(self._simulation._engine, Batch(self._simulation.clock.now_us()))

    def _put(self, request: Request) -> None:
        if self._simulation.lives == self._life:
            self._simulation._requests.append(request)
