"""Shared means of the sandbox's tests: running one text natively and restricted, side by side."""

from __future__ import annotations

import asyncio
import inspect
import linecache
import textwrap
from collections.abc import Callable
from typing import Any

import pytest

from perdure.sandbox import load


def run_natively(source: str, *arguments: Any, filename: str = "<native>") -> Any:
    """Run `body` of a text as plain Python."""
    linecache.cache[filename] = (len(source), None, source.splitlines(keepends=True), filename)
    namespace: dict[str, Any] = {"__name__": filename}
    exec(compile(source, filename, "exec", dont_inherit=True), namespace)
    return _call(namespace["body"], arguments)


def run_restricted(source: str, *arguments: Any, filename: str = "<body>") -> Any:
    """Run `body` of a text in the sandbox."""
    return _call(load(source, filename=filename).body, arguments)


def _call(function: Callable[..., Any], arguments: tuple[Any, ...]) -> Any:
    if inspect.iscoroutinefunction(function):
        return asyncio.run(function(*arguments))
    return function(*arguments)


@pytest.fixture
def alike() -> Callable[..., Any]:
    """Assert that a text's `body` gives the same natively and restricted, and return that."""

    def check(source: str, *arguments: Any) -> Any:
        text = textwrap.dedent(source)
        native = run_natively(text, *arguments)
        restricted = run_restricted(text, *arguments)
        assert restricted == native
        assert type(restricted) is type(native)
        return restricted

    return check
