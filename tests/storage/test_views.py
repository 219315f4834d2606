"""What people see with SQL: documented columns, paths into values, everything acknowledged, and nothing writable."""

from __future__ import annotations

import json
import re
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from ledger_histories import DEFINITION, FAILURE, completed, created, step, verdict

from perdure.errors import InternalError, LedgerError, LedgerReadOnly
from perdure.storage import entries as kinds
from perdure.storage import views
from perdure.storage.cells import Cell
from perdure.storage.duckdb_ledger import DuckDBLedger
from perdure.storage.entries import Entry
from perdure.storage.ledger import Ledger
from perdure.storage.memory_ledger import MemoryLedger
from perdure.storage.tables import DEPTH_MAX


@pytest.fixture(params=["memory", "duckdb"])
def ledger(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Ledger]:
    made: Ledger = MemoryLedger() if request.param == "memory" else DuckDBLedger(tmp_path / "a.duckdb", gather_s=3600)
    yield made
    made.close()


@pytest.fixture(scope="module")
def stocked(tmp_path_factory: pytest.TempPathFactory) -> Iterator[DuckDBLedger]:
    """One ledger with one run, for the tests that change nothing."""
    made = DuckDBLedger(tmp_path_factory.mktemp("views") / "a.duckdb", gather_s=3600)
    made.append([created(made.next_run(), 1000)])
    yield made
    made.close()


def note(run: int, position: int, kind: str, **fields: object) -> Entry:
    return Entry(run, position, kind, 3000, **fields)  # type: ignore[arg-type]


def test_a_path_into_a_result_is_a_column(ledger: Ledger) -> None:
    for amount in (12, 30, 99):
        run = ledger.next_run()
        ledger.append([created(run, 1000), step(run, 1)])
        ledger.append([completed(run, 2, 1, 2000, json.dumps({"amount": amount, "card": {"last": ["4", "2"]}}))])
    found = ledger.sql("SELECT result.amount FROM steps WHERE name = 'charge' ORDER BY 1")
    assert found.columns == ("amount",)
    assert found.rows == ((12,), (30,), (99,))
    summed = ledger.sql("SELECT sum(result.amount::INT), any_value(result.card.last[1]::VARCHAR) FROM steps")
    assert summed.rows == ((141, "4"),)
    assert ledger.sql("SELECT run_id FROM steps WHERE result.amount::INT > ?", [30]).rows == (("r3",),)


def test_verdicts_say_what_was_found_and_against_what(ledger: Ledger) -> None:
    for ok in (True, False):
        run = ledger.next_run()
        ledger.append([created(run, 1000), note(run, 1, kinds.COMPLETED, body="1")])
        ledger.append([note(run, 2, kinds.VERIFIED, detail=verdict(ok))])
    columns = "run_id, ok, cause, message, report, diverged_at, definition, python, perdure, position"
    assert ledger.sql(f"SELECT {columns} FROM verdicts ORDER BY run").rows == (
        ("r1", True, None, None, None, None, "d2", "3.12", "0.1.0", 2),
        ("r2", False, "step renamed", "not the same", "not the\nsame", 1, "d2", "3.12", "0.1.0", 2),
    )
    assert ledger.sql("SELECT verdict FROM runs ORDER BY run").rows == ((True,), (False,))


def test_steps_say_how_each_went(ledger: Ledger) -> None:
    run = ledger.next_run()
    commands = {"done": 1, "failed": 2, "dropped": 3, "retrying": 4, "running": 5, "again": 6}
    ledger.append(
        [
            created(run, 1000),
            *(step(run, position, command=f"0/{name}", name=name) for name, position in commands.items()),
        ]
    )
    ledger.append(
        [
            note(run, 7, kinds.STEP_COMPLETED, command="0/done", attempt=1, body="1"),
            note(run, 8, kinds.STEP_FAILED, command="0/failed", attempt=3, body=FAILURE),
            note(run, 9, kinds.DROPPED, command="0/dropped"),
            note(run, 10, kinds.STEP_RETRYING, command="0/retrying", attempt=1, body=FAILURE, due=9000),
            note(run, 11, kinds.STEP_RETRYING, command="0/again", attempt=1, body=FAILURE, due=9000),
            note(run, 12, kinds.STEP_STARTED, command="0/again", attempt=2),
        ]
    )
    query = "SELECT name, status, attempts, completed_at IS NULL, error.message FROM steps ORDER BY position"
    assert ledger.sql(query).rows == (
        ("done", "completed", 1, False, None),
        ("failed", "failed", 3, False, "no\nmore"),
        ("dropped", "dropped", 1, False, None),
        ("retrying", "retrying", 2, True, None),
        ("running", "running", 1, True, None),
        ("again", "running", 2, True, None),
    )
    ledger.append([note(run, 13, kinds.RETRYING, body=FAILURE, due=5000)])
    ledger.append([note(run, 14, kinds.RESTARTED, attempt=2), step(run, 15, 3000, command="0/failed", name="failed")])
    ledger.append([note(run, 16, kinds.STEP_COMPLETED, command="0/failed", attempt=1, body="2")])
    found = ledger.sql("SELECT name, status, result FROM steps WHERE name IN ('failed', 'running') ORDER BY position")
    assert found.rows == (("failed", "failed", None), ("running", "abandoned", None), ("failed", "completed", 2))


