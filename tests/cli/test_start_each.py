"""`perdure start --each`: a run for each line of a file."""

from __future__ import annotations

import json
from typing import Any

import pytest


def lines(shop: Any, *values: object) -> str:
    file = shop.folder / "orders.jsonl"
    file.write_text("\n".join(json.dumps(value) for value in values) + "\n\n", encoding="utf-8")
    return str(file)


def test_each_line_is_a_run_for_a_worker(shop: Any) -> None:
    file = lines(shop, *({"order_id": f"o{number}", "cents": 1} for number in range(600)))
    told = shop.ok("start", shop.ledger, "fulfill-order", "-w", shop.module, "--each", file, "--tag", "of=many")
    assert "600 runs are recorded." in told
    assert "600" in shop.ok(
        "sql", shop.ledger, "SELECT count(*) FROM runs WHERE status = 'queued' AND tags['of'] = 'many'"
    )


def test_json_gives_the_run_ids_in_order(shop: Any) -> None:
    file = lines(shop, "o1", "o2")
    found = shop.json("start", shop.ledger, "await-payment", "-w", shop.module, "--each", file)
    history = [shop.ok("history", "export", shop.ledger, run_id) for run_id in found["run_ids"]]
    assert ['"o1"' in text for text in history] == [True, False]
    assert ['"o2"' in text for text in history] == [False, True]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ('{"order_id": "o1", "cents": 1}\n{"order_id": "o2", "cents": "many"}', "inputs[1]: "),
        ('{"order_id": "o1", "cents": 1}\n\n{"order_id": ', "orders.jsonl:3"),
    ],
)
def test_a_line_that_can_t_be_used_is_named_and_nothing_is_recorded(shop: Any, text: str, said: str) -> None:
    (shop.folder / "orders.jsonl").write_text(text, encoding="utf-8")
    result = shop("start", shop.ledger, "fulfill-order", "-w", shop.module, "--each", str(shop.folder / "orders.jsonl"))
    assert result.exit_code == 2
    assert said in result.output
    assert not shop.ledger.exists()


def test_each_and_options_of_one_run_don_t_go_together(shop: Any) -> None:
    file = lines(shop, "o1")
    for option in (["--input", '"o1"'], ["--run-id", "one"], ["--wait"], ["--idempotency-key", "k"]):
        result = shop("start", shop.ledger, "await-payment", "-w", shop.module, "--each", file, *option)
        assert result.exit_code == 2
        assert f"--each and {option[0]} don't go together" in result.output
