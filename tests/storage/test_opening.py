"""Who may open a ledger, what may be opened, and what is said when it may not."""

from __future__ import annotations

import os
import resource
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import duckdb
import pytest
from ledger_histories import DEFINITION, completed, created, step

from perdure.errors import (
    InternalError,
    LedgerCorrupt,
    LedgerError,
    LedgerFull,
    LedgerLocked,
    LedgerReadOnly,
    LedgerTooNew,
)
from perdure.storage import lock
from perdure.storage.database import Connection
from perdure.storage.duckdb_ledger import DuckDBLedger
from perdure.storage.entries import Entry
from perdure.storage.ledger import RunFilter
from perdure.storage.lock import OwnerLock, lock_path
from perdure.storage.migrations import STEPS, migrate
from perdure.storage.tables import TABLES
from perdure.storage.verify import verify


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "orders.duckdb"


def opened(path: Path, **options: bool) -> DuckDBLedger:
    return DuckDBLedger(path, gather_s=3600, segment_bytes=64 << 10, **options)


def with_one_run(path: Path) -> None:
    ledger = opened(path)
    run = ledger.next_run()
    ledger.append([created(run, 1000), step(run, 1)], [DEFINITION])
    ledger.close()


def python(code: str, *arguments: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", code, *map(str, arguments)], capture_output=True, text=True, check=False
    )


# ── owners ───────────────────────────────────────────────────────────────────────────────────────

TRY = """
import sys
from perdure.errors import LedgerLocked
from perdure.storage.duckdb_ledger import DuckDBLedger
try:
    DuckDBLedger(sys.argv[1], read_only=len(sys.argv) > 2)
    print("opened")
except LedgerLocked as error:
    print(error.owner_pid, error.fix)
"""


LEAVE = """
import os, sys
sys.path.insert(0, sys.argv[2])
from ledger_histories import created
from perdure.storage.duckdb_ledger import DuckDBLedger
ledger = DuckDBLedger(sys.argv[1], gather_s=3600)
ledger.append([created(ledger.next_run(), 1000)])
os.kill(os.getpid(), 9)
"""


def test_a_second_process_is_told_who_owns_the_ledger_and_what_to_do(path: Path) -> None:
    ledger = opened(path)
    for arguments in ((path,), (path, "read_only")):
        said = python(TRY, *arguments)
        assert said.stdout.startswith(f"{os.getpid()} go through that process"), said.stderr
    ledger.close()
    assert python(TRY, path).stdout == "opened\n"


def test_a_second_opening_in_one_process_is_refused(path: Path) -> None:
    ledger = opened(path)
    for read_only in (False, True):
        with pytest.raises(LedgerLocked, match="this process has it open") as caught:
            opened(path, read_only=read_only)
        assert caught.value.owner_pid == os.getpid()
    assert ledger.next_run() == 1
    ledger.close()


def test_the_lock_of_a_killed_owner_locks_nothing(path: Path) -> None:
    python(LEAVE, path, Path(__file__).parent)
    assert lock_path(path).exists()
    opened(path).close()
    assert not lock_path(path).exists()


