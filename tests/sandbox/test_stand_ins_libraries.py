"""What a body gets for each library, why it does not get the rest, and that nothing leads from a facade to a module."""
# ruff: noqa: E501  # tables, a row each

from __future__ import annotations

import asyncio
import collections
import datetime
import decimal
import fractions
import functools
import importlib
import inspect
import json
import logging
import math
import operator
import os
import pathlib
import random
import re
import shlex
import socket
import subprocess
import sys
import time
import types
import urllib.parse
import uuid
from collections.abc import Iterator

import pydantic
import pytest

from perdure.errors import FatalError, SandboxViolation
from perdure.sandbox import allow_list, libraries, vocabulary
from perdure.sandbox.builtins import base_builtins
from perdure.sandbox.sets import OrderedFrozenSet, OrderedSet
from perdure.sandbox.stand_ins.facade import Facade

ALLOWED = sorted({*allow_list.WHOLE, *allow_list.MEMBERS, *allow_list.PARENTS})
HARMLESS = [
    math.sqrt, json.dumps, decimal.Decimal, decimal.Decimal("1.5"), fractions.Fraction(1, 2), re.compile("a"), uuid.UUID,
    collections.Counter, os.path.join, urllib.parse.quote, datetime.timedelta, datetime.UTC, datetime.date(2024, 1, 2),
    len, str, int, ValueError, 1, "a", None, operator.itemgetter(1), functools.partial(math.pow, 2), "x".join, str.upper,
    re.compile("a").match, pydantic.BaseModel, asyncio.Queue, list[int], int | None, FatalError,
]  # fmt: skip
REPLACED = [
    time.time, time.monotonic, datetime.datetime, datetime.date, datetime.datetime.now, datetime.date.today, random.random,
    random.randint, random.Random, uuid.uuid4, uuid.uuid1, asyncio.sleep, asyncio.wait, asyncio.TaskGroup, hash, print, set,
    functools.partial(time.time), functools.partial(random.randint, 1), repr,
]  # fmt: skip
REFUSED = [
    time.sleep, os.environ, os.getenv, os.system, os.path.exists, open, eval, exec, id, random.SystemRandom, uuid.getnode,
    socket.socket, subprocess.run, pathlib.Path, pathlib.Path("x"), operator.attrgetter, functools.wraps, random.Random(1),
    random.SystemRandom(), asyncio.run, pydantic.TypeAdapter, sys.stdout, functools.partial(time.sleep, 1), importlib.import_module,
]  # fmt: skip


def name_of(value: object) -> str:
    """The same name in every process, without an address or what the environment holds."""
    return "os.environ" if value is os.environ else re.sub(r" at 0x\w+", "", str(value))[:60]


@pytest.mark.parametrize("value", HARMLESS, ids=name_of)
def test_what_is_harmless_is_given_as_it_is(value):
    assert libraries.resolve_object(value) is value
    assert libraries.refusal(value) is None


@pytest.mark.parametrize("value", REPLACED, ids=name_of)
def test_what_is_not_deterministic_is_replaced(value):
    found = libraries.resolve_object(value)
    assert found is not None
    assert found is not value
    assert libraries.refusal(value) is None


@pytest.mark.parametrize("value", REFUSED, ids=name_of)
def test_what_reaches_the_world_is_refused_for_certain_with_reason_and_fix(value):
    assert libraries.resolve_object(value) is None
    refusal = libraries.refusal(value)
    assert refusal.certain
    assert refusal.why
    assert refusal.fix
    assert refusal.name in str(refusal.error())


@pytest.mark.parametrize(
    "value", [shlex.split, shlex.shlex, logging.getLogger, logging.getLogger("x"), "{}".format], ids=name_of
)
def test_what_nobody_vouched_for_is_a_suspicion(value):
    assert libraries.resolve_object(value) is None
    assert not libraries.refusal(value).certain


@pytest.mark.parametrize("name", ALLOWED)
def test_a_facade_is_made_once_holds_what_is_listed_and_can_not_be_changed(name):
    module = importlib.import_module(name)
    facade = libraries.resolve(module)
    assert facade is libraries.resolve(module)
    if name in allow_list.MEMBERS:
        for member in allow_list.MEMBERS[name].split():
            if hasattr(module, member):
                assert getattr(facade, member) is not None
    with pytest.raises(SandboxViolation, match="can't be changed"):
        facade.anything = 1
    with pytest.raises(SandboxViolation, match="can't be changed"):
        del facade.anything
    with pytest.raises(AttributeError):
        facade._private  # noqa: B018  # reading is what is tried
    with pytest.raises((SandboxViolation, AttributeError)):
        facade.no_such_member  # noqa: B018


def test_submodules_are_reached_through_their_parents():
    assert libraries.resolve(urllib).parse is libraries.resolve(urllib.parse)
    assert libraries.resolve(os).path.join("a", "b") == os.path.join("a", "b")
    assert libraries.resolve(collections).abc is libraries.resolve(collections.abc)


