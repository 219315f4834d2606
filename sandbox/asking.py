"""What a body asks of `step` and `ctx`, as far as its source shows: names and options that they don't have, requests
that nobody awaits, and the workflows that it starts by id.

This file knows trees. It must not know what a name of the module stands for, nor what the members do.
"""

from __future__ import annotations

import ast
import difflib
from collections.abc import Collection, Iterator, Mapping
from typing import NamedTuple

from perdure.sandbox.judgement import Judgement
from perdure.sandbox.scopes import COMPREHENSIONS, FUNCTIONS, FunctionNode, bound_names, comprehension_names, parameters
from perdure.sandbox.step_positions import step_callables, step_only_functions

_STARTERS = frozenset({"invoke", "spawn"})


class Member(NamedTuple):
    """One member of `step` or `ctx`."""

    keywords: tuple[str, ...] | None  # that a call may give; None: any, or it is no method
    awaited: bool  # whether a call does nothing until it is awaited


class Offers(NamedTuple):
    """What a body may ask for, by name."""

    step: Mapping[str, Member]
    ctx: Mapping[str, Member]
    services: frozenset[str]  # of `ctx`, which are for steps


class Asked(NamedTuple):
    """What was found in one function: judgements with their places, and the ids of workflows that it starts."""

    judgements: list[tuple[ast.AST, Judgement]]
    started: list[tuple[str, ast.expr]]


def names_of(function: FunctionNode, *, is_body: bool) -> tuple[str, str]:
    """Tell by which names a function calls `step` and `ctx`; empty where it has none.

    A body's are its second and third parameter; a helper's are those that are annotated so.
    """
    arguments = [*function.args.posonlyargs, *function.args.args]
    if is_body:
        given = [argument.arg for argument in arguments[1:3]]
        return (*given, "", "")[0], (*given, "", "")[1]
    annotated = {_last_name(argument.annotation): argument.arg for argument in parameters(function.args)}
    return annotated.get("StepContext", ""), annotated.get("Context", "")


def asked_of(function: FunctionNode, step: str, ctx: str, offers: Offers) -> Asked:
    """Look through a function for what it asks of its `step` and `ctx`."""
    found = Asked([], [])
    outside = _outside(function, step) if step and ctx else frozenset()
    for name, shown, members in ((step, "step", offers.step), (ctx, "ctx", offers.ctx)):
        if name and not _is_rebound(function, name):
            for node in _seeing(function, name):
                if not (shown == "ctx" and id(node) in outside and getattr(node, "attr", "") in offers.services):
                    _look(node, name, shown, members, offers.services, found)
    return found


def _outside(function: FunctionNode, step: str) -> frozenset[int]:
    """The nodes of what is handed to steps, which may use the services of `ctx`: it runs as a step."""
    names = frozenset({step})
    handed: set[ast.AST] = set(step_only_functions(function, names))
    for node in ast.walk(function):
        if isinstance(node, ast.Call):
            handed.update(step_callables(node, names))
    return frozenset(id(part) for node in handed for part in ast.walk(node))


def dropped_calls(function: FunctionNode) -> Iterator[tuple[ast.Call, bool]]:
    """Go through the calls whose result nobody takes, and tell of each whether it calls a local `async def`."""
    pending: list[tuple[ast.AST, Collection[str], Mapping[str, bool]]] = [(function, (), {})]
    while pending:
        node, bound, local = pending.pop()
        if isinstance(node, FUNCTIONS):
            bound = {*bound, *bound_names(node)}
            local = {**local, **_local_functions(node)}
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Call):
            called = node.value.func
            first = _first_name(called)
            if isinstance(called, ast.Name) and local.get(called.id):
                yield node.value, True
            elif first and first not in bound:
                yield node.value, False
        pending += [(child, bound, local) for child in ast.iter_child_nodes(node)]


def never_awaited(call: str) -> Judgement:
    """Judge a request that nobody awaits."""
    return Judgement("never-awaited", f"{call}(…) is never awaited, so it never happens", f"write: await {call}(…)")


