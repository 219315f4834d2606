"""How every command ends: errors of Perdure as their message on stderr and exit code 2, never a traceback.

Knows exit codes. Must not know any command.
"""

from __future__ import annotations

import io
import os
import sys
from typing import Any

import typer
from typer.core import TyperCommand

from perdure.errors import PerdureError

FAILED = 2

#: What a command line that can't be read is refused with; typer has it under no name of its own.
_UsageError: type[Exception] = typer.BadParameter.__bases__[0]


class Command(TyperCommand):
    """A command whose `PerdureError`s are shown as messages, and whose usage errors come with an example."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        try:
            return super().parse_args(ctx, args)
        except _UsageError as error:
            usage: Any = error
            usage.ctx = usage.ctx or ctx
            usage.show()
            if self.epilog is not None:
                typer.echo(f"\nFor example: {self.epilog.splitlines()[2].strip()}", err=True)
            raise typer.Exit(usage.exit_code) from None

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


def examples(*lines: str) -> str:
    """Write the end of a help text; the mark keeps its line breaks."""
    word = "Example:" if len(lines) == 1 else "Examples:"
    return "\n".join(["\b", word, *(f"  {line}" for line in lines)])
