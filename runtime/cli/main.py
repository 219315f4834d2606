"""`perdure`: all commands under one name."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated

import typer

import perdure
from perdure.cli.cancel import cancel_run
from perdure.cli.command import Command, Group, examples
from perdure.cli.debug import debug_run
from perdure.cli.diff import diff_runs
from perdure.cli.fork import fork_run
from perdure.cli.history import app as history
from perdure.cli.kv import app as kv
from perdure.cli.list import list_workflows
from perdure.cli.new import new_project
from perdure.cli.queues import list_queues
from perdure.cli.replay_check import HELP_END, check_ledger
from perdure.cli.resume import resume_hook
from perdure.cli.retry import retry_run
from perdure.cli.run import run_worker
from perdure.cli.runs import list_runs
from perdure.cli.schedules import app as schedules
from perdure.cli.send import send_event
from perdure.cli.show import show_run
from perdure.cli.signal import signal_run
from perdure.cli.sql import query_ledger
from perdure.cli.start import start_run
from perdure.cli.stream import print_stream
from perdure.cli.upgrade import HELP_END as UPGRADE_HELP_END
from perdure.cli.upgrade import upgrade_runs
from perdure.cli.verify import HELP_END as VERIFY_HELP_END
from perdure.cli.verify import verify_ledger

_COMMANDS: tuple[tuple[str, Callable[..., None], str], ...] = (
    ("run", run_worker, examples(
        "perdure run orders.duckdb", "perdure run orders.duckdb --workflows orders.py --watch",
        "perdure run orders.duckdb --workflows shop.workflows --log json --drain 30s",
    )),
    ("list", list_workflows, examples(
        "perdure list", "perdure list orders.py", "perdure list workflows/ --json",
        "perdure list --open orders.duckdb --workflows orders.py",
    )),
    ("new", new_project, examples(
        "perdure new --list", "perdure new shop --from order-fulfilment",
    )),
    ("runs", list_runs, examples(
        "perdure runs orders.duckdb --status failed --since 7d",
        "perdure runs orders.duckdb --workflow fulfill-order --tag tenant=42 --json",
        "perdure runs orders.duckdb --dead",
    )),
    ("show", show_run, examples(
        "perdure show orders.duckdb order-1", "perdure show orders.duckdb order-1 --at 7",
        "perdure show orders.duckdb order-1 --at charge_card -w orders.py",
    )),
    ("debug", debug_run, examples(
        "perdure debug orders.duckdb order-1 --at charge_card -w orders.py",
        "perdure debug orders.duckdb order-1 -w orders.py",
    )),
    ("diff", diff_runs, examples(
        "perdure diff orders.duckdb order-1 order-2",
        "perdure diff orders.duckdb order-1 order-1 --other yesterday.duckdb --json",
    )),
    ("fork", fork_run, examples(
        "perdure fork orders.duckdb order-1 --at charge_card -w orders.py",
        "perdure fork orders.duckdb order-1 --at 7 -w orders.py --run-id order-1-again --wait",
        "perdure fork orders.duckdb order-1 --at charge_card -w orders.py --result 'charge_card=\"ch_1\"'",
    )),
    ("start", start_run, examples(
        """perdure start orders.duckdb fulfill-order -w orders.py --input '{"order_id": "o1", "cents": 4200}' --wait""",
        "perdure start orders.duckdb nightly -w jobs.py --idempotency-key 2026-01-31 --delay 10m",
        "perdure start orders.duckdb send-mail -w mail.py --queue emails --key customer-7 --priority -1",
    )),
    ("queues", list_queues, examples("perdure queues orders.duckdb", "perdure queues orders.duckdb --json")),
    ("send", send_event, examples(
        """perdure send orders.duckdb payment.completed -w orders.py --payload '{"order_id": "o1"}'""",
        """perdure send orders.duckdb order.paid -w orders.py --resource shop-7 --event-id e1 -p '{"id": 1}'""",
    )),
    ("signal", signal_run, examples(
        """perdure signal orders.duckdb order-1 approved -w orders.py --payload '{"by": "ann"}'""",
    )),
    ("resume", resume_hook, examples(
        """perdure resume orders.duckdb approval:7 -w orders.py --payload '{"yes": true}'""",
    )),
    ("cancel", cancel_run, examples(
        "perdure cancel orders.duckdb order-1 --workflows orders.py",
        "perdure cancel orders.duckdb --workflow fulfill-order --tag tenant=42 -w orders.py --yes",
    )),
    ("retry", retry_run, examples(
        "perdure retry orders.duckdb order-1 --workflows orders.py",
        "perdure retry orders.duckdb --workflow fulfill-order --since 2h -w orders.py --yes",
    )),
    ("stream", print_stream, examples(
        "perdure stream orders.duckdb order-1", "perdure stream orders.duckdb order-1 logs --start 100 --json",
    )),
    ("sql", query_ledger, examples(
        """perdure sql orders.duckdb "SELECT name, count(*) FROM steps GROUP BY name" """.rstrip(),
    )),
    ("upgrade", upgrade_runs, UPGRADE_HELP_END),
    ("verify", verify_ledger, VERIFY_HELP_END),
    ("replay-check", check_ledger, HELP_END),
)  # fmt: skip


def _show_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"perdure {perdure.__version__}")
        raise typer.Exit


Version = Annotated[
    bool, typer.Option("--version", callback=_show_version, is_eager=True, help="Show the version and exit.")
]

app = typer.Typer(
    cls=Group,
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    help="Durable workflows: run them, look at them, replay them. The ledger comes first.",
    epilog=examples(
        "perdure new shop --from order-fulfilment",
        "perdure list",
        "perdure run orders.duckdb --watch",
        "perdure runs orders.duckdb",
        "perdure show orders.duckdb order-1",
    ),
)
for _name, _function, _end in _COMMANDS:
    app.command(_name, cls=Command, epilog=_end)(_function)
app.add_typer(history, name="history")
app.add_typer(schedules, name="schedules")
app.add_typer(kv, name="kv")


@app.callback()
def _perdure(version: Version = False) -> None:
    pass


def main() -> None:
    """The entry point `perdure`."""
    app(prog_name="perdure")
