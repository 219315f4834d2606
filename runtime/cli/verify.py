"""`perdure verify LEDGER`: prove that no entry was altered, dropped, inserted or reordered."""

from __future__ import annotations

import typer
from rich.text import Text

from perdure.cli.arguments import AsJson, LedgerPath
from perdure.cli.opening import reading
from perdure.cli.output import console, print_json
from perdure.cli.run import spinning
from perdure.storage.verify import verify

_SHOWN_MAX = 50


def verify_ledger(ledger: LedgerPath, as_json: AsJson = False) -> None:
    """Prove that nothing was altered.

    Walks the chain of digests of every run, and checks that listings and queries say what the entries say. Exit code
    0: sound. 1: something is not as it was written. 2: the ledger could not be read.
    """
    with reading(ledger) as opened, spinning(f"verifying {ledger}"):
        verdict = verify(opened)
    if as_json:
        faults = [
            {"run_id": fault.run_id, "run": fault.run, "position": fault.position, "message": fault.message}
            for fault in verdict.faults
        ]
        print_json({"ok": verdict.ok, "runs": verdict.runs, "entries": verdict.entries, "faults": faults})
    elif verdict.ok:
        console().print(f"{ledger} is sound: {verdict.entries:,} entries of {verdict.runs:,} runs.", soft_wrap=True)
    else:
        shown = console()
        for fault in verdict.faults[:_SHOWN_MAX]:
            shown.print(Text(str(fault), style="red"), soft_wrap=True)
        if len(verdict.faults) > _SHOWN_MAX:
            shown.print(f"… and {len(verdict.faults) - _SHOWN_MAX:,} more")
        shown.print(Text(f"{ledger} is not as it was written: {len(verdict.faults):,} faults.", style="bold red"))
    if not verdict.ok:
        raise typer.Exit(1)
