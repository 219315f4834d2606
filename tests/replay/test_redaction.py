"""A redacted history says nothing of what was secret, and still replays."""

from __future__ import annotations

import json
import uuid
from datetime import UTC, date, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from perdure import DefinitionError, MemoryLedger, Runtime
from perdure.declare.registry import Registry
from perdure.replay.check import Verdict
from perdure.replay.golden import check_history, history_files
from perdure.replay.history_file import History, read_history
from perdure.replay.redaction import Redaction, parse_pattern
from perdure.storage import entries as kinds
from perdure.storage.encoding import decode
from perdure.storage.verify import verify_run
from perdure.strict import FatalError, step, workflow

KEY = b"a key for tests"
TOKEN = "tok-9c2f-secret"
SECRET: dict[str, Any] = {
    "token": TOKEN,
    "mail": "ada@lovelace.org",
    "card": 4242424242424242,
    "fee": Decimal("12.50"),
    "at": datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC),
    "day": date(2027, 3, 4),
    "id": uuid.UUID(int=77),
    "raw": b"\x01\x02",
    "rate": 0.125,
    "deep": [{"pin": "12"}, {"pin": "34"}],
    "on": True,
    "nothing": None,
}


@step
async def charge(input: dict) -> dict:
    return SECRET


@step
async def fail(token: str) -> None:
    raise FatalError(f"the gateway refused {token}")


async def tell(*facts: object) -> object:
    return facts


@workflow(id="pay")
async def pay(input: dict, step) -> dict:
    paid = await charge(input)
    await step.run(f"tell-{paid['token']}", tell, f"Bearer {paid['token']}", paid["card"], f"card {paid['card']}")
    for name in ("fee", "at", "day", "id", "raw", "rate", "mail"):
        await step.run(f"tell {name}", tell, paid[name], str(paid[name]))
    long = input["long"]
    await step.run("closure", lambda: tell(paid["deep"], long))
    try:
        await fail(paid["token"])
    except FatalError:
        await step.run("failed", tell, "it failed")
    return {"token": paid["token"], "who": input["who"]}


@workflow(id="look")
async def look(input: str, step) -> str:
    """A body that looks into a value instead of passing it on."""
    return str(await step.run("first", tell, input[:3]))


INPUT = {"who": "Ada Lovelace", "long": "x" * 300 + TOKEN}


@pytest.fixture(scope="module")
def ledger() -> MemoryLedger:
    made = MemoryLedger()
    with Runtime(made, workflows=[pay, look]) as runtime:
        tags = {"customer": "Ada Lovelace"}
        run = runtime.start(pay, INPUT, run_id="p1", idempotency_key="key of Ada Lovelace", tags=tags)
        run.result(timeout="20s")
        runtime.start(look, "sesame", run_id="l1").result(timeout="20s")
    return made


def history(ledger: MemoryLedger, run_id: str = "p1") -> History:
    row = ledger.run(run_id)
    assert row is not None
    return History(row, tuple(ledger.entries(row.run)), ledger.definition(row.definition))


def redact(ledger: MemoryLedger, *patterns: str, run_id: str = "p1") -> History:
    return Redaction(patterns, KEY).apply(history(ledger, run_id))


def replays(found: History) -> bool:
    finding = check_history(found, Registry([pay, look]))
    return isinstance(finding, Verdict) and finding.ok


def everything(found: History) -> str:
    return "\n".join(json.dumps([field for field in entry if isinstance(field, str)]) for entry in found.entries)


def result(found: History) -> dict[str, Any]:
    entry = next(each for each in found.entries if each.kind == kinds.STEP_COMPLETED)
    value = decode(entry.body or "", entry.shape)
    assert isinstance(value, dict)
    return value


def test_a_redacted_history_replays_and_its_chain_holds(ledger: MemoryLedger) -> None:
    found = redact(ledger, "charge.result.token", "charge.result.card", "input.who")
    assert replays(found)
    assert verify_run(found.row, found.entries) is None
    assert found.redacted == ("charge.result.token", "charge.result.card", "input.who")
    assert found.row.digest != history(ledger).row.digest


def test_a_secret_is_gone_wherever_it_stood(ledger: MemoryLedger) -> None:
    before = everything(history(ledger))
    after = everything(redact(ledger, "charge.result.token", "input.who"))
    for secret, times in ((TOKEN, 8), ("Ada Lovelace", 4)):
        assert before.count(secret) >= times  # results, arguments, names, texts, a failure, tags, the key
        assert secret not in after


@pytest.mark.parametrize("name", ["token", "mail", "card", "fee", "at", "day", "id", "raw", "rate"])
def test_a_stand_in_has_the_type_of_what_it_replaces_and_replays(name: str, ledger: MemoryLedger) -> None:
    found = redact(ledger, f"charge.result.{name}")
    value = result(found)[name]
    assert type(value) is type(SECRET[name])
    assert value != SECRET[name]
    others = {key: each for key, each in result(found).items() if key != name}
    assert others == {key: each for key, each in SECRET.items() if key != name}
    assert replays(found) is (name != "rate")  # a short number in a text can't be followed


