"""A bank behind HTTP that now and then takes the money and loses its answer. It knows keys, and no workflows.

The first request under a key is done and not answered: the connection just ends, as when a network fails. The next one
under the same key is told what was done then.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


class Bank(ThreadingHTTPServer):
    """The bank's books: charges by key, and how often it was asked."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Request)
        self.charges: dict[str, int] = {}
        self.requests = 0
        self.lock = threading.Lock()

    @property
    def url(self) -> str:
        """Where it is."""
        return f"http://127.0.0.1:{self.server_port}/charges"


class _Request(BaseHTTPRequestHandler):
    server: Bank

    def do_POST(self) -> None:
        key = self.headers["Idempotency-Key"]
        cents = json.loads(self.rfile.read(int(self.headers["Content-Length"])))["cents"]
        with self.server.lock:
            self.server.requests += 1
            known = key in self.server.charges
            self.server.charges.setdefault(key, cents)
            number = list(self.server.charges).index(key)
        if not known:
            return  # done, and the answer is lost
        body = json.dumps({"charge_id": f"ch_{number}"}).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:
        """Say nothing."""


@contextmanager
def open_bank() -> Iterator[Bank]:
    """Open a bank on loopback, for as long as the block lasts."""
    with Bank() as bank:
        thread = threading.Thread(target=bank.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
        thread.start()
        try:
            yield bank
        finally:
            bank.shutdown()
            thread.join()
