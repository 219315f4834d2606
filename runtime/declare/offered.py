"""What a body's `step` and `ctx` offer, for the sandbox to check a body against when it is declared.

Read off the classes themselves, so that a new method is known as soon as it exists. They are looked up as an
application does, by their public names, because what walks a body is above what declares it.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from typing import Any

import perdure
from perdure.sandbox.asking import Member, Offers

_AWAITABLE = ("Coroutine", "Awaitable")


@functools.cache
def offers() -> Offers:
    """List the members of `step` and `ctx`."""
    return Offers(_members(perdure.StepContext), _members(perdure.Context), perdure.Context.__perdure_services__)


def _members(kind: type) -> dict[str, Member]:
    return {name: _member(inspect.getattr_static(kind, name)) for name in dir(kind) if not name.startswith("_")}


def _member(member: object) -> Member:
    if not inspect.isfunction(member):
        return Member(None, awaited=False)
    plain: Callable[..., Any] = inspect.unwrap(member)
    accepted = inspect.signature(plain).parameters.values()
    any_keyword = any(parameter.kind is parameter.VAR_KEYWORD for parameter in accepted)
    named = (inspect.Parameter.KEYWORD_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
    keywords = [parameter.name for parameter in accepted if parameter.kind in named][1:]  # without self
    return Member(None if any_keyword else tuple(keywords), gives_awaitable(plain))


def gives_awaitable(method: Callable[..., Any]) -> bool:
    """Tell whether a call of a method does nothing until it is awaited."""
    plain: Callable[..., Any] = inspect.unwrap(method)
    returned = str(plain.__annotations__.get("return", ""))
    return inspect.iscoroutinefunction(plain) or returned.startswith(_AWAITABLE)
