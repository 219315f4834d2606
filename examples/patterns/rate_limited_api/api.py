"""An API that takes so many requests a second from everybody together, and sends the others away with a 429."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

PER_SECOND = 5


class Api(ThreadingHTTPServer):
    """Serves the weather of cities."""

    daemon_threads = True
    request_queue_size = 64

    def __init__(self, clock: Callable[[], float]) -> None:
        super().__init__(("127.0.0.1", 0), _Request)
        self.answered: list[str] = []
        self.refused = 0
        self.lock = threading.Lock()
        self._clock = clock
        self._lately: deque[float] = deque()

    @property
    def url(self) -> str:
        """Where it is."""
        return f"http://127.0.0.1:{self.server_port}"

    def admit(self, city: str) -> bool:
        """Whether there is room for one more request in this second."""
        with self.lock:
            now = self._clock()
            while self._lately and self._lately[0] <= now - 1:
                self._lately.popleft()
            if len(self._lately) >= PER_SECOND:
                self.refused += 1
                return False
            self._lately.append(now)
            self.answered.append(city)
            return True


class _Request(BaseHTTPRequestHandler):
    server: Api

    def do_GET(self) -> None:
        city = self.path.rpartition("/")[2]
        admitted = self.server.admit(city)
        body = f"{len(city) * 3} degrees".encode() if admitted else b"slow down"
        self.send_response(200 if admitted else 429)
        if not admitted:
            self.send_header("Retry-After", "1")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:
        """Say nothing."""


@contextmanager
def open_api(clock: Callable[[], float] = time.monotonic) -> Iterator[Api]:
    """Open the API on loopback, for as long as the block lasts. `clock` gives seconds."""
    with Api(clock) as api:
        thread = threading.Thread(target=api.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
        thread.start()
        try:
            yield api
        finally:
            api.shutdown()
            thread.join()
