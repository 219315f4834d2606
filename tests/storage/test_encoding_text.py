"""The text of a value is the same everywhere, is JSON, and DuckDB takes it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from datetime import timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import duckdb
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from value_strategies import values

from perdure.storage.encoding import encode

_PRINT_TEXTS = """
from decimal import Decimal
import value_strategies as v
from perdure.storage.encoding import encode
words = ["alpha", "beta", "gamma", "delta", "epsilon"]
for value in (
    set(words), frozenset(map(str.encode, words)), {*words, None, 1, 2.5, Decimal(3), (1, 2), v.Colour.RED},
    {frozenset(words), frozenset(words[:2])}, {"rows": [{w: {w, 1}} for w in words]}, [v.Line(w, {w}) for w in words],
    v.Open(name="n", b=1, a=set(words)), v.Order(order_id="o"), {Decimal(1): set(words), 2: 1},
):
    print(*encode(value))
"""


@pytest.fixture(scope="module")
def con() -> Iterator[duckdb.DuckDBPyConnection]:
    with duckdb.connect() as connection:
        connection.execute("CREATE TABLE results (value VARIANT)")
        yield connection


def test_hash_seeds_do_not_show_in_the_text() -> None:
    texts = set()
    for seed in ("0", "1", "2", "77"):
        environment = {**os.environ, "PYTHONHASHSEED": seed, "PYTHONPATH": str(Path(__file__).parent)}
        command = [sys.executable, "-c", _PRINT_TEXTS]
        texts.add(subprocess.run(command, env=environment, capture_output=True, text=True, check=True).stdout)
    assert len(texts) == 1
    assert texts.pop().count("\n") == 9


@settings(max_examples=150, deadline=None, suppress_health_check=list(HealthCheck))
@given(st.lists(values(), max_size=3))
def test_every_body_is_json_that_duckdb_takes_as_a_variant(con: duckdb.DuckDBPyConnection, items: list[Any]) -> None:
    for encoded in map(encode, items):
        json.dumps(json.loads(encoded.body, parse_int=str), allow_nan=False)
        encoded.body.encode()
        con.execute("INSERT INTO results SELECT CAST(?::JSON AS VARIANT)", [encoded.body])


def _nested(depth: int) -> list[Any]:
    value: list[Any] = []
    for _ in range(depth):
        value = [value]
    return value


AWKWARD = [
    float("nan"), float("inf"), "\ud800", {"\udfff": "\ud800"}, "\0", 10**5000, -(10**4299), 2**128, _nested(99),
    {(1,): {(2,): {(3,): "deep pairs"}}, "a": 1}, {"": 1, "a": 1, "A": 2}, "\U0001f600", 5e-324, -0.0, None,
]  # fmt: skip


@pytest.mark.parametrize("value", AWKWARD, ids=map(str, range(len(AWKWARD))))
def test_awkward_values_do_not_stop_the_cast(con: duckdb.DuckDBPyConnection, value: Any) -> None:
    con.execute("INSERT INTO results SELECT CAST(?::JSON AS VARIANT)", [encode(value).body])


def test_a_field_is_read_by_its_name_in_sql(con: duckdb.DuckDBPyConnection) -> None:
    body = encode({"amount": Decimal("12.50"), "took": timedelta(hours=1), "share": float("inf")}).body
    query = (
        "SELECT v.amount::DECIMAL(9, 2), v.took::INTERVAL, v.share::DOUBLE FROM (SELECT CAST(?::JSON AS VARIANT) AS v)"
    )
    assert con.execute(query, [body]).fetchone() == (Decimal("12.50"), timedelta(hours=1), float("inf"))
