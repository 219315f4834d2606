"""What an installation puts on PATH: `perdure` and `replay-check`.

Importing the commands takes longer than some of them run. Ctrl-C may come in that time, when nothing has begun that
would have to end in order: it then ends the process as it ends any program, with 130 in a shell and no traceback.

Knows Ctrl-C. Must import nothing at its top that takes time, and must not know any command.
"""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import contextmanager


def perdure() -> None:
    """The entry point `perdure`."""
    with _ending_at_ctrl_c():
        from perdure.cli.main import main
    main()


def replay_check() -> None:
    """The entry point `replay-check`."""
    with _ending_at_ctrl_c():
        from perdure.cli.replay_check import main
    main()


@contextmanager
def _ending_at_ctrl_c() -> Iterator[None]:
    """Leave Ctrl-C to the system in the block, for an exception could come out of any import as whatever it likes."""
    if signal.getsignal(signal.SIGINT) is not signal.default_int_handler:
        yield  # ignored, as with nohup, or another's: so it stays
        return
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    yield
    signal.signal(signal.SIGINT, signal.default_int_handler)
