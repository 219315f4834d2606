"""A small shop behind HTTP: warehouse, card payments, carrier and mail. It plays the world outside, unreliably.

It behaves as such services do: it is slow, it answers 503 now and then (sometimes before it did the work, sometimes
after), it remembers what it answered under an idempotency key, and it confirms payments later. Beyond that it keeps
count of every call, which is how the demo knows what was done twice.

It must not know anything of workflows. Run it alone with: python examples/shop.py
"""

from __future__ import annotations

import json
import threading
import time
import zlib
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, NamedTuple

LATENCY_S = 0.03
UNAVAILABLE_PERCENT = 12
UNAVAILABLE_AT_MOST = 3  # in a row, so that a patient caller always gets through
CONFIRMED_AFTER_S = 0.6

#: Of each hundred orders: whose stock is gone, whose card is declined, who never pays, who can't be reached.
FATES = {
    "out-of-stock": range(3),
    "card-declined": range(3, 8),
    "never-pays": range(8, 14),
    "unreachable": range(14, 18),
}


def draw(*what: object) -> int:
    """A number from 0 to 99 that depends on nothing but `what`: the same in every process, on every machine."""
    return zlib.crc32("/".join(str(each) for each in what).encode()) % 100


def fate(order_id: str) -> str:
    """What is going to happen to an order; `"fine"` for most."""
    number = draw("fate", order_id)
    return next((name for name, numbers in FATES.items() if number in numbers), "fine")


class Call(NamedTuple):
    """One request as it came in."""

    path: str
    key: str  # the idempotency key
    worker: str  # who called, "worker/PID"
    status: int  # what was answered, 0 as long as it is at work


class Refused(Exception):
    """The shop says no, with a status and a reason."""

    def __init__(self, status: int, reason: str) -> None:
        super().__init__(reason)
        self.status = status
        self.reason = reason


class Shop:
    """The books of the shop, and its rules."""

    def __init__(self) -> None:
        self.calls: list[Call] = []
        self.stock: dict[str, str] = {}  # reservation → order, of those that are not released
        self.charged: dict[str, tuple[str, int]] = {}  # charge → order, cents
        self.refunded: set[str] = set()  # charges
        self.labels: list[str] = []  # orders
        self.pickups: list[str] = []
        self.receipts: list[str] = []
        self._answers: dict[str, tuple[int, Any]] = {}  # by idempotency key
        self._confirmed: list[tuple[float, str]] = []  # when, order
        self._lock = threading.Lock()

    def answer(self, path: str, key: str, worker: str, question: dict[str, Any]) -> tuple[int, Any]:
        """Take one request: count it, be slow, perhaps fail, else do the work once per key."""
        with self._lock:
            number = len(self.calls)
            attempt = sum(1 for call in self.calls if call.key == key)
            self.calls.append(Call(path, key, worker, 0))
        time.sleep(LATENCY_S)
        # The mail gateway is reliable but forgetful: it knows no keys, so that a second call is a second mail.
        forgetful = path == "/mail/receipt"
        unlucky = not forgetful and attempt < UNAVAILABLE_AT_MOST and self._unlucky(path, question, attempt)
        with self._lock:
            status, answer = 503, {"reason": "try again"}
            if not unlucky or draw("late", key) < 50:  # half of the failures happen after the work was done
                if forgetful or key not in self._answers:
                    self._answers[key] = self._work(path, question)
                if not unlucky:
                    status, answer = self._answers[key]
            self.calls[number] = self.calls[number]._replace(status=status)
        return status, answer

    def _unlucky(self, path: str, question: dict[str, Any], attempt: int) -> bool:
        return draw(path, *sorted(question.values(), key=str), attempt) < UNAVAILABLE_PERCENT

    def _work(self, path: str, question: dict[str, Any]) -> tuple[int, Any]:
        try:
            return 200, self._perform(path, question)
        except Refused as refused:
            return refused.status, {"reason": refused.reason}

    def _perform(self, path: str, question: dict[str, Any]) -> dict[str, str]:
        order = str(question.get("order_id", ""))
        match path:
            case "/stock/reserve":
                if fate(order) == "out-of-stock":
                    raise Refused(409, f"{question['sku']} is sold out")
                reservation = f"rs_{len(self._answers):05d}"
                self.stock[reservation] = order
                return {"reservation_id": reservation}
            case "/stock/release":
                del self.stock[question["reservation_id"]]
            case "/cards/charge":
                if fate(order) == "card-declined":
                    raise Refused(402, "insufficient funds")
                charge = f"ch_{len(self._answers):05d}"
                self.charged[charge] = (order, question["cents"])
                if fate(order) != "never-pays":
                    self._confirmed.append((time.monotonic() + CONFIRMED_AFTER_S, order))
                return {"charge_id": charge}
            case "/cards/refund":
                self.refunded.add(question["charge_id"])
            case "/carrier/check":
                if fate(order) == "unreachable":
                    raise Refused(422, f"no delivery to this address in {question['country']}")
            case "/carrier/label":
                self.labels.append(order)
                return {"tracking": f"PX{zlib.crc32(order.encode()):010d}"}
            case "/carrier/pickup":
                self.pickups.append(order)
                return {"pickup": "tomorrow, 8 to 10"}
            case "/mail/receipt":
                self.receipts.append(order)
            case _:
                raise Refused(404, f"there is no {path}")
        return {}

    def confirmed_payments(self) -> list[str]:
        """The orders whose payment has been confirmed by now, oldest first."""
        with self._lock:
            return [order for at, order in self._confirmed if at <= time.monotonic()]


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 128

    def __init__(self, shop: Shop, port: int) -> None:
        super().__init__(("127.0.0.1", port), _Request)
        self.shop = shop

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Say nothing: a caller that was killed leaves broken connections behind, and that is the point of the demo."""


class _Request(BaseHTTPRequestHandler):
    server: _Server

    def do_POST(self) -> None:
        question = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        key, worker = self.headers["Idempotency-Key"], self.headers["User-Agent"]
        self._send(*self.server.shop.answer(self.path, key, worker, question))

    def do_GET(self) -> None:
        if self.path == "/payments/confirmed":
            self._send(200, self.server.shop.confirmed_payments())
        else:
            self._send(404, {"reason": f"there is no {self.path}"})

    def _send(self, status: int, answer: object) -> None:
        body = json.dumps(answer).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:
        """Say nothing: the demo shows what matters."""


@contextmanager
def serve(port: int = 0) -> Iterator[tuple[Shop, str]]:
    """Open the shop on loopback; give it and its URL. Port 0 takes any free one."""
    shop = Shop()
    with _Server(shop, port) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, name="shop", daemon=True)
        thread.start()
        try:
            yield shop, f"http://127.0.0.1:{server.server_address[1]}"
        finally:
            server.shutdown()
            thread.join()


if __name__ == "__main__":
    with serve(8642) as (_, url):
        print(f"The shop is open at {url}; Ctrl-C closes it.")
        with suppress(KeyboardInterrupt):
            threading.Event().wait()
