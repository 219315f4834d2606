"""`perdure history`: runs as text files, to keep beside the code: export, show, check."""

from __future__ import annotations

import io
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated

import typer
from rich.text import Text

from perdure.cli.arguments import (
    AsJson,
    LedgerPath,
    Since,
    Tags,
    WorkflowId,
    Workflows,
    parse_since,
    parse_statuses,
    parse_tags,
)
from perdure.cli.command import Command, Group, examples
from perdure.cli.opening import need_run, need_workflows, reading
from perdure.cli.output import console
from perdure.cli.show import At, show_recorded
from perdure.declare.registry import Registry
from perdure.engine.clock import SystemClock
from perdure.errors import DefinitionError, PerdureError
from perdure.replay.check import Verdict
from perdure.replay.golden import check_history, history_files
from perdure.replay.history_file import SUFFIX, History, history_of, read_history, write_history
from perdure.replay.printing import show_report
from perdure.replay.redaction import Redaction
from perdure.replay.report import Report
from perdure.storage.ledger import Ledger, RunFilter

OneRun = Annotated[
    str | None, typer.Argument(metavar="[RUN]", help="The run's id; without it all selected runs.", show_default=False)
]
Out = Annotated[
    Path | None,
    typer.Option("--out", "-o", metavar="PATH", help="A file; for several runs a folder. Standard output by default."),
]
Redact = Annotated[
    list[str] | None,
    typer.Option("--redact", metavar="PATTERN", help="Replace these values, as charge_card.result.token; repeatable."),
]
RedactionKey = Annotated[
    str | None,
    typer.Option(
        "--redaction-key",
        metavar="TEXT",
        envvar="PERDURE_REDACTION_KEY",
        help="Makes stand-ins the same in every export; keep it secret. A fresh one by default.",
    ),
]
CheckedOn = Annotated[
    str | None,
    typer.Option("--workflows", "-w", metavar="MODULE", help="Export only what replays on these workflows."),
]
Status = Annotated[list[str] | None, typer.Option("--status", metavar="STATUS", help="Only these; repeatable.")]
Limit = Annotated[int, typer.Option("--limit", metavar="N", min=1, help="At most so many runs, the newest.")]
OneFile = Annotated[Path, typer.Argument(metavar="FILE", help="A history, such as order-1.history.jsonl.")]
Files = Annotated[list[Path], typer.Argument(metavar="PATH...", help="Histories, and folders of them.")]

PATTERNS = """\b
Patterns of --redact:
  input.card.number            a value of the run's input; output and error alike
  charge_card.result.token     of a step's result; arguments and error alike
  payment.payload.iban         of an event's payload
  *.arguments.**.password      * is any name or one level, ** any number of levels
  tags.customer                a tag; idempotency_key the key"""


def export_history(
    ledger: LedgerPath,
    run: OneRun = None,
    out: Out = None,
    redact: Redact = None,
    redaction_key: RedactionKey = None,
    workflows: CheckedOn = None,
    workflow: WorkflowId = None,
    status: Status = None,
    tag: Tags = None,
    since: Since = None,
    limit: Limit = 20,
) -> None:
    """Write a run's history as text, a line an entry.

    Kept as tests/histories/NAME.history.jsonl it is collected by pytest, and replayed on every change. A redacted
    value is replaced wherever it stands, so that the history still replays; --workflows makes sure of it.
    """
    wanted = RunFilter(
        workflow=workflow, statuses=parse_statuses(status), tags=parse_tags(tag), since=parse_since(since), limit=limit
    )
    if run is None and out is None:
        raise DefinitionError(
            "several runs need a folder to go to.", fix="name it: --out tests/histories, or name a RUN"
        )
    if run is not None and wanted.unpaged() != RunFilter(limit=None):
        raise DefinitionError(
            "RUN names one run, so there is nothing to select.", fix="leave out RUN, or the selection"
        )
    registry = _registry(workflows)
    key = redaction_key if redaction_key is not None else SystemClock().new_run_id()  # 80 bits that nobody knows
    redaction = Redaction(redact, key.encode()) if redact else None
    with reading(ledger) as opened:
        histories = [
            history if redaction is None else redaction.apply(history)
            for history in _selected(opened, run, wanted, ledger)
        ]
    if redaction is not None and redaction.unmatched:
        raise DefinitionError(
            f"--redact {redaction.unmatched[0]} selects nothing.",
            where=f"{len(histories)} runs of {ledger}",
            fix="look at what is recorded: perdure show LEDGER RUN",
        )
    kept = [history for history in histories if registry is None or _replays(history, registry, one=run is not None)]
    _write_all(kept, run, out)
    if len(kept) < len(histories):
        raise typer.Exit(1)


