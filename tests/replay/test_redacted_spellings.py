"""What a body derives from a secret by writing it otherwise is gone too, and the history still replays."""

from __future__ import annotations

import base64
import io
import json
import urllib.parse
import uuid
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import pytest

from perdure import DefinitionError, MemoryLedger
from perdure.declare.registry import Registry
from perdure.replay.check import Verdict
from perdure.replay.golden import check_history
from perdure.replay.history_file import History, write_history
from perdure.replay.redaction import Redaction
from perdure.strict import step, workflow
from perdure.testing import RuntimeClock, RuntimeFactory

NAME = 'Zoë "O\'Hara" van Lovélace'
MAIL = "Grace@Hopper.org"
API_KEY = "sk_live_51Habc"


@step
async def tell(*facts: object) -> None:
    return None


@workflow(id="derive")
async def derive(input: dict, step) -> str:
    name, cents, price, at = input["name"], input["cents"], input["price"], input["at"]
    await tell(name.lower(), name.upper(), name.title(), input["mail"].lower())
    await tell(json.dumps({"name": name}), json.dumps([name], ensure_ascii=False), urllib.parse.quote(name))
    await tell(base64.b64encode(name.encode()).decode(), name.encode(), name.encode().hex())
    await tell(f"{cents:,}", f"{cents / 100:.2f}", f"{cents / 100:,.2f} EUR", -cents, f"-{cents}")
    await tell(str(price), f"{price:.3f}", f"{price:,}", "21250.50")
    await tell(str(at), at.isoformat(), f"{input['id']}", input["id"].hex, str(input["raw"]))
    return name


@workflow(id="odd")
async def odd(input: dict, step) -> dict:
    """What can be looked for only where it stands: an event's type, a moment, a key, other letters."""
    if "event" in input:
        await step.wait_for_event("wait", type=f"paid.{input['event']}", timeout="1h")
    if "when" in input:
        await step.sleep_until("until", input["when"])
    if "key" in input:
        await tell({input["key"]: 1})
    if "mixed" in input:
        await tell(input["mixed"].swapcase())
    if "float" in input:
        await tell(float(input["float"]))
    if input.get("secretly"):
        await tell("unpaid", "paid")
    return input


@workflow(id="literal")
async def literal(input: str, step) -> str:
    paid_key = API_KEY  # never log sk_live_51Habc
    await tell(paid_key, f"Bearer sk_live_51Habc for {input}")
    return "done"


INPUT: dict[str, Any] = {
    "name": NAME, "mail": MAIL, "cents": 123456789, "price": Decimal("1250.50"), "raw": b"\x01raw",
    "at": datetime(2031, 2, 3, 4, 5, 6, tzinfo=UTC), "id": uuid.UUID(int=2**120 + 7),
}  # fmt: skip


def recorded(definition: Any, given: Any) -> History:
    clock = RuntimeClock()
    with RuntimeFactory(clock, None)(definition, ledger=MemoryLedger()) as runtime:  # type: ignore[arg-type]  # no files
        run = runtime.start(definition, given, run_id="r1")
        clock.advance("1d")
        assert run.status() == "completed"
        history = run.recorded()
    assert isinstance(history, History)
    return history


def redacted(history: History, *patterns: str) -> History:
    return Redaction(patterns, b"a key for tests").apply(history)


def text_of(history: History) -> str:
    text = io.StringIO()
    write_history(history, text)
    return text.getvalue()


def replays(history: History, definition: Any) -> bool:
    finding = check_history(history, Registry([definition]))
    return isinstance(finding, Verdict) and finding.ok


@pytest.fixture(scope="module")
def derived() -> History:
    return recorded(derive, INPUT)


