"""What an attempt did to the services, as plain data on its way into the batch that records its result.

Knows changes. Must not know who asked for them or what follows.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple, Protocol

from perdure.storage.cells import Cell
from perdure.storage.encoding import Encoded


class Word(Protocol):
    """Something else to be done in the batch that records the result: a run to start, an event to send.

    The engine asks all words of an attempt whether they can be done before it takes any of its effects.
    """

    def check(self, engine: Any, batch: Any) -> None:
        """Raise what makes it impossible: then the attempt fails with that, and nothing of it was done."""
        ...

    def do(self, engine: Any, batch: Any) -> object:
        """Do it, as part of the batch."""
        ...


class Change(NamedTuple):
    """One write to a service, as handlers are told of it."""

    service: str  # "kv", "database", "storage" or "queue"
    place: str  # the namespace, collection, bucket or queue
    key: str
    op: str  # "put", "insert", "update" or "delete"
    value: Encoded | None = None  # None when it was deleted
    previous: Encoded | None = None  # None when there was nothing


class Effects(NamedTuple):
    """All that one attempt, or one call from outside, did.

    `over` is called once by the engine, from any thread, when it is appended or when nobody wants it any more.
    """

    changes: Sequence[Change]  # in order; also those that another back end keeps
    cells: Mapping[tuple[str, str], Cell]  # what the ledger keeps, by space and key; of some of it nobody is told
    words: Sequence[Word]
    over: Callable[[], None]
