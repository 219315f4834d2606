"""`print` in a body: what it writes goes to the environment, which swallows it on replay.

This file must not know where the text ends up.
"""

from __future__ import annotations

import builtins

from perdure.errors import SandboxViolation
from perdure.sandbox import formatting
from perdure.sandbox.activation import current


def print_line(
    *values: object, sep: str | None = " ", end: str | None = "\n", file: object = None, flush: bool = False
) -> None:
    """Write the values as text, `sep` between and `end` after them; a replay does not repeat it.

    `flush` makes no difference in a body: the text is handed over at once.

    Raises:
        SandboxViolation: `file` is given, or a value's text would show an address.
    """
    environment = current()
    if environment is None:
        builtins.print(*values, sep=sep, end=end, file=file, flush=flush)  # type: ignore[call-overload]
        return
    if file is not None:
        raise SandboxViolation(
            "print(file=…) can't be used in a body.",
            why="a replay would write to the file again",
            fix="leave `file` out, or write the file in a step",
        )
    separator = " " if sep is None else sep
    environment.emit(separator.join(map(formatting.text, values)) + ("\n" if end is None else end))


print_line.__name__ = print_line.__qualname__ = "print"  # what a body sees
