"""How an escape is tried: natively, where it must find loot, and in the sandbox, where it must not.

A payload is an expression, or source that defines `attack()`. Loot is what a body must never hold: a module, a frame, a
code object, a way to run code, the secret out of a file. (A traceback is none: `__exit__` is given one, and everything
that it leads to is out of reach.) Running it natively first proves that the payload would work.
"""

from __future__ import annotations

import asyncio
import builtins
import inspect
import os
import subprocess
import types
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from perdure.errors import BudgetExceeded, PolicyViolation, SandboxViolation
from perdure.sandbox import load

SECRET = "the canary's secret"
_LOOT_TYPES = (types.ModuleType, types.FrameType, types.CodeType, types.CellType)
_LOOT = (
    eval, exec, compile, open, __import__, globals, vars, locals, type, types.FunctionType, types.CodeType, os.system,
    subprocess.Popen, getattr(os, "_wrap_close", None), vars(builtins), os.environ,
)  # fmt: skip

Verdict = Callable[..., str]


def is_loot(value: object, depth: int = 3) -> bool:
    """Tell whether something was carried out of the sandbox."""
    if isinstance(value, _LOOT_TYPES) or any(value is each for each in _LOOT):
        return True
    if isinstance(value, str):
        return SECRET in value
    if isinstance(value, dict):
        if "__builtins__" in value or "__spec__" in value:
            return True
        value = list(value.values())
    if isinstance(value, list | tuple | set | frozenset) and depth:
        return any(is_loot(each, depth - 1) for each in value)
    return False


def source_of(payload: str) -> str:
    """Make source that defines `attack()`."""
    return payload if "def attack" in payload else f"def attack():\n    return {payload}\n"


def call(attack: Any) -> object:
    """Run an attack to its end, whatever kind of function it is."""
    result = attack()
    if inspect.isawaitable(result):

        async def drive() -> object:
            return await result

        return asyncio.run(drive())
    return result


@pytest.fixture
def canary(tmp_path: Path) -> str:
    """Make a file with a secret."""
    path = tmp_path / "canary.txt"
    path.write_text(SECRET)
    return str(path)


@pytest.fixture
def finds_loot_natively(canary: str) -> Callable[[str], bool]:
    """Run a payload as plain Python and tell whether it finds something."""

    def run(payload: str) -> bool:
        namespace: dict[str, Any] = {"__name__": "payload"}
        exec(compile(source_of(payload).replace("CANARY", canary), "<payload>", "exec"), namespace)
        return is_loot(call(namespace["attack"]))

    return run


@pytest.fixture
def contained(canary: str) -> Verdict:
    """Run a payload in the sandbox, prove that nothing got out, and tell how it ended."""

    def run(payload: str) -> str:
        found: object = None
        try:
            module = load(source_of(payload).replace("CANARY", canary), filename="<payload>")
            found = call(module.attack)
            outcome = "harmless"
        except (PolicyViolation, SandboxViolation, BudgetExceeded) as error:
            found, outcome = error.args, type(error).__name__
            has_fix = bool(error.fix or getattr(error, "findings", ()))
        except Exception as error:  # noqa: BLE001  # whatever the payload runs into; what it carries is looked at below
            found, outcome = error.args, "ordinary"
        assert outcome in ("harmless", "ordinary") or has_fix, "a refusal says what to do instead"
        assert not is_loot(found), f"got through: {found!r}"
        return outcome

    return run
