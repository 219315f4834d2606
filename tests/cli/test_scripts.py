"""Ctrl-C while a command is still being imported ends it quietly; afterwards it is the command's."""

from __future__ import annotations

import signal
import subprocess
import sys

import pytest

AT_IMPORT = """
import os, signal, sys
class Interrupting:
    def find_spec(self, name, path, target=None):
        if name == "perdure.cli.{module}":
            os.kill(os.getpid(), signal.SIGINT)
sys.meta_path.insert(0, Interrupting())
{before}
from perdure.cli.scripts import {script}
sys.argv = ["{script}", "--help"]
{script}()
"""
#: As a process finds it there. Tests that run in the background find that Ctrl-C is ignored, and hand that on.
AT_A_TERMINAL = "signal.signal(signal.SIGINT, signal.default_int_handler)"
SCRIPTS = [("perdure", "run"), ("replay_check", "output")]


def run(program: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-c", program], check=False, capture_output=True, text=True, timeout=60)


@pytest.mark.parametrize(("script", "module"), SCRIPTS)
def test_an_interrupt_while_importing_says_nothing(script: str, module: str) -> None:
    done = run(AT_IMPORT.format(script=script, module=module, before=AT_A_TERMINAL))
    assert (done.returncode, done.stdout, done.stderr) == (-signal.SIGINT, "", "")


@pytest.mark.parametrize(("script", "module"), SCRIPTS)
def test_an_interrupt_that_is_ignored_stays_ignored(script: str, module: str) -> None:
    before = "signal.signal(signal.SIGINT, signal.SIG_IGN)"
    done = run(AT_IMPORT.format(script=script, module=module, before=before))
    assert (done.returncode, "Usage" in done.stdout) == (0, True), done.stderr


def test_an_interrupt_of_the_command_itself_is_the_commands() -> None:
    done = run(
        f"import os, signal\n{AT_A_TERMINAL}\n"
        "import perdure.cli.main as commands\n"
        "def main():\n"
        "    try:\n"
        "        os.kill(os.getpid(), signal.SIGINT)\n"
        "        signal.pause()\n"
        "    except KeyboardInterrupt:\n"
        "        print('parked')\n"
        "commands.main = main\n"
        "from perdure.cli.scripts import perdure\n"
        "perdure()\n"
    )
    assert (done.returncode, done.stdout) == (0, "parked\n"), done.stderr
