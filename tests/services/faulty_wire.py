"""A wire between a client and a server that the tests can cut, or let go dead without a sign.

It counts requests, so that it can be cut before the n-th one is heard, or after it and before the answer.
"""

from __future__ import annotations

import contextlib
import select
import socket
import threading
import time
from typing import Literal

Way = Literal["open", "refuses", "dead", "late", "cut before", "cut after"]
_LATE_S = 0.1


class Wire:
    """Listens on a port of its own, and passes everything on to the server, for as long as it is `"open"`.

    Attributes:
        way: `"refuses"` closes whoever connects, and all who are connected; `"dead"` takes everything and answers
            nothing; `"late"` holds back answers for a while; for the others see `cut`.
        cuts: how often it was cut. held: answers that were held back.
    """

    def __init__(self, port: int) -> None:
        self._port = port
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        self.way: Way = "open"
        self.cuts = 0
        self.held = 0
        self._requests_left = 0
        self._then: Way = "open"
        self._closed = False
        self._lock = threading.Lock()
        threading.Thread(target=self._listen, daemon=True).start()

    def cut(self, way: Way, after: int, then: Way = "open") -> None:
        """Drop one request with its connection, or only its answer: the one that comes after so many."""
        self._requests_left, self._then, self.way = after, then, way

    def close(self) -> None:
        """Take no more."""
        self._closed = True
        self._listener.close()

    def _listen(self) -> None:
        while not self._closed:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            threading.Thread(target=self._serve, args=[client], daemon=True).start()

    def _serve(self, client: socket.socket) -> None:
        with client, contextlib.suppress(OSError):
            if self.way == "refuses":
                return
            with socket.create_connection(("127.0.0.1", self._port)) as server:
                while self._pass_on(client, server):
                    pass

    def _pass_on(self, client: socket.socket, server: socket.socket) -> bool:
        """Pass on what one of them says; False when the connection is over."""
        while not (said := select.select([client, server], [], [], 0.02)[0]):
            if self._closed or self.way == "refuses":
                return False
        for each in said:
            data = each.recv(1 << 16)
            if not data or self._closed or self.way == "refuses":
                return False
            if self.way == "dead":
                continue
            cut = self._cuts() if each is client else None
            if cut == "cut before":
                return False
            if self.way == "late" and each is server:
                self.held += 1
                time.sleep(_LATE_S)
            (server if each is client else client).sendall(data)
            if cut == "cut after":
                server.recv(1 << 16)  # it was heard, and done; nobody learns of it
                return False
        return True

    def _cuts(self) -> Way | None:
        with self._lock:
            if self.way not in ("cut before", "cut after"):
                return None
            self._requests_left -= 1
            if self._requests_left >= 0:
                return None
            way, self.way = self.way, self._then
            self.cuts += 1
            return way
