"""Evidence that is kept elsewhere shows what the file alone can't: histories rewritten whole, runs taken out."""

from __future__ import annotations

import io
import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from forger import change, cheaper, entries_of, rechained, shop, waiter, write_row, write_run
from typer.testing import CliRunner

from perdure import Runtime
from perdure.cli.main import app
from perdure.cli.verify import source_digest
from perdure.errors import LedgerCorrupt, LedgerTooNew
from perdure.storage import entries as kinds
from perdure.storage.entries import Entry
from perdure.storage.evidence import Evidence, read_evidence
from perdure.storage.fold import fold_all
from perdure.storage.verify import Fault, verify


@pytest.fixture
def evidence(path: Path) -> Evidence:
    shutil.copy(path, path.parent / "before.duckdb")
    taken = Evidence("0.1.0", "2030-01-01T00:00:00+00:00")
    assert verify(path, export=taken).ok
    return taken


def written(evidence: Evidence) -> str:
    file = io.StringIO()
    evidence.write(file)
    return file.getvalue()


def against(path: Path, evidence: Evidence) -> list[tuple[str, int | None]]:
    return [(fault.run_id, fault.position) for fault in verify(path, against=evidence).faults]


def perdure(*arguments: object) -> Any:
    return CliRunner().invoke(app, ["verify", *map(str, arguments)])


# ── what it finds ────────────────────────────────────────────────────────────────────────────────


def test_an_unchanged_ledger_is_as_its_evidence_says(path: Path, evidence: Evidence) -> None:
    assert against(path, read_evidence(written(evidence), "e.json")) == []


async def test_runs_may_have_grown_and_new_ones_come(path: Path, evidence: Evidence) -> None:
    async with Runtime(path, workflows=[shop, waiter], verify="always") as runtime:
        await runtime.send_event("paid", {"order": "o1"})
        assert await runtime.handle("w").wait() == "completed"
        await (await runtime.start("shop", 5)).result()
    assert against(path, evidence) == []


def test_a_history_rewritten_whole_is_found(path: Path, evidence: Evidence) -> None:
    entries = entries_of(path, "b")
    write_run(path, rechained(entries, cheaper), with_row=True)
    assert verify(path, source_digest=source_digest).ok, "the file alone does not show it"
    assert against(path, evidence) == [("b", len(entries) - 1)]


async def test_a_history_rewritten_whole_is_found_in_a_run_that_has_grown_since(path: Path, evidence: Evidence) -> None:
    length = len(entries_of(path, "w"))
    async with Runtime(path, workflows=[shop, waiter]) as runtime:
        await runtime.send_event("paid", {"order": "o1"})
        await runtime.handle("w").wait()
    grown = entries_of(path, "w")
    assert len(grown) > length
    write_run(path, rechained(grown, richer), with_row=True)
    assert verify(path).ok
    assert against(path, evidence) == [("w", length - 1)]


def richer(entry: Entry) -> Entry:
    return entry._replace(body='"o2"') if entry.position == 0 else entry


def test_a_run_cut_off_without_a_trace_is_found_where_it_ends(path: Path, evidence: Evidence) -> None:
    entries = entries_of(path, "b")
    cut = next(entry.position for entry in entries if entry.kind == kinds.RETRYING) + 1
    change(path, f"DELETE FROM _ledger.entries WHERE run = 2 AND position >= {cut}")
    write_row(path, fold_all(None, entries[:cut]))
    assert verify(path).ok, "the file alone does not show it"
    assert against(path, evidence) == [("b", cut)]


def test_a_run_that_was_taken_out_is_found(path: Path, evidence: Evidence) -> None:
    change(path, "DELETE FROM _ledger.entries WHERE run = 2", "DELETE FROM _ledger.runs WHERE run = 2")
    assert verify(path).ok
    assert against(path, evidence) == [("b", None)]


def test_a_run_put_in_place_of_another_is_found(path: Path, evidence: Evidence) -> None:
    change(path, *(f"DELETE FROM _ledger.{table} WHERE run IN (2, 3)" for table in ("entries", "runs")))
    entries = rechained(entries_of(path.parent / "before.duckdb", "c"), lambda entry: entry._replace(run=2))
    change(
        path,
        f"ATTACH '{path.parent / 'before.duckdb'}' AS before",
        "INSERT INTO _ledger.entries SELECT * REPLACE (2 AS run) FROM before._ledger.entries WHERE run = 3",
    )
    write_run(path, entries, with_row=True)
    assert verify(path).ok, "the file alone does not show it"
    faults = verify(path, against=evidence).faults
    assert {(fault.run_id, fault.position) for fault in faults} == {("b", None), ("c", 0)}
    assert "was 3 in the evidence" in "\n".join(map(str, faults))


