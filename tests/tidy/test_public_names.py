"""What type checkers and editors know of the public modules is what these modules have at run time."""

from __future__ import annotations

import ast
import importlib
from pathlib import Path

import pytest

MODULES = ("perdure", "perdure.strict", "perdure.testing")


def blocks_of(module: str, test: str) -> list[ast.stmt]:
    """The statements that stand under `if TEST:` at a module's top level."""
    file = importlib.import_module(module).__file__
    assert file is not None
    tree = ast.parse(Path(file).read_text(encoding="utf-8"))
    return [
        each for node in tree.body if isinstance(node, ast.If) and ast.unparse(node.test) == test for each in node.body
    ]


@pytest.mark.parametrize("module", MODULES)
def test_checkers_see_every_public_name_and_no_other(module: str) -> None:
    named = blocks_of(module, "TYPE_CHECKING")
    seen = {alias.asname for node in named if isinstance(node, ast.ImportFrom) for alias in node.names}
    assigned = {"__version__", "workflow"}  # by the module itself; perdure.strict has a `workflow` of its own
    assert seen | assigned == set(importlib.import_module(module).__all__) | assigned


@pytest.mark.parametrize("module", MODULES)
def test_a_misspelt_name_is_seen_by_checkers(module: str) -> None:
    """They take any name for Any where they see a `__getattr__`."""
    hidden = [node.name for node in blocks_of(module, "not TYPE_CHECKING") if isinstance(node, ast.FunctionDef)]
    assert hidden == ["__getattr__"]