def test_a_lock_file_that_its_owner_deletes_meanwhile_is_not_taken_for_a_lock(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    owners = [OwnerLock(path)]

    def released_first(fd: int, shared: bool, real: Callable[[int, bool], bool] = lock._try_lock) -> bool:
        while owners:
            owners.pop().release()  # after the second one has opened the file, and before it locks it
        return real(fd, shared)

    monkeypatch.setattr(lock, "_try_lock", released_first)
    second = OwnerLock(path)
    with pytest.raises(LedgerLocked):
        OwnerLock(path)
    second.release()


def test_run_numbers_are_never_given_out_twice_even_if_nothing_was_appended_under_them(path: Path) -> None:
    given: list[int] = []
    for ending in ("close", "kill", "close", "kill"):
        code = NUMBERS if ending == "kill" else NUMBERS.replace("os.kill(os.getpid(), 9)", "ledger.close()")
        said = python(code, path, Path(__file__).parent)
        numbers = [int(number) for number in said.stdout.split()]
        assert len(numbers) == 3, said.stderr
        given += numbers
    assert given == sorted(set(given))


NUMBERS = """
import os, sys
sys.path.insert(0, sys.argv[2])
from perdure.storage.duckdb_ledger import DuckDBLedger
ledger = DuckDBLedger(sys.argv[1], gather_s=3600)
print(ledger.next_run(), flush=True)
ledger.sql("SELECT 1")
print(ledger.next_run(), ledger.next_run(), flush=True)
os.kill(os.getpid(), 9)
"""


def test_a_lock_file_made_anew_excludes_whoever_holds_the_old_one(path: Path) -> None:
    first = OwnerLock(path)
    stale = os.open(lock_path(path), os.O_RDWR)
    first.release()
    second = OwnerLock(path)
    assert not os.path.samestat(os.fstat(stale), lock_path(path).stat())
    with pytest.raises(LedgerLocked):
        OwnerLock(path)
    os.close(stale)
    second.release()


def test_a_reader_keeps_owners_away_but_not_other_readers(path: Path) -> None:
    with_one_run(path)
    reader = opened(path, read_only=True)
    with pytest.raises(LedgerLocked, match="being read"):
        opened(path)
    assert python(TRY, path, "read_only").stdout == "opened\n"
    reader.close()
    opened(path).close()


def test_a_ledger_that_was_closed_is_one_file_and_closing_twice_is_allowed(path: Path) -> None:
    ledger = opened(path)
    ledger.append([created(ledger.next_run(), 1000)])
    assert len(list(path.parent.iterdir())) >= 3
    ledger.close()
    ledger.close()
    assert list(path.parent.iterdir()) == [path]
    with pytest.raises(InternalError, match="closed"):
        ledger.append([created(9, 1000)])


@pytest.mark.parametrize(
    "name", ["ledger", "_ledger", "main", "temp", "memory", "system", "kept", "it's", "a b;--", "ä"]
)
def test_any_file_name_will_do(tmp_path: Path, name: str) -> None:
    path = tmp_path / f"{name}.duckdb"
    with_one_run(path)
    ledger = opened(path, read_only=True)
    assert ledger.sql("SELECT run_id FROM runs").rows == (("r1",),)
    ledger.close()


# ── readers ──────────────────────────────────────────────────────────────────────────────────────


GO_ON = """
import os, sys
sys.path.insert(0, sys.argv[2])
from ledger_histories import completed, created
from perdure.storage.duckdb_ledger import DuckDBLedger
ledger = DuckDBLedger(sys.argv[1], gather_s=3600)
ledger.append([completed(1, 2, 1)])
ledger.append([created(2, 2000)])
os.kill(os.getpid(), 9)
"""


def contents(folder: Path) -> dict[Path, bytes]:
    return {path: path.read_bytes() if path.is_file() else b"" for path in sorted(folder.rglob("*"))}


def test_a_reader_sees_the_journal_and_changes_no_file(path: Path, tmp_path: Path) -> None:
    with_one_run(path)
    assert python(GO_ON, path, Path(__file__).parent).returncode == -9
    files = contents(tmp_path)
    for folder_mode in (0o755, 0o555):
        tmp_path.chmod(folder_mode)
        ledger = opened(path, read_only=True)
        assert [entry.kind for entry in ledger.entries(1)] == ["created", "step", "step_completed"]
        assert ledger.sql("SELECT status, result.amount FROM steps").rows == (("completed", 12),)
        assert ledger.count(RunFilter()) == {"running": 2}
        assert [row.run for row in ledger.interrupted()] == [1, 2]
        with pytest.raises(LedgerReadOnly, match="read_only=True"):
            ledger.append([created(3, 3000)])
        with pytest.raises(LedgerReadOnly, match="read_only=True"):
            ledger.next_run()
        ledger.close()
        assert verify(path).ok
        assert contents(tmp_path) == files
    tmp_path.chmod(0o755)


# ── files that are none ──────────────────────────────────────────────────────────────────────────


def spoil(path: Path, how: str) -> None:
    data = path.read_bytes()
    if how == "cut":
        path.write_bytes(data[: len(data) // 2])
    elif how == "text":
        path.write_bytes(b"once upon a time " * 1000)
    elif how == "header":
        path.write_bytes(bytes(100) + data[100:])
    elif how == "foreign":
        path.unlink()
        duckdb.connect(str(path)).execute("CREATE TABLE other (a INTEGER)").close()
    elif how == "folder":
        path.unlink()
        path.mkdir()


@pytest.mark.parametrize("read_only", [False, True])
@pytest.mark.parametrize("how", ["cut", "text", "header", "foreign", "folder"])
def test_what_is_no_ledger_is_refused_and_left_as_it_is(path: Path, how: str, read_only: bool) -> None:
    with_one_run(path)
    spoil(path, how)
    before = None if path.is_dir() else path.read_bytes()
    with pytest.raises(LedgerCorrupt) as caught:
        opened(path, read_only=read_only)
    assert str(path) in caught.value.where
    assert caught.value.fix
    assert before is None or path.read_bytes() == before
    assert list(path.parent.iterdir()) == [path]


def test_altered_bytes_in_the_file_are_never_answers(path: Path) -> None:
    """Flip a byte in every block: the reader gets the truth, or LedgerError, or `verify` finds it."""
    ledger = opened(path)
    for number in range(300):
        run = ledger.next_run()
        ledger.append([created(run, 1000 + number), step(run, 1, 2000), completed(run, 2, 1, 2000, f'"{number:05}"')])
    ledger.close()
    data = path.read_bytes()
    caught = 0
    for offset in range(4096 + 600, len(data), len(data) // 25):
        altered = bytearray(data)
        altered[offset] ^= 0xFF
        path.write_bytes(altered)
        try:
            verdict = verify(path)
        except LedgerError:
            caught += 1
        else:
            # A byte that nothing uses: then everything is as it was.
            assert verdict.ok
            assert (verdict.runs, verdict.entries) == (300, 900)
    assert caught > 0


def test_an_empty_file_is_taken_for_a_new_ledger(path: Path) -> None:
    path.touch()
    with_one_run(path)
    assert verify(path).runs == 1


def test_a_missing_folder_and_a_missing_file_to_read_are_named(tmp_path: Path, path: Path) -> None:
    with pytest.raises(LedgerError, match="folder does not exist"):
        opened(tmp_path / "none" / "a.duckdb")
    with pytest.raises(LedgerError, match="no ledger to read"):
        opened(path, read_only=True)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_folder_that_can_not_be_written_is_read_only(path: Path) -> None:
    with_one_run(path)
    path.parent.chmod(0o555)
    with pytest.raises(LedgerReadOnly):
        opened(path)
    path.parent.chmod(0o755)


# ── lost and foreign journals ────────────────────────────────────────────────────────────────────


def test_a_ledger_that_was_not_closed_is_not_opened_without_its_journal(path: Path) -> None:
    python(LEAVE, path, Path(__file__).parent)
    journal = path.with_name("orders.duckdb.journal")
    journal.rename(path.parent / "away")
    for read_only in (False, True):
        with pytest.raises(LedgerCorrupt, match="journal is missing"):
            opened(path, read_only=read_only)
    (path.parent / "away").rename(journal)
    ledger = opened(path)
    assert ledger.run("r1") is not None
    ledger.close()


def test_a_new_file_beside_the_journal_of_a_lost_one_is_refused(path: Path) -> None:
    python(LEAVE, path, Path(__file__).parent)
    path.unlink()
    path.with_name("orders.duckdb.wal").unlink(missing_ok=True)
    with pytest.raises(LedgerCorrupt, match="another ledger") as caught:
        opened(path)
    assert "move" in caught.value.fix


# ── versions ─────────────────────────────────────────────────────────────────────────────────────


def set_version(path: Path, version: int) -> None:
    with duckdb.connect(str(path)) as connection:
        connection.execute("UPDATE _ledger.meta SET value = ? WHERE key = 'schema'", [str(version)])


def test_a_newer_ledger_is_refused_with_what_to_do(path: Path) -> None:
    with_one_run(path)
    set_version(path, len(STEPS) + 1)
    for read_only in (False, True):
        with pytest.raises(LedgerTooNew, match="schema version") as caught:
            opened(path, read_only=read_only)
        assert "upgrade" in caught.value.fix


def test_an_older_ledger_is_brought_up_to_date_once(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with_one_run(path)
    calls = []

    def add_notes(connection: Connection) -> None:
        calls.append("add notes")
        connection.execute("CREATE TABLE _ledger.notes AS SELECT run, 'old' AS note FROM _ledger.runs")

    newer = (*STEPS, add_notes)
    for module in ("migrations", "columns"):
        monkeypatch.setattr(f"perdure.storage.{module}.STEPS", newer)
    monkeypatch.setattr("perdure.storage.migrations.migrate.__defaults__", (newer,))
    monkeypatch.setattr("perdure.storage.migrations.check_version.__defaults__", (newer,))
    with pytest.raises(LedgerCorrupt, match="open it once for writing"):
        opened(path, read_only=True)
    for _ in range(2):
        ledger = opened(path)
        assert ledger.sql("FROM _ledger.notes").rows == ((1, "old"),)
        ledger.close()
    assert calls == ["add notes"]


def test_a_file_from_before_verdicts_gets_their_column_and_view(path: Path) -> None:
    with duckdb.connect(str(path)) as connection:
        migrate(connection, 0, path, STEPS[:1])
        connection.execute("CREATE VIEW runs AS SELECT run_id FROM _ledger.runs")
    with_one_run(path)
    ledger = opened(path)
    assert ledger.sql("SELECT run_id, verdict FROM runs").rows == (("r1", None),)
    assert ledger.sql("FROM verdicts").rows == ()
    ledger.close()
    assert verify(path).ok


def test_a_migration_that_fails_leaves_the_version_before_it() -> None:
    connection = duckdb.connect()

    def fails(connection: Connection) -> None:
        connection.execute("CREATE TABLE half_done (a INTEGER)")
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        migrate(connection, 0, "memory", (*STEPS, fails))
    assert connection.execute("SELECT value FROM _ledger.meta WHERE key = 'schema'").fetchall() == [(str(len(STEPS)),)]
    assert connection.execute("SELECT count(*) FROM duckdb_tables() WHERE table_name = 'half_done'").fetchone() == (0,)


def test_the_migrations_make_the_tables_that_the_code_expects() -> None:
    connection = duckdb.connect()
    migrate(connection, 0, "memory")
    for name, columns in TABLES.items():
        described = connection.execute(f"DESCRIBE _ledger.{name}").fetchall()
        assert {column: kind for column, kind, *_ in described} == columns


# ── a full disk ──────────────────────────────────────────────────────────────────────────────────


def test_a_full_disk_refuses_the_batch_keeps_what_was_acknowledged_and_goes_on_when_there_is_room(path: Path) -> None:
    ledger = opened(path)
    run = ledger.next_run()
    ledger.append([created(run, 1000)])
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (32 << 10, limits[1]))
    try:
        with pytest.raises(LedgerFull) as caught:
            fill(ledger, run)
        position = len(ledger.entries(run))
        assert caught.value.fix
        with pytest.raises(LedgerFull):
            ledger.append([padded(run, position)])
        assert len(ledger.entries(run)) == position
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    ledger.append([padded(run, position)])
    assert len(ledger.entries(run)) == position + 1
    ledger.close()
    assert verify(path).ok
    assert verify(path).entries == position + 1


def fill(ledger: DuckDBLedger, run: int) -> None:
    for position in range(1, 1000):
        ledger.append([padded(run, position)])


def padded(run: int, position: int) -> Entry:
    return step(run, position, 2000, body=f'"{"x" * 2000}"')