def test_recorded_code_that_was_changed_or_taken_out_is_found(path: Path, evidence: Evidence) -> None:
    change(path, "UPDATE _ledger.definitions SET source = source || ' ' WHERE workflow = 'shop'")
    assert verify(path, source_digest=source_digest).ok, "layout is not in a definition's own digest"
    (fault,) = verify(path, against=evidence).faults
    assert "shop v1" in str(fault)
    change(path, "DELETE FROM _ledger.definitions WHERE workflow = 'shop'")
    (fault,) = verify(path, against=evidence).faults
    assert "is gone" in str(fault)


def test_a_fault_of_no_run_names_none() -> None:
    assert str(Fault(0, "", None, "definition d is gone")) == "definition d is gone"


# ── the document ─────────────────────────────────────────────────────────────────────────────────


def test_the_root_covers_every_run_and_definition(evidence: Evidence) -> None:
    roots = {evidence.root}
    facts = json.loads(written(evidence))
    for change_one in (
        lambda: facts["runs"][1].update(length=1),
        lambda: facts["runs"][1].update(digest="00"),
        lambda: facts["runs"].pop(0),
        lambda: facts["definitions"].popitem(),
    ):
        change_one()
        with pytest.raises(LedgerCorrupt, match="changed since it was exported") as caught:
            read_evidence(json.dumps(facts), "e.json")
        roots.add(caught.value.why)
    assert len(roots) == 5


def test_the_root_can_be_worked_out_from_the_page_on_it(evidence: Evidence) -> None:
    from hashlib import blake2b

    facts = json.loads(written(evidence))
    lines = [["definition", digest, row] for digest, row in sorted(facts["definitions"].items())]
    lines += [[each["run"], each["run_id"], each["length"], each["digest"]] for each in facts["runs"]]
    text = "".join(json.dumps(line, separators=(",", ":")) + "\n" for line in lines)
    assert blake2b(text.encode(), digest_size=32).hexdigest() == facts["root"]


@pytest.mark.parametrize(
    "text",
    ["", "[]", "{}", '{"perdure_evidence": 1}', '{"perdure_evidence": 1, "perdure": "x", "at": "", "runs": [1]}'],
)
def test_what_is_no_evidence_is_refused(text: str) -> None:
    with pytest.raises(LedgerCorrupt, match="no evidence") as caught:
        read_evidence(text, "e.json")
    assert caught.value.where == "e.json"


def test_evidence_of_a_newer_release_is_refused() -> None:
    with pytest.raises(LedgerTooNew, match="format 2"):
        read_evidence('{"perdure_evidence": 2}', "e.json")


# ── the command ──────────────────────────────────────────────────────────────────────────────────


def test_the_command_exports_evidence_and_compares_with_it(path: Path, tmp_path: Path) -> None:
    kept = tmp_path / "kept.json"
    done = perdure(path, "--export", kept)
    assert done.exit_code == 0, done.output
    root = json.loads(kept.read_text())["root"]
    assert root in done.output
    done = perdure(path, "--against", kept)
    assert done.exit_code == 0
    assert "Nothing of" in done.output
    assert root in done.output
    write_run(path, rechained(entries_of(path, "b"), cheaper), with_row=True)
    assert perdure(path).exit_code == 0
    done = perdure(path, "--against", kept)
    assert done.exit_code == 1
    assert "run b, entry" in done.output
    found = json.loads(perdure(path, "--against", kept, "--json").stdout)
    assert (found["ok"], found["against"]["root"]) == (False, root)
    assert [fault["run_id"] for fault in found["faults"]] == ["b"]


def test_no_evidence_is_written_of_a_ledger_that_is_not_sound(path: Path, tmp_path: Path) -> None:
    kept = tmp_path / "kept.json"
    change(path, "UPDATE _ledger.entries SET name = 'x' WHERE run = 2 AND position = 2")
    done = perdure(path, "--export", kept)
    assert done.exit_code == 1
    assert "run b, entry 2" in done.output
    assert "was not written" in done.output
    assert not kept.exists()
    assert "exported" not in json.loads(perdure(path, "--export", kept, "--json").stdout)


def test_what_can_not_be_verified_is_exit_code_2(path: Path, tmp_path: Path) -> None:
    broken = tmp_path / "broken.json"
    broken.write_text("{")
    missing = tmp_path / "missing.json"
    for arguments in ((tmp_path / "none.duckdb",), (path, "--against", broken), (path, "--against", missing),
                      (path, "--export", tmp_path / "no-folder" / "e.json"), (broken,)):  # fmt: skip
        done = perdure(*arguments)
        assert done.exit_code == 2, done.output
        assert "fix" in done.stderr


def test_recorded_code_is_checked_by_the_command(path: Path) -> None:
    change(path, "UPDATE _ledger.definitions SET source = replace(source, 'input + 1', 'input + 2')")
    done = perdure(path)
    assert done.exit_code == 1
    assert "source was altered" in done.output


@pytest.mark.parametrize("source", ['[{"module": "m", "qualname": "f", "file": "f", "line": 1, "source": "def f(:"}]'])
def test_code_that_this_python_can_not_parse_is_no_fault(source: str) -> None:
    assert source_digest(source) is None