def test_events_show_what_runs_received(ledger: Ledger) -> None:
    run = ledger.next_run()
    wait = note(run, 1, kinds.WAIT_EVENT, command="0/0", name="paid", detail='{"type":"payment","match":{}}')
    ledger.append([created(run, 1000), wait])
    ledger.append([note(run, 2, kinds.EVENT_RECEIVED, command="0/0", body='{"cents":5}')])
    assert ledger.sql("SELECT run_id, name, type, payload.cents FROM events").rows == (("r1", "paid", "payment", 5),)


def test_runs_and_definitions_and_times(ledger: Ledger) -> None:
    run = ledger.next_run()
    ledger.append([created(run, 1_700_000_000_000_000, tags={"team": "a"}, due=1_700_000_060_000_000)], [DEFINITION])
    query = "SELECT run_id, status, tags['team'], created_at::VARCHAR, waiting_until > created_at FROM runs"
    assert ledger.sql(query).rows == (("r1", "queued", "a", "2023-11-14 22:13:20", True),)
    assert ledger.sql("SELECT workflow, version FROM definitions").rows == (("shop", "1"),)


def test_a_body_that_no_column_can_show_is_kept_exactly(ledger: Ledger) -> None:
    bodies = ["[" * (DEPTH_MAX + 1) + "]" * (DEPTH_MAX + 1), "[" * 20_000 + "]" * 20_000, '"\\ud800"', '{"a":1,"a":2}']
    bodies += [str(10**50), '{"' + "[" * 500 + '":1}', '"\\u0000"']
    run = ledger.next_run()
    ledger.append([created(run, 1000)])
    for position, body in enumerate(bodies, 1):
        ledger.append([step(run, position, 2000, body=body)])
    shown = ledger.sql("SELECT value IS NOT NULL FROM entries WHERE kind = 'step' ORDER BY position").rows
    assert [each for (each,) in shown] == [False, False, False, True, True, True, True]
    assert [entry.body for entry in ledger.entries(run, 1)] == bodies


def test_a_text_that_is_not_unicode_is_refused_before_it_counts(ledger: Ledger) -> None:
    run = ledger.next_run()
    with pytest.raises(InternalError, match="not Unicode"):
        ledger.append([created(run, 1000), step(run, 1, name="half \ud83d")])
    assert ledger.run_numbered(run) is None
    ledger.append([created(run, 1000), step(run, 1, name="whole \U0001f600\\ud83d")])
    assert ledger.sql("SELECT name FROM steps").rows == (("whole \U0001f600\\ud83d",),)


@pytest.mark.parametrize("view", sorted(views.VIEWS))
def test_every_column_of_a_view_is_documented_and_every_documented_one_is_there(
    stocked: DuckDBLedger, view: str
) -> None:
    documented = re.split(r"\n(?=\S)", views.__doc__ or "")
    (section,) = (section for section in documented if section.startswith(f"{view} "))
    text = re.sub(r"\([^)]*\)", "", section.partition("\n")[2])
    names = {name.strip() for name in text.replace("\n", " ").split(",")}
    assert set(stocked.sql(f"SELECT * FROM {view}").columns) == names