def test_a_pattern_that_ends_at_an_object_selects_all_in_it(ledger: MemoryLedger) -> None:
    found = result(redact(ledger, "charge.result"))
    assert all(found[name] != SECRET[name] for name in SECRET if name != "nothing")
    assert found["on"] is False
    assert found["nothing"] is None
    assert list(found) == list(SECRET)


def test_stars_select_any_name_and_any_depth(ledger: MemoryLedger) -> None:
    for pattern in ("charge.result.**.pin", "*.result.deep.*.pin", "ch*.result.deep.0.pin", "**.result.deep.1"):
        found = result(redact(ledger, pattern))
        changed = [new != old for new, old in zip(found["deep"], SECRET["deep"], strict=True)]
        assert any(changed)
        assert {**found, "deep": 0} == {**SECRET, "deep": 0}


def test_what_a_closure_captured_follows_even_when_only_its_digest_is_recorded(ledger: MemoryLedger) -> None:
    assert "blake2b:" in everything(history(ledger))
    assert replays(redact(ledger, "input.long", "charge.result.deep"))


def test_the_same_key_gives_the_same_stand_ins_and_another_key_others(ledger: MemoryLedger) -> None:
    first, again = (redact(ledger, "charge.result.token") for _ in range(2))
    other = Redaction(["charge.result.token"], b"another").apply(history(ledger))
    assert first == again
    assert result(first)["token"] != result(other)["token"]


def test_a_short_number_is_replaced_in_fields_of_the_same_name(ledger: MemoryLedger) -> None:
    made = MemoryLedger()
    with Runtime(made, workflows=[pay, look]) as runtime:
        runtime.start(pay, {**INPUT, "cents": 5, "pieces": 5, "gift": True}, run_id="short").result(timeout="20s")
    found = redact(made, "input.cents", "input.gift", run_id="short")
    assert replays(found)
    for entry in found.entries[:2]:
        assert '"cents":5' not in (entry.body or "")
        assert '"pieces":5' in (entry.body or "")
        assert '"gift":false' in (entry.body or "")


def test_tags_and_keys_can_be_redacted(ledger: MemoryLedger) -> None:
    found = redact(ledger, "tags.customer", "idempotency_key")
    assert found.row.tags["customer"].startswith("redacted-")
    assert found.row.idempotency_key is not None
    assert "Ada" not in found.row.idempotency_key
    assert replays(found)


def test_a_body_that_looks_into_a_redacted_value_does_not_replay(ledger: MemoryLedger) -> None:
    assert replays(history(ledger, "l1"))
    assert not replays(redact(ledger, "input", run_id="l1"))


def test_the_report_on_a_redacted_history_says_that_it_was_redacted(ledger: MemoryLedger) -> None:
    finding = check_history(redact(ledger, "input", run_id="l1"), Registry([look]))
    assert isinstance(finding, Verdict)
    assert finding.divergence is not None
    assert "values of this history were redacted (input): perhaps the body looks into one" in finding.divergence.why


def test_a_value_that_stays_readable_is_an_error(ledger: MemoryLedger) -> None:
    made = MemoryLedger()
    with Runtime(made, workflows=[look]) as runtime:
        runtime.start(look, "sesame", run_id="run-of-sesame").result(timeout="20s")
    with pytest.raises(DefinitionError, match="can still be read in the detail of entry 0"):
        redact(made, "input", run_id="run-of-sesame")


def test_a_pattern_that_selects_nothing_is_told(ledger: MemoryLedger) -> None:
    redaction = Redaction(["charge.result.tokn", "input.who"], KEY)
    redaction.apply(history(ledger))
    assert redaction.unmatched == ["charge.result.tokn"]


@pytest.mark.parametrize("text", ["", "charge", "charge.token", "charge.results.x", ".result"])
def test_a_pattern_that_names_no_part_is_refused(text: str) -> None:
    with pytest.raises(DefinitionError, match="names no part of a history"):
        parse_pattern(text)


@pytest.mark.parametrize("file", sorted(history_files([Path(__file__).parents[1] / "histories"])), ids=lambda f: f.name)
def test_redacting_nearly_all_of_real_histories_leaves_a_sound_chain(file: Path) -> None:
    patterns = ["input", "*.input", "charge_card.result", "*.payload", "*.error", "error", "tags", "idempotency_key"]
    before = read_history(file)
    found = Redaction(patterns, KEY).apply(before)
    assert verify_run(found.row, found.entries) is None
    assert [entry[:4] for entry in found.entries] == [entry[:4] for entry in before.entries]
