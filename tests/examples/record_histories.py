"""Records anew the histories that go with the examples: `python tests/examples/record_histories.py [NAME]...`.

Plays each example once and keeps, of each workflow and way of ending, its longest run. Needed only when a body was
changed so that old runs no longer replay; the difference belongs into the commit.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path
from tempfile import TemporaryDirectory

from perdure.replay.history_file import SUFFIX, History, history_of, write_history
from perdure.storage.chain import GENESIS, seal
from perdure.storage.duckdb_ledger import DuckDBLedger
from perdure.storage.entries import Entry
from perdure.storage.fold import fold_all
from perdure.storage.ledger import RunFilter

PATTERNS = Path(__file__).resolve().parents[2] / "examples" / "patterns"


def record(name: str) -> list[Path]:
    """Play an example in a folder of its own, and write its histories."""
    folder = PATTERNS / name
    kept = folder / "tests" / "histories"
    with TemporaryDirectory() as temporary:
        place = Path(temporary).resolve()
        for source in folder.glob("*.py"):
            shutil.copy(source, place)
        subprocess.run([sys.executable, "workflows.py"], cwd=place, check=True, timeout=120)
        (ledger,) = place.glob("*.duckdb")
        histories = {called: _without_place(history, place) for called, history in _histories(ledger).items()}
    shutil.rmtree(kept, ignore_errors=True)
    kept.mkdir(parents=True)
    for called, history in histories.items():
        with (kept / f"{called}{SUFFIX}").open("w", encoding="utf-8", newline="\n") as file:
            write_history(history, file)
    return sorted(kept.iterdir())


def _histories(path: Path) -> dict[str, History]:
    ledger = DuckDBLedger(path, read_only=True)
    try:
        rows = sorted(
            ledger.runs(RunFilter(limit=None)), key=lambda row: row.length
        )  # the last of a kind is what stays
        return {f"{row.workflow}-v{row.version}-{row.status}": history_of(ledger, row) for row in rows}
    finally:
        ledger.close()


def _without_place(history: History, place: Path) -> History:
    """Leave out where it was recorded: tracebacks and the definition's source have paths of this machine."""
    prefixes = [f"{folder}{os.sep}" for folder in (place, sys.prefix, sys.base_prefix)]

    def elsewhere(text: str) -> str:
        for prefix in prefixes:
            text = text.replace(prefix, "")
        return text

    sealed: list[Entry] = []
    previous = GENESIS
    for entry in history.entries:
        texts = {name: elsewhere(text) for name in ("body", "detail") if (text := getattr(entry, name))}
        fresh, _ = seal(previous, entry._replace(**texts))
        sealed.append(fresh)
        previous = fresh.digest
    definition = history.definition
    if definition is not None:
        definition = definition._replace(source=elsewhere(definition.source))
    return History(fold_all(None, sealed), tuple(sealed), definition)


if __name__ == "__main__":
    for each in sys.argv[1:] or sorted(path.parent.name for path in PATTERNS.glob("*/workflows.py")):
        for written in record(each.replace("-", "_")):
            print(written.relative_to(PATTERNS))
