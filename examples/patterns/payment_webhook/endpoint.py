"""The shop's own endpoint: what the provider posts to /hooks/TOKEN goes to the run that waits for it.

Any web framework does; this one comes with Python. It knows the runtime's `resume_hook`, and nothing of what runs do.
"""

from __future__ import annotations

import hmac
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import unquote

from provider import signature

from perdure.strict import BlockingRuntime, HookRefused


class Endpoint(ThreadingHTTPServer):
    """Takes callbacks."""

    daemon_threads = True

    def __init__(self, runtime: BlockingRuntime) -> None:
        super().__init__(("127.0.0.1", 0), _Request)
        self.runtime = runtime

    @property
    def url(self) -> str:
        """What a hook's token is appended to."""
        return f"http://127.0.0.1:{self.server_port}/hooks/"


class _Request(BaseHTTPRequestHandler):
    server: Endpoint

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        if not hmac.compare_digest(signature(body), self.headers.get("X-Signature", "")):
            status = 403
        else:
            try:
                # When this returns the payload is recorded, so a 200 is never taken back.
                self.server.runtime.resume_hook(unquote(self.path.removeprefix("/hooks/")), json.loads(body))
                status = 200
            except HookRefused:
                status = 410  # answered before, or nobody waits for it any more
        self.send_response(status)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, format: str, *args: object) -> None:
        """Say nothing."""


@contextmanager
def open_endpoint(runtime: BlockingRuntime) -> Iterator[Endpoint]:
    """Open the endpoint on loopback, for as long as the block lasts."""
    with Endpoint(runtime) as endpoint:
        thread = threading.Thread(target=endpoint.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
        thread.start()
        try:
            yield endpoint
        finally:
            endpoint.shutdown()
            thread.join()
