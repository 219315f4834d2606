"""A payment provider, as it looks from outside: it takes an order over HTTP and calls back later, often twice."""

from __future__ import annotations

import hashlib
import hmac
import json
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.error import HTTPError, URLError
from urllib.request import Request, urlopen

SECRET = b"what both sides know"
TIMES = 2  # how often every callback is made: providers would rather call twice than not at all


def signature(body: bytes) -> str:
    """What proves that a callback is the provider's."""
    return hmac.new(SECRET, body, hashlib.sha256).hexdigest()


class Provider(ThreadingHTTPServer):
    """Collects payments."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Request)
        self.answers: list[int] = []  # what the callbacks were answered
        self._calling: list[threading.Thread] = []

    @property
    def url(self) -> str:
        """Where payments are ordered."""
        return f"http://127.0.0.1:{self.server_port}/payments"

    def collect(self, callback: str, cents: int) -> None:
        """Collect a payment, and say so later."""
        self._calling.append(threading.Thread(target=self._call_back, args=(callback, cents)))
        self._calling[-1].start()

    def finish(self) -> None:
        """Wait until all callbacks were made."""
        for thread in self._calling:
            thread.join()

    def _call_back(self, url: str, cents: int) -> None:
        time.sleep(0.1)  # the customer types a number
        body = json.dumps({"paid_cents": cents, "method": "card"}).encode()
        for _ in range(TIMES):
            request = Request(url, body, {"X-Signature": signature(body)})
            try:
                with urlopen(request, timeout=5) as answer:
                    self.answers.append(answer.status)
            except HTTPError as error:
                self.answers.append(error.code)
                error.close()
            except URLError:
                self.answers.append(0)  # the shop is closed


class _Request(BaseHTTPRequestHandler):
    server: Provider

    def do_POST(self) -> None:
        order = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        self.server.collect(order["callback"], order["cents"])
        self.send_response(202)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, format: str, *args: object) -> None:
        """Say nothing."""


@contextmanager
def open_provider() -> Iterator[Provider]:
    """Open the provider on loopback, for as long as the block lasts."""
    with Provider() as provider:
        thread = threading.Thread(target=provider.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
        thread.start()
        try:
            yield provider
        finally:
            provider.finish()
            provider.shutdown()
            thread.join()