def show_history(file: OneFile, at: At = None, as_json: AsJson = False) -> None:
    """Show a history that was exported, as `perdure show` does a run.

    The file is proved whole first: a line that was cut off or edited is named.
    """
    history = read_history(file)
    show_recorded(history.ledger(), history.row, at, as_json)


def check_histories(paths: Files, workflows: Workflows = None) -> None:
    """Replay histories on today's code.

    As replay-check does with a ledger: nothing is performed, and where code and history part it says why.
    """
    registry = need_workflows(workflows)
    report = Report(", ".join(map(str, paths)))
    for file in history_files(paths):
        report.take(check_history(read_history(file), registry))
    show_report(report, console())
    raise typer.Exit(report.exit_code)


def _registry(workflows: str | None) -> Registry | None:
    return None if workflows is None else need_workflows(workflows)


def _selected(ledger: Ledger, run: str | None, wanted: RunFilter, path: Path) -> Iterator[History]:
    if run is not None:
        yield history_of(ledger, need_run(ledger, run, path))
        return
    rows = ledger.runs(wanted)
    if not rows:
        raise DefinitionError("no run was selected.", where=str(path), fix=f"see them: perdure runs {path}")
    for row in rows:
        yield history_of(ledger, row)


def _replays(history: History, registry: Registry, *, one: bool) -> bool:
    """Whether a history may be exported; of one run an error says why not, of several a line on stderr."""
    finding = check_history(history, registry)
    if isinstance(finding, Verdict) and finding.ok:
        return True
    problem = str(finding.divergence if isinstance(finding, Verdict) else finding.error)
    what = "no longer replays once it is redacted" if history.redacted else "does not replay"
    if one:
        raise PerdureError(
            f"run {history.row.run_id} {what}, so it was not exported.",
            why=problem,
            fix="redact less, or values that the body only passes on" if history.redacted else "mend the code first",
        )
    console(stderr=True).print(Text(f"left out: run {history.row.run_id} {what}.\n{problem}"), soft_wrap=True)
    return False


def _write_all(histories: list[History], run: str | None, out: Path | None) -> None:
    try:
        if out is None:
            text = io.StringIO()
            write_history(histories[0], text)
            sys.stdout.flush()
            sys.stdout.buffer.write(text.getvalue().encode())  # UTF-8 and its line ends, whatever the console has
            sys.stdout.buffer.flush()
        elif run is not None and not out.is_dir():
            out.parent.mkdir(parents=True, exist_ok=True)
            _write(histories[0], out)
        else:
            out.mkdir(parents=True, exist_ok=True)
            for history in histories:
                _write(history, out / f"{_file_name(history.row.run_id)}{SUFFIX}")
    except BrokenPipeError:
        raise  # the reader has seen enough
    except OSError as error:
        what = "standard output" if out is None else repr(str(out))
        raise PerdureError(f"{what} can't be written.", why=str(error), fix="choose another place") from None


def _write(history: History, file: Path) -> None:
    with file.open("w", encoding="utf-8", newline="\n") as opened:
        write_history(history, opened)
    count = len(history.entries)
    console(stderr=True).print(Text(f"{file}: {count} {'entry' if count == 1 else 'entries'}"), soft_wrap=True)


def _file_name(run_id: str) -> str:
    return re.sub(r"[^\w.=@-]", "_", run_id)[:150]


app = typer.Typer(
    cls=Group,
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    help="Runs as text files, to keep beside the code and replay on every change.",
    epilog=examples("perdure history export orders.duckdb order-1 > tests/histories/order-1.history.jsonl"),
)
app.command(
    "export",
    cls=Command,
    epilog=PATTERNS
    + "\n\n"
    + examples(
        "perdure history export orders.duckdb order-1 > tests/histories/order-1.history.jsonl",
        "perdure history export orders.duckdb order-1 --redact charge_card.result.token --workflows orders.py",
        "perdure history export orders.duckdb --workflow fulfill-order --limit 10 --out tests/histories",
    ),
)(export_history)
app.command("show", cls=Command, epilog=examples("perdure history show order-1.history.jsonl --at 7"))(show_history)
app.command("check", cls=Command, epilog=examples("perdure history check tests/histories --workflows orders.py"))(
    check_histories
)
