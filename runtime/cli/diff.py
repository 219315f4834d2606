"""`perdure diff LEDGER RUN_A RUN_B`: what two runs did differently."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.text import Text

from perdure.cli.arguments import AsJson, LedgerPath
from perdure.cli.opening import need_run, reading
from perdure.cli.output import cells, console, elapsed_text, print_json, print_table, table
from perdure.replay.comparison import Asked, Comparison, Fact, Pair, Side, compare
from perdure.replay.values import Change

RunA = Annotated[str, typer.Argument(metavar="RUN_A", help="One run's id.")]
RunB = Annotated[str, typer.Argument(metavar="RUN_B", help="The other run's id.")]
Other = Annotated[
    Path | None, typer.Option("--other", metavar="LEDGER2", help="The ledger of RUN_B, when it is another one.")
]


def diff_runs(ledger: LedgerPath, run_a: RunA, run_b: RunB, other: Other = None, as_json: AsJson = False) -> None:
    """Show what two runs did differently.

    Compares inputs, the steps and waits of each branch with their arguments and results, and how the runs ended; what
    is equal is left out. Durations and code are told, and do not count. Exit code 0: both did the same. 1: they
    differ. 2: one of them can't be read.
    """
    first = _side(ledger, run_a)
    second = _side(other or ledger, run_b)
    found = compare(first, second)
    if as_json:
        print_json(_as_json(found))
    else:
        _show(found)
    if not found.equal:
        raise typer.Exit(1)


def _side(path: Path, run_id: str) -> Side:
    with reading(path) as opened:
        row = need_run(opened, run_id, path)
        return Side(row, opened.entries(row.run))


# ── for people ───────────────────────────────────────────────────────────────────────────────────


def _show(found: Comparison) -> None:
    shown = console()
    names = [_run_name(found.first, found.second), _run_name(found.second, found.first)]
    facts = table("", *names)
    for fact in found.facts:
        if fact.differs:
            style = "yellow" if fact.counts else "dim"
            for row in _fact_rows(fact):
                facts.add_row(*(Text(text, style=style) for text in row))
    if facts.row_count:
        print_table(facts)
        shown.print()
    steps = table("", "branch", "command", "A took", "B took", "what differs", "where", right=["A took", "B took"])
    equal = 0
    for pair in found.pairs:
        if not pair.differs:
            equal += 1
            continue
        if equal:
            _add_equal(steps, equal)
            equal = 0
        steps.add_row(*cells(_pair_row(pair)))
    if any(pair.differs for pair in found.pairs):
        if equal:
            _add_equal(steps, equal)
        print_table(steps)
        shown.print()
    shown.print(_conclusion(found), soft_wrap=True)


def _run_name(side: Side, other: Side) -> str:
    row = side.row
    fork = " (forked from the other)" if row.forked_from == other.row.run_id else ""
    return f"{row.run_id}{fork}"


def _fact_rows(fact: Fact) -> list[tuple[str, str, str]]:
    if not fact.changes:
        return [(fact.name, fact.first, fact.second)]
    return [(f"{fact.name} {change.path}", change.before, change.after) for change in fact.changes]


def _add_equal(steps: Any, count: int) -> None:
    steps.add_row(*(Text(text, style="dim") for text in ("", "", f"… {count:,} equal", "", "", "", "")))


def _pair_row(pair: Pair) -> list[Any]:
    either = pair.either.command
    mark = Text("-", style="red") if pair.second is None else Text("+", style="green")
    if pair.first is not None and pair.second is not None:
        mark = Text("~", style="yellow")
    return [
        mark,
        pair.either.branch,
        f"{either.kind} {either.name}",
        _took(pair.first),
        _took(pair.second),
        "; ".join(_differences(pair)),
        _sites(pair),
    ]


def _took(asked: Asked | None) -> str:
    if asked is None:
        return ""
    return "…" if asked.duration_us is None else elapsed_text(asked.duration_us).removeprefix("+")


def _differences(pair: Pair) -> list[str]:
    if pair.second is None or pair.first is None:
        where = "only in A" if pair.second is None else "only in B"
        return [f"{where} at this place" if pair.moved else where]
    said = [f"argument {change}" for change in pair.arguments]
    if pair.outcome is not None:
        said.append(f"{pair.outcome[0]} → {pair.outcome[1]}")
    return said + [f"result {change}" for change in pair.result]


def _sites(pair: Pair) -> str:
    sites = dict.fromkeys(asked.site for asked in (pair.first, pair.second) if asked is not None and asked.site)
    return " → ".join(sites)


def _conclusion(found: Comparison) -> Text:
    differing = sum(pair.differs for pair in found.pairs)
    both = f"{found.first.row.run_id} and {found.second.row.run_id}"
    if found.equal:
        return Text(f"{both} did the same: {_commands(len(found.pairs))}, all equal.", style="bold green")
    if not differing:
        return Text(f"{both} differ, though all of {_commands(len(found.pairs))} are equal.", style="bold yellow")
    return Text(f"{both} differ in {differing:,} of {_commands(len(found.pairs))}.", style="bold yellow")


def _commands(count: int) -> str:
    return f"{count:,} command" + ("" if count == 1 else "s")


# ── for programs ─────────────────────────────────────────────────────────────────────────────────


def _as_json(found: Comparison) -> dict[str, Any]:
    return {
        "equal": found.equal,
        "a": _side_json(found.first),
        "b": _side_json(found.second),
        "facts": [
            {
                "name": fact.name,
                "a": fact.first or None,
                "b": fact.second or None,
                "changes": _changes_json(fact.changes),
                "counts": fact.counts,
            }
            for fact in found.facts
            if fact.differs
        ],
        "commands": len(found.pairs),
        "differences": [_pair_json(pair) for pair in found.pairs if pair.differs],
    }


def _side_json(side: Side) -> dict[str, Any]:
    row = side.row
    return {
        "run_id": row.run_id,
        "workflow": row.workflow,
        "version": row.version,
        "status": row.status,
        "entries": row.length,
        "definition": row.definition,
        "python": side.python,
        "forked_from": row.forked_from,
    }


def _pair_json(pair: Pair) -> dict[str, Any]:
    either = pair.either.command
    return {
        "branch": pair.either.branch,
        "kind": either.kind,
        "name": either.name,
        "in": "a" if pair.second is None else "b" if pair.first is None else "both",
        "moved": pair.moved,
        "arguments": _changes_json(pair.arguments),
        "outcomes": None if pair.outcome is None else list(pair.outcome),
        "result": _changes_json(pair.result),
        "a": _asked_json(pair.first),
        "b": _asked_json(pair.second),
    }


def _asked_json(asked: Asked | None) -> dict[str, Any] | None:
    if asked is None:
        return None
    return {"position": asked.command.position, "duration_us": asked.duration_us, "site": asked.site}


def _changes_json(changes: Sequence[Change]) -> list[dict[str, str]]:
    return [{"path": change.path, "a": change.before, "b": change.after} for change in changes]
