"""What has no lossless encoding is refused, with the path to it and a fix that fits."""

from __future__ import annotations

import array
import asyncio
import dataclasses
import datetime as dt
import re
import threading
import types
from collections.abc import Callable
from typing import Any

import pydantic
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from value_strategies import Box, Line, Node, Open, Order, Point, values

from perdure.errors import NotSerializable
from perdure.storage.encoding import encode, encode_arguments


class Bad:
    """Has no encoding."""


class Shouting(str):
    """A subclass of a builtin type."""


@dataclasses.dataclass
class Named(dict[str, int]):
    """A dataclass that is a dict as well: two places for contents."""

    name: str


def refused(value: object) -> NotSerializable:
    with pytest.raises(NotSerializable) as caught:
        encode(value)
    return caught.value


def _local() -> object:
    @dataclasses.dataclass
    class Local:
        n: int

    return Local(1)


async def _coroutine() -> None: ...


def _in_foreign_zone() -> dt.datetime:
    class Zone(dt.tzinfo):
        def utcoffset(self, moment: dt.datetime | None) -> dt.timedelta:
            return dt.timedelta(0)

    return dt.datetime(2024, 1, 1, tzinfo=Zone())


FIXES: list[tuple[Callable[[], object], str]] = [
    (lambda: print, "pass its name"),
    (lambda: _local, "pass its name"),
    (lambda: int, "pass its name"),
    (lambda: re.compile("a"), "value.pattern"),
    (lambda: (i for i in ()), "make it a list"),
    (lambda: map(str, ()), "make it a list"),
    (lambda: {}.keys(), "make it a list"),
    (lambda: threading.Lock(), "create it where it is used"),
    (lambda: asyncio.Lock(), "create it where it is used"),
    (lambda: memoryview(b""), "bytes(value)"),
    (lambda: array.array("i"), "tolist"),
    (lambda: ValueError("no"), "str(error)"),
    (lambda: types.SimpleNamespace(), "vars(value)"),
    (lambda: types.MappingProxyType({}), "dict(value)"),
    (lambda: slice(1), "value.start"),
    (lambda: Shouting("a"), "str(value)"),
    (lambda: Named("a"), "dict(value)"),
    (_local, "module level"),
    (lambda: Bad(), "dataclass"),
    (_in_foreign_zone, "zoneinfo"),
    (lambda: pydantic.SecretStr("x"), "inside the step"),
    (lambda: types, "pass its name"),
]


@pytest.mark.parametrize(("make", "fix"), FIXES, ids=map(str, range(len(FIXES))))
def test_the_fix_fits_the_kind_of_value(make: Callable[[], object], fix: str) -> None:
    error = refused({"items": [1, make()]})
    assert error.path == "$.items[1]"
    assert error.path in str(error).partition("\n")[0]
    assert fix in error.fix


def test_an_open_file_should_be_passed_by_its_path(tmp_path: Any) -> None:
    with open(tmp_path / "a", "w") as file:
        assert "path" in refused(file).fix


def test_a_coroutine_should_be_awaited() -> None:
    coroutine = _coroutine()
    try:
        assert "await it first" in refused(coroutine).fix
    finally:
        coroutine.close()


def _model(bad: object) -> Open:
    model = Open(name="n")
    model._seen = bad
    return model


PATHS: list[tuple[Callable[[object], object], str]] = [
    (lambda bad: bad, "$"),
    (lambda bad: [[], [0, bad]], "$[1][1]"),
    (lambda bad: {"a b": (bad,)}, "$['a b'][0]"),
    (lambda bad: {"x": {5: bad}}, "$.x[5]"),
    (lambda bad: {"x": {bad: 5}}, "$.x.keys()[0]"),
    (lambda bad: {"x": {bad}}, "$.x[*]"),
    (lambda bad: Line("a", Node(bad)), "$.price.value"),
    (lambda bad: Point(1, bad), "$.y"),
    (lambda bad: Order(order_id="o", lines=[bad]), "$.lines[0]"),
    (lambda bad: _model(bad), "$._seen"),
    (lambda bad: Box[Any](item=bad), "$.item"),
]


@pytest.mark.parametrize(("around", "path"), PATHS, ids=[path for _, path in PATHS])
def test_the_path_leads_to_the_value(around: Callable[[object], object], path: str) -> None:
    assert refused(around(Bad())).path == path


@settings(max_examples=100, deadline=None, suppress_health_check=list(HealthCheck))
@given(st.data(), st.lists(values(max_leaves=3), max_size=3), st.integers(1, 5))
def test_the_path_is_right_wherever_a_bad_value_is_planted(data: st.DataObject, beside: list[Any], depth: int) -> None:
    value: object = Bad()
    path = ""
    for _ in range(depth):
        if data.draw(st.booleans()):
            index = data.draw(st.integers(0, len(beside)))
            value, path = [*beside[:index], value, *beside[index:]], f"[{index}]{path}"
        else:
            name = data.draw(st.sampled_from(["sku", "a b", "größe"]))
            value = {"before": beside, name: value}
            path = (f".{name}" if name.isidentifier() else f"[{name!r}]") + path
    assert refused(value).path == f"${path}"


def test_an_argument_is_named_by_its_index() -> None:
    with pytest.raises(NotSerializable) as caught:
        encode_arguments((1, {"a": Bad()}))
    assert caught.value.path == "$[1].a"


def test_a_cycle_is_refused_where_it_closes() -> None:
    inner: dict[str, Any] = {"y": [1]}
    inner["y"].append(inner)
    error = refused({"x": inner})
    assert error.path == "$.x.y[1]"
    assert "the same object as $.x" in str(error)
    node = Line("a")
    node.price = node
    assert refused([node]).path == "$[0].price"


def test_very_deep_values_are_refused_and_hundred_levels_are_not() -> None:
    value: list[Any] = []
    for _ in range(99):
        value = [value]
    assert encode(value).body == "[" * 100 + "]" * 100
    for _ in range(5000):
        value = [value]
    error = refused(value)
    assert "nested more than 100 levels" in str(error)
    assert "flatten" in error.fix


def test_a_class_that_lost_its_name_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    value = Gone()
    monkeypatch.setitem(globals(), "Gone", dataclasses.make_dataclass("Gone", []))
    assert "no longer the one of that name" in str(refused(value))
    monkeypatch.delitem(globals(), "Gone")
    assert "is not in the module" in str(refused(value))


@dataclasses.dataclass
class Gone:
    pass