def _look(
    node: ast.AST, name: str, shown: str, members: Mapping[str, Member], services: frozenset[str], found: Asked
) -> None:
    if isinstance(node, ast.Attribute) and _is(node.value, name):
        if node.attr not in members and not node.attr.startswith("_"):
            found.judgements.append((node, _unknown(shown, node.attr, members, services)))
    elif isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and _is(node.func.value, name):
        member = members.get(node.func.attr)
        for keyword in node.keywords:
            if member and member.keywords is not None and keyword.arg and keyword.arg not in member.keywords:
                judgement = _no_option(f"{shown}.{node.func.attr}", keyword.arg, member.keywords)
                found.judgements.append((keyword, judgement))
        if shown == "step" and node.func.attr in _STARTERS:
            found.started.extend(_started(node))
    elif isinstance(node, ast.Expr) and isinstance(node.value, ast.Call):
        called = node.value.func
        if isinstance(called, ast.Attribute) and _is(called.value, name):
            member = members.get(called.attr)
            if member and member.awaited:
                found.judgements.append((node.value, never_awaited(f"{name}.{called.attr}")))


def _unknown(shown: str, name: str, members: Mapping[str, Member], services: frozenset[str]) -> Judgement:
    if shown == "ctx" and name in services:
        return Judgement(
            "service-in-body",
            f"ctx.{name} is for steps, not for bodies: what it returns changes from one replay to the next",
            f'do it in a step: await step.run("…", lambda: ctx.{name}.…), or current_step().{name} in the step',
        )
    return Judgement("unknown-name", f"{shown} has no {name!r}", _nearest(name, members))


def _no_option(call: str, name: str, keywords: tuple[str, ...]) -> Judgement:
    return Judgement(
        "unknown-option",
        f"{call}(…) takes no {name!r}; keyword arguments are options of the call",
        f"{_nearest(name, keywords)} (a keyword of the function: bind it with a lambda or functools.partial)",
    )


def _nearest(name: str, known: Collection[str]) -> str:
    close = difflib.get_close_matches(name, known, n=1)
    return f"did you mean {close[0]}?" if close else f"use one of {', '.join(known)}"


def _started(call: ast.Call) -> Iterator[tuple[str, ast.expr]]:
    given = [keyword.value for keyword in call.keywords if keyword.arg == "workflow"]
    if len(call.args) > 1 and not any(isinstance(argument, ast.Starred) for argument in call.args[:2]):
        given.append(call.args[1])
    for workflow in given:
        if isinstance(workflow, ast.Constant) and isinstance(workflow.value, str):
            yield workflow.value, workflow


# ── trees ────────────────────────────────────────────────────────────────────────────────────────


def _is(node: ast.expr, name: str) -> bool:
    return isinstance(node, ast.Name) and node.id == name


def _last_name(annotation: ast.expr | None) -> str:
    if isinstance(annotation, ast.Constant) and isinstance(annotation.value, str):
        return annotation.value.rpartition(".")[2]
    return annotation.id if isinstance(annotation, ast.Name) else getattr(annotation, "attr", "")


def _first_name(node: ast.expr) -> str:
    while isinstance(node, ast.Attribute):
        node = node.value
    return node.id if isinstance(node, ast.Name) else ""


def _is_rebound(function: FunctionNode, name: str) -> bool:
    return any(
        isinstance(node, ast.Name) and node.id == name and not isinstance(node.ctx, ast.Load)
        for node in ast.walk(function)
    )


def _seeing(function: FunctionNode, name: str) -> Iterator[ast.AST]:
    """Go through the nodes of a function for which `name` is the function's own parameter."""
    pending: list[ast.AST] = list(function.body) if isinstance(function.body, list) else [function.body]
    while pending:
        node = pending.pop()
        if isinstance(node, FUNCTIONS) and name in bound_names(node):
            continue
        if isinstance(node, COMPREHENSIONS) and name in comprehension_names(node):
            continue
        yield node
        pending.extend(ast.iter_child_nodes(node))


def _local_functions(function: FunctionNode) -> dict[str, bool]:
    """The functions that a function defines, and of each whether a call of it is to be awaited."""
    if isinstance(function, ast.Lambda):
        return {}
    return {
        node.name: isinstance(node, ast.AsyncFunctionDef) and not node.decorator_list and not _gives_values(node)
        for node in function.body
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
    }


def _gives_values(function: ast.AsyncFunctionDef) -> bool:
    return any(isinstance(node, ast.Yield) for node in ast.walk(function))
