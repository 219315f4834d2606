"""`perdure kv`, as a user types it: what workflows left there is seen, and mended by hand."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from perdure import Runtime
from perdure.cli.main import app

MODULE = """
from perdure.strict import on_kv_change, workflow

@workflow(id="nothing")
async def nothing() -> None:
    pass

@on_kv_change(key_pattern="watched:*")
def seen(change) -> str:
    return change.key
"""


def perdure(*arguments: str) -> Any:
    return CliRunner().invoke(app, ["kv", *arguments])


@pytest.fixture(autouse=True)
def ledger(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Values of an application in l.duckdb."""
    monkeypatch.chdir(tmp_path)
    Path("workflows.py").write_text(MODULE, encoding="utf-8")
    with Runtime("l.duckdb") as runtime:
        for key in ("invite:1", "invite:2", "note"):
            runtime.services.kv.put(key, {"of": key, "sizes": (1, 2)})
        runtime.services.kv.namespace("prices").put("tea", 3, ttl="1h")
        runtime.services.kv.put("gone", 1, ttl="0s")


def test_it_lists_values_by_prefix_and_namespace() -> None:
    listed = json.loads(perdure("list", "l.duckdb", "invite:", "--json").stdout)
    assert [(each["key"], each["value"]) for each in listed] == [
        (key, {"of": key, "sizes": [1, 2]}) for key in ("invite:1", "invite:2")
    ]
    shown = perdure("list", "l.duckdb", "-n", "prices").stdout.splitlines()
    assert shown[0].split() == ["key", "value", "written", "expires"]
    assert shown[1].split()[:2] == ["tea", "3"]


def test_a_long_list_is_paged_and_says_how_to_go_on() -> None:
    first = perdure("list", "l.duckdb", "--limit", "2")
    assert first.stderr == "There are more; the next page: --after 'invite:2'\n"
    rest = json.loads(perdure("list", "l.duckdb", "--after", "invite:2", "--json").stdout)
    assert [each["key"] for each in rest] == ["note"]  # what has expired is not there


def test_an_empty_list_says_where_there_is_something() -> None:
    said = perdure("list", "l.duckdb", "-n", "price").stdout
    assert said == "No values in namespace 'price'; the ledger has values in default, prices.\n"


def test_it_gets_a_value_and_says_when_there_is_none() -> None:
    assert json.loads(perdure("get", "l.duckdb", "note").stdout) == {"of": "note", "sizes": [1, 2]}
    for key in ("nota", "gone"):
        missing = perdure("get", "l.duckdb", key)
        assert (missing.exit_code, missing.stdout) == (1, "")
        assert missing.stderr == f"The ledger keeps no value under {key!r} in namespace 'default'.\n"


def test_what_it_puts_and_deletes_is_so_afterwards_and_changes_start_what_reacts_to_them() -> None:
    put = perdure("put", "l.duckdb", "watched:1", '{"status": "open"}', "--ttl", "1h")
    assert (put.exit_code, put.stdout) == (0, "watched:1 is written.\n")
    kept = json.loads(perdure("get", "l.duckdb", "watched:1", "--json").stdout)
    assert kept["value"] == {"status": "open"}
    assert kept["expires_at"] is not None
    deleted = perdure("delete", "l.duckdb", "watched:1")
    assert (deleted.exit_code, deleted.stdout) == (0, "watched:1 is deleted.\n")
    assert perdure("get", "l.duckdb", "watched:1").exit_code == 1
    again = perdure("delete", "l.duckdb", "watched:1")
    assert again.exit_code == 1
    with Runtime("l.duckdb") as runtime:
        assert [run.workflow for run in runtime.runs()] == ["seen", "seen"]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["put", "l.duckdb", "k", "open"], "the value is no JSON"),
        (["put", "l.duckdb", "k", "1", "--ttl", "soon"], "--ttl"),
        (["get", "m.duckdb", "k"], "there is no ledger 'm.duckdb'"),
        (["list", "l.duckdb", "-n", ""], "an empty namespace names nothing"),
    ],
)
def test_mistakes_are_refused_with_the_fix(arguments: list[str], said: str) -> None:
    refused = perdure(*arguments)
    assert (refused.exit_code, refused.stdout) == (2, "")
    assert said in refused.stderr


def test_a_kv_that_is_kept_elsewhere_is_not_changed_here() -> None:
    Path("workflows.py").write_text(MODULE + 'from perdure import RedisKv\nservices = {"kv": RedisKv("redis://h")}\n')
    refused = perdure("put", "l.duckdb", "k", "1")
    assert refused.exit_code == 2
    assert "kv is kept by RedisKv('redis://h')" in refused.stderr