@pytest.mark.parametrize(
    ("field", "secrets"),
    [
        ("name", ["zo\u00eb", "ov\u00e9l", "OV\u00c9L", "ov\\\\u00e9l", "Lov%C3%A9", NAME.encode().hex()]),
        ("name", [base64.b64encode(NAME.encode()).decode(), "Hara", "hara", "HARA"]),
        ("mail", ["grace@", "Grace@"]),
        ("cents", ["123456789", "123,456,789", "1234567.89", "1,234,567.89"]),
        ("price", ["[\"1250.50", "\"1250.500", "1,250.50"]),
        ("at", ["2031-02-03"]),
        ("id", [str(INPUT["id"]), INPUT["id"].hex]),
        ("raw", ["x01raw", base64.b64encode(INPUT["raw"]).decode()]),
    ],
)  # fmt: skip
def test_other_spellings_of_a_secret_follow_it(field: str, secrets: list[str], derived: History) -> None:
    before, found = text_of(derived), redacted(derived, f"input.{field}")
    for secret in secrets:
        assert secret in before.partition("\n")[2]
        assert secret not in text_of(found)
    assert replays(found, derive)


def test_a_decimal_is_no_part_of_another(derived: History) -> None:
    assert '"21250.50"' in text_of(redacted(derived, "input.price"))


def test_secrets_in_literals_and_comments_of_the_recorded_code_go_and_names_stay() -> None:
    history = recorded(literal, "x")
    assert text_of(history).count("sk_live_51Habc") >= 4
    found = redacted(history, "tell.arguments.0")
    assert "sk_live_51Habc" not in text_of(found)
    assert found.definition is not None
    assert "paid_key = API_KEY  # never log redacted-" in found.definition.source
    assert 'f\\"Bearer redacted-' in found.definition.source
    assert history.definition is not None
    assert found.definition.digest == history.definition.digest


def test_names_in_the_recorded_code_that_are_spelled_like_a_secret_stay() -> None:
    history = recorded(odd, {"event": "finally", "secretly": False})
    found = redacted(history, "input.event")
    assert found.definition is not None
    assert "async def odd" in found.definition.source
    found = redacted(recorded(literal, "paid_key"), "input")
    assert found.definition is not None
    assert "paid_key = API_KEY" in found.definition.source


def test_a_redacted_history_does_not_say_in_which_folders_the_code_lay() -> None:
    history = recorded(literal, "x-secret")
    folder = __file__.rpartition("/")[0]
    assert folder in text_of(history)
    found = redacted(history, "input")
    assert found.definition is not None
    assert {unit["file"] for unit in json.loads(found.definition.source)} == {"test_redacted_spellings.py"}


def test_the_type_of_an_event_is_rewritten_everywhere() -> None:
    found = redacted(recorded(odd, {"event": "ada-lovelace"}), "input.event")
    assert "ada-lovelace" not in text_of(found)
    assert replays(found, odd)


@pytest.mark.parametrize(
    ("given", "place"),
    [
        ({"when": "2030-01-01T05:06:07+00:00"}, "time of entry 1"),
        ({"when": datetime(2030, 1, 1, 5, 6, 7, tzinfo=UTC)}, "time of entry 1"),
        ({"key": "4242424242"}, "value of entry 1"),
        ({"key": 1234567}, "value of entry 1"),
        ({"mixed": "Ada Lovelace"}, "value of entry 1"),
        ({"float": 1234567}, "value of entry 1"),
    ],
)
def test_what_can_not_follow_and_stays_readable_is_an_error(given: dict[str, Any], place: str) -> None:
    with pytest.raises(DefinitionError, match=f"can still be read in the {place}"):
        redacted(recorded(odd, given), f"input.{next(iter(given))}")


def test_a_selected_truth_value_is_replaced_though_nothing_else_is() -> None:
    history = recorded(odd, {"secretly": True})
    found = redacted(history, "input.secretly")
    assert '"secretly":true' in text_of(history)
    assert '"secretly":true' not in text_of(found)


def test_a_stand_in_is_not_looked_into_again() -> None:
    history = recorded(odd, {"a": "first-secret", "b": "redacted", "c": "first-secret redacted"})
    found = json.loads(redacted(history, "input.a", "input.b").entries[0].body or "")
    assert found["c"] == f"{found['a']} {found['b']}"
