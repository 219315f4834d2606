"""A callback counts once, in whatever number they come, and only the provider's own."""

from urllib.error import HTTPError
from urllib.request import Request, urlopen

import pytest
from endpoint import open_endpoint
from provider import open_provider, signature
from workflows import Order, take_payment

from perdure.testing import RuntimeFactory, assert_replays, crash_everywhere

ORDER = Order(order_id="o1", cents=4200)
PAID = {"paid_cents": 4200, "method": "card"}


def test_the_second_callback_finds_the_hook_closed(
    perdure_runtime: RuntimeFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    with open_provider() as provider, perdure_runtime(take_payment) as runtime, open_endpoint(runtime) as endpoint:
        monkeypatch.setenv("PROVIDER_URL", provider.url)
        monkeypatch.setenv("HOOKS_URL", endpoint.url)
        run = runtime.start(take_payment, ORDER)
        assert run.result(timeout="10s") == "paid by card"
        provider.finish()
        assert provider.answers == [200, 410]
        assert_replays(run)


def test_a_forged_callback_is_refused(perdure_runtime: RuntimeFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    with perdure_runtime(take_payment) as runtime, open_endpoint(runtime) as endpoint:
        forged = Request(f"{endpoint.url}payment:o1", b"{}", {"X-Signature": signature(b"something else")})
        with pytest.raises(HTTPError, match="403") as refused:
            urlopen(forged, timeout=5)
        refused.value.close()


def test_a_payment_counts_wherever_the_process_dies() -> None:
    report = crash_everywhere(take_payment, ORDER, steps={"order_payment": None}, hooks={"payment:o1": PAID})
    assert report.outcome == ("completed", "paid by card")


def test_too_little_is_noticed() -> None:
    less = PAID | {"paid_cents": 4000}
    report = crash_everywhere(take_payment, ORDER, steps={"order_payment": None}, hooks={"payment:o1": less})
    assert report.outcome == ("completed", "200 cents are missing")


def test_who_does_not_pay_in_time_never_did() -> None:
    report = crash_everywhere(take_payment, ORDER, steps={"order_payment": None})
    assert report.outcome == ("completed", "never paid")
