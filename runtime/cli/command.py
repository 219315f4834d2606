"""How every command ends: errors of Perdure as their message on stderr and exit code 2, never a traceback.

Knows exit codes. Must not know any command.
"""

from __future__ import annotations

import io
import os
import sys
from typing import Any

import typer
from typer.core import TyperCommand, TyperGroup

from perdure.errors import PerdureError

FAILED = 2
_LEDGER = ".duckdb"

#: What a command line that can't be read is refused with; typer has it under no name of its own.
_UsageError: type[Exception] = typer.BadParameter.__bases__[0]


class Command(TyperCommand):
    """A command whose `PerdureError`s are shown as messages, and whose usage errors come with an example."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        try:
            return super().parse_args(ctx, args)
        except _UsageError as error:
            raise _told(error, ctx, "" if self.epilog is None else self.epilog.splitlines()[2].strip()) from None

    def invoke(self, ctx: Any) -> Any:  # older typers take click's Context here, newer ones their own
        for stream in (sys.stdout, sys.stderr):
            if isinstance(stream, io.TextIOWrapper):
                stream.reconfigure(errors="backslashreplace")  # a letter that the console lacks ends no command
        try:
            return super().invoke(ctx)
        except PerdureError as error:
            typer.echo(str(error), err=True)
            raise typer.Exit(FAILED) from None
        except BrokenPipeError:
            # The reader has seen enough, as in `perdure runs … | head`. Python would complain again when it flushes.
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            raise typer.Exit(0) from None


class Group(TyperGroup):
    """Commands under one name. Who gives it the ledger before the command gets an example, with that ledger."""

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        try:
            return super().resolve_command(ctx, args)
        except _UsageError as error:
            if not args[0].endswith(_LEDGER):
                raise
            command = next(name for name in ("runs", "list", "export") if name in self.commands)
            raise _told(error, ctx, f"{ctx.command_path} {command} {args[0]}") from None


def _told(error: Any, ctx: Any, example: str) -> typer.Exit:
    """Show what is wrong with a command line, and one that is right."""
    error.ctx = error.ctx or ctx
    error.show()
    if example:
        typer.echo(f"\nFor example: {example}", err=True)
    return typer.Exit(error.exit_code)


def examples(*lines: str) -> str:
    """Write the end of a help text; the mark keeps its line breaks."""
    word = "Example:" if len(lines) == 1 else "Examples:"
    return "\n".join(["\b", word, *(f"  {line}" for line in lines)])
