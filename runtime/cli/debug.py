"""`perdure debug LEDGER RUN`: replay a run up to a step, and look at its body there with a debugger."""

from __future__ import annotations

import importlib
import pdb
from collections.abc import Sequence
from typing import Annotated

import typer
from rich.text import Text

from perdure.cli.arguments import LedgerPath, RunId, Workflows
from perdure.cli.opening import need_run, need_workflows, reading
from perdure.cli.output import console
from perdure.cli.stack import where_it_stands
from perdure.core.places import Place, find_place, parse_place
from perdure.errors import DefinitionError
from perdure.replay.debugging import BodyDebugger, debug, debugger_over
from perdure.replay.stop import Stop, Walk
from perdure.storage import entries as kinds
from perdure.storage.entries import Entry
from perdure.storage.ledger import RunRow

At = Annotated[
    str | None,
    typer.Option(
        "--at",
        metavar="STEP",
        help="A step's name (name#2 for the second), or an entry's number. By default where the run waits, where it "
        "failed, or its first line.",
    ),
]
Debugger = Annotated[
    str, typer.Option("--debugger", metavar="NAME", help="pdb, or a class made of it, as module:Class.")
]


def debug_run(
    ledger: LedgerPath, run: RunId, workflows: Workflows = None, at: At = None, debugger: Debugger = "pdb"
) -> None:
    """Replay a run to a step, and open the debugger there.

    The body's variables are there under their names, and it can be stepped on through all that is recorded. Nothing is
    performed: steps give their recorded results, and calling one is refused. The ledger is only read.
    """
    with reading(ledger) as opened:
        row = need_run(opened, run, ledger)
        entries = opened.entries(row.run)
    definition = need_workflows(workflows).get(row.workflow, row.version)  # it may make the folder importable
    made = debugger_over(_debugger_class(debugger))(nosigint=True)
    place = _place(row, entries, at)
    walk = Walk(row, definition, entries, place or find_place(entries, row.length - 1, run))
    stop = debug(walk, place, made)
    console(stderr=True).print(Text(_conclusion(made, stop, place)), soft_wrap=True)


def _place(row: RunRow, entries: Sequence[Entry], at: str | None) -> Place | None:
    """Where to stop; None where the body raises out, or diverges."""
    if at is not None:
        return find_place(entries, parse_place(at), row.run_id)
    if row.status in ("failed", "diverged"):
        return None
    newest = max((pending.position for pending in row.pending.values()), default=0)
    return find_place(entries, newest, row.run_id)


def _conclusion(debugger: BodyDebugger, stop: Stop, place: Place | None) -> str:
    if debugger.left:
        return "Left; nothing was performed."
    if not debugger.stops:
        what = "an error that leaves the body" if place is None else _said(place.entry)
        return f"The replay never came to {what}; {where_it_stands(stop)}."
    return f"The recorded history ends here: {where_it_stands(stop)}."


def _said(entry: Entry) -> str:
    name = f" {entry.name}" if entry.name and entry.kind != kinds.CREATED else ""
    return f"{entry.kind}{name}, entry {entry.position}"


def _debugger_class(name: str) -> type[pdb.Pdb]:
    """Find the debugger's class.

    Raises:
        DefinitionError: there is none, or it is not made of pdb.
    """
    if name == "pdb":
        return pdb.Pdb
    module, _, attribute = name.partition(":")
    try:
        found = getattr(importlib.import_module(module), attribute or "Pdb")
    except (ImportError, AttributeError) as error:
        raise DefinitionError(
            f"--debugger {name!r} can't be loaded.", why=str(error), fix="give pdb, or module:Class of one made of it"
        ) from None
    if not (isinstance(found, type) and issubclass(found, pdb.Pdb)):
        raise DefinitionError(
            f"--debugger {name!r} is not made of pdb.Pdb.",
            fix="give a class such as IPython.terminal.debugger:TerminalPdb",
        )
    return found