@pytest.mark.parametrize(
    ("dotted", "expected"),
    [
        ("time.sleep", True), ("os.environ", True), ("open", True), ("requests.get", True), ("os.path.exists", True),
        ("asyncio.run", True), ("typing.get_type_hints", True), ("urllib.request.urlopen", True), ("logging.info", False),
        ("time.time", None), ("os.path.join", None), ("json", None), ("json.dumps", None), ("random.random", None),
        ("datetime.datetime.now", None), ("unknown_library.call", None), ("asyncio.gather", None), ("re.compile", None),
    ],
)  # fmt: skip
def test_names_are_judged_before_anything_is_imported(dotted, expected):
    refusal = libraries.static_refusal(dotted)
    assert (None if refusal is None else refusal.certain) is expected
    if refusal is not None:
        assert refusal.name == dotted
        assert refusal.fix


def test_a_library_can_be_vouched_for_and_what_it_re_exports_keeps_its_verdict():
    assert libraries.resolve(shlex) is None
    libraries.allow("shlex")
    try:
        facade = libraries.resolve(shlex)
        assert facade.split("a b") == ["a", "b"]
        assert libraries.resolve_object(shlex.split) is shlex.split
        assert facade.os is libraries.resolve(os)
        with pytest.raises(SandboxViolation, match="sys"):
            facade.sys  # noqa: B018
    finally:
        libraries.disallow("shlex")
    assert libraries.resolve_object(shlex.split) is None


def test_vouching_does_not_help_what_is_refused_for_certain():
    with pytest.raises(ValueError, match="subprocess"):
        libraries.allow("subprocess")


def test_an_unvouched_module_is_a_facade_too():
    facade = libraries.resolve_leniently(shlex)
    assert isinstance(facade, Facade)
    assert facade.split("a b") == ["a", "b"]
    assert not isinstance(facade.os, types.ModuleType)
    assert libraries.resolve_leniently(subprocess) is None


# ── reachability ──

FORBIDDEN = (types.ModuleType, types.FrameType, types.CodeType, types.CellType)
DANGEROUS = {
    id(each) for each in (eval, exec, compile, open, __import__, globals, locals, vars, type, os.system, os.environ)
}


def neighbours(value: object) -> Iterator[tuple[str, object]]:
    """Go through what a body reaches from a value: attributes that the policy lets pass, and containers' contents."""
    for name in dir(value):
        if name.startswith("_") or name in vocabulary.DENIED_ATTRIBUTES:
            continue
        try:
            yield f".{name}", inspect.getattr_static(value, name) if isinstance(value, type) else getattr(value, name)
            yield f".{name}", getattr(value, name)
        except Exception:  # noqa: BLE001  # an attribute that a body can't read either
            continue
    if isinstance(value, dict):
        for key, item in list(value.items())[:50]:
            yield "[…]", key
            yield f"[{key!r}]", item
    elif isinstance(value, list | tuple | set | frozenset):
        for item in list(value)[:50]:
            yield "[…]", item


def samples() -> list[tuple[str, object]]:
    """Give what bodies hold: builtins, facades, and objects of common types."""
    found = [(name, value) for name, value in base_builtins().items() if not name.startswith(("%", "_"))]
    found += [(name, libraries.resolve(importlib.import_module(name))) for name in ALLOWED]
    loop = asyncio.new_event_loop()
    future = loop.create_future()
    future.cancel()
    loop.close()
    found += [
        ("match", re.match("a", "a")), ("error", ValueError("x")), ("group", ExceptionGroup("x", [ValueError()])),
        ("partial", functools.partial(int, "1")), ("decimal", decimal.Decimal(1)), ("now", datetime.datetime.now()),
        ("counter", collections.Counter("ab")), ("deque", collections.deque([1])), ("future", future), ("set", OrderedSet("ab")),
        ("frozenset", OrderedFrozenSet("ab")), ("uuid", uuid.uuid4()), ("generator", (x for x in ())), ("queue", asyncio.Queue()),
        ("path", pathlib.PurePosixPath("a")), ("lock", asyncio.Lock()), ("random", random.Random(1)), ("function", lambda: 0),
    ]  # fmt: skip
    return found


def is_denied(path: str, value: object) -> bool:
    """Tell whether a guard at run time stands in the way: it looks at the object, which this scan does not."""
    name = path.rpartition(".")[2]
    return name in vocabulary.WATCHED_ATTRIBUTES or name == "register"


def test_nothing_that_a_body_reaches_is_a_module_a_frame_or_a_way_to_run_code():
    seen: set[int] = set()
    kept: list[object] = []  # so that no identity is used twice
    layer = samples()
    reached: list[str] = []
    for _ in range(4):
        following: list[tuple[str, object]] = []
        for path, value in layer:
            if id(value) in seen or is_denied(path, value):
                continue
            seen.add(id(value))
            kept.append(value)
            if isinstance(value, FORBIDDEN) or id(value) in DANGEROUS:
                reached.append(path)
            elif not isinstance(value, int | float | str | bytes | None):
                following += [(path + step, inner) for step, inner in neighbours(value)]
        layer = following
    assert reached == []
    assert len(seen) > 3000