# ── only reading ─────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    "query",
    [
        "DELETE FROM _ledger.entries",
        "INSERT INTO _ledger.meta VALUES ('a', 'b')",
        "UPDATE _ledger.runs SET status = 'completed'",
        "DROP VIEW runs",
        "CREATE TABLE a (b INTEGER)",
        "EXPLAIN ANALYZE DELETE FROM _ledger.entries",
        "SELECT 1; DELETE FROM _ledger.entries",
        "SET threads = 4",
        "PRAGMA database_list",
        "COPY runs TO '{folder}/copy.csv'",
        "ATTACH '{folder}/other.duckdb'",
        "SELECT * FROM read_text('{folder}/a.duckdb')",
        "FROM '{folder}/secret.csv'",
        "SELECT * FROM glob('{folder}/*')",
        "INSTALL httpfs",
        "CALL force_checkpoint()",
        "",
    ],
)
def test_sql_changes_and_reads_nothing_but_the_ledger(stocked: DuckDBLedger, query: str) -> None:
    folder = stocked.path.parent
    (folder / "secret.csv").write_text("a\n1\n")
    before = sorted(folder.iterdir())
    with pytest.raises(LedgerError) as caught:
        stocked.sql(query.format(folder=folder))
    assert caught.value.fix
    assert stocked.sql("SELECT count(*) FROM entries").rows == ((1,),)
    assert stocked.sql("SELECT status FROM runs").rows == (("running",),)
    assert sorted(folder.iterdir()) == before


READING = [
    "SELECT 1", "WITH a AS (FROM runs) FROM a", "DESCRIBE steps", "SHOW TABLES", "EXPLAIN FROM runs", "FROM runs",
    "SUMMARIZE runs", "VALUES (1)", "-- a comment\nSELECT 1;",
]  # fmt: skip


@pytest.mark.parametrize("query", READING)
def test_all_ways_to_read_are_allowed(stocked: DuckDBLedger, query: str) -> None:
    assert stocked.sql(query).columns


def test_a_mistake_in_a_query_is_told_with_its_place(stocked: DuckDBLedger) -> None:
    with pytest.raises(LedgerError, match="nam") as caught:
        stocked.sql("SELECT nam FROM steps")
    assert not isinstance(caught.value, LedgerReadOnly)
    assert "LINE 1: SELECT nam FROM steps" in str(caught.value)
    assert "DESCRIBE steps" in caught.value.fix
    variables = [1, 2, 3]
    with pytest.raises(LedgerError, match="variables"):
        stocked.sql("FROM variables")
    assert variables


def test_sql_may_be_asked_from_other_threads_while_batches_come_in(tmp_path: Path) -> None:
    ledger = DuckDBLedger(tmp_path / "a.duckdb", gather_s=0.001)
    stop, counts, errors = threading.Event(), [0], []

    def ask() -> None:
        try:
            while not stop.is_set():
                counts.append(ledger.sql("SELECT count(*) FROM entries").rows[0][0])
        except LedgerError as error:
            errors.append(error)

    threads = [threading.Thread(target=ask) for _ in range(2)]
    for thread in threads:
        thread.start()
    for number in range(150):
        run = ledger.next_run()
        ledger.append([created(run, 1000), step(run, 1)])
        if number % 50 == 0:
            assert ledger.sql("SELECT count(*) FROM entries").rows == ((2 * run,),)
    stop.set()
    for thread in threads:
        thread.join()
    ledger.close()
    assert errors == []
    assert len(counts) > 2
    assert all(count % 2 == 0 for count in counts), "half a batch was seen"


@pytest.mark.parametrize("view", ["queued", "dead_letters"])
@pytest.mark.parametrize(
    "damaged",
    [
        b"\x00\xff",
        b"[1",
        b'{"deliveries": "x", "sent_at": "x"}',
        b'{"deliveries": 1e99, "sent_at": 9223372036854775807}',
    ],
)
def test_a_message_whose_bytes_are_damaged_leaves_the_view_of_its_queue_readable(
    ledger: Ledger, view: str, damaged: bytes
) -> None:
    space = {"queued": "queue/mail", "dead_letters": "queue.dead/mail"}[view]
    facts = b'{"deliveries": 2, "sent_at": 1000000, "reason": "no address"}'
    ledger.append([], (), [Cell(space, "a", 1, 1, "1", data=damaged), Cell(space, "b", 1, 1, "2", data=facts)])
    assert ledger.sql(f"SELECT id, deliveries FROM {view} ORDER BY id").rows == (("a", None), ("b", 2))
    assert ledger.sql(f"SELECT sent_at FROM {view} WHERE id = 'a'").rows == ((None,),)
    assert len(ledger.sql(f"SELECT * FROM {view}").rows) == 2
