"""Recorded values meet classes that have changed since, and scripts that are run instead of imported."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from perdure.errors import ValueUnreadable
from perdure.storage.encoding import decode, encode

HEAD = """
import dataclasses, enum, typing
import pydantic
"""


@pytest.fixture
def shop(monkeypatch: pytest.MonkeyPatch) -> Callable[[str], ModuleType]:
    """Give a function that (re)defines the module `shop` from source."""

    def define(source: str) -> ModuleType:
        module = ModuleType("shop")
        monkeypatch.setitem(sys.modules, "shop", module)
        exec(HEAD + source, module.__dict__)
        return module

    return define


Shop = Callable[[str], Any]


def test_a_gained_field_gets_its_default(shop: Shop) -> None:
    old = shop("""
@dataclasses.dataclass
class Line: sku: str
class Order(pydantic.BaseModel): order_id: str
class Point(typing.NamedTuple): x: int
""")
    recorded = encode([old.Line("a"), old.Order(order_id="o"), old.Point(1)])
    shop("""
@dataclasses.dataclass
class Line:
    sku: str
    tags: list = dataclasses.field(default_factory=list)
class Order(pydantic.BaseModel):
    order_id: str
    note: str = "none"
    _seen: int = pydantic.PrivateAttr(default=7)
class Point(typing.NamedTuple):
    x: int
    y: int = 5
""")
    line, order, point = decode(*recorded)  # type: ignore[misc]
    assert line.tags == []
    assert (order.note, order._seen, order.model_fields_set) == ("none", 7, {"order_id", "note"} - {"note"})
    assert point == (1, 5)


def test_a_lost_field_is_dropped_but_for_models_that_allow_extra_fields(shop: Shop) -> None:
    source = """
@dataclasses.dataclass
class Line:
    sku: str
    {gone}: int = 1
class Order(pydantic.BaseModel):
    sku: str
    {gone}: int = 1
class Open(pydantic.BaseModel, extra="allow"):
    sku: str
    {gone}: int = 1
class Point(typing.NamedTuple):
    x: int
    {gone}: int = 1
"""
    old = shop(source.format(gone="gone"))
    recorded = encode([old.Line("a", 2), old.Order(sku="o", gone=2), old.Open(sku="p", gone=2), old.Point(1, 2)])
    shop(source.format(gone="came"))
    line, order, open_model, point = decode(*recorded)  # type: ignore[misc]
    assert vars(line) == {"sku": "a", "came": 1}
    assert order.model_dump() == {"sku": "o", "came": 1}
    assert open_model.model_dump() == {"sku": "p", "came": 1, "gone": 2}
    assert point == (1, 1)


@pytest.mark.parametrize(
    "kind", ["@dataclasses.dataclass\nclass A", "class A(pydantic.BaseModel)", "class A(typing.NamedTuple)"]
)
def test_a_gained_field_without_a_default_can_not_be_read(shop: Shop, kind: str) -> None:
    old = shop(f"{kind}:\n    x: int")
    recorded = encode({"rows": [old.A(x=1)]})
    shop(f"{kind}:\n    x: int\n    y: int")
    with pytest.raises(ValueUnreadable, match="gained the field 'y'") as caught:
        decode(*recorded)
    assert (caught.value.path, caught.value.recorded_type) == ("$.rows[0]", "shop:A")
    assert "default" in caught.value.fix


def test_a_class_that_is_gone_is_named_with_its_path(shop: Shop) -> None:
    recorded = encode((1, {"a b": shop("class A(pydantic.BaseModel): x: int").A(x=1)}))
    shop("")
    with pytest.raises(ValueUnreadable) as caught:
        decode(*recorded)
    assert (caught.value.path, caught.value.recorded_type) == ("$[1]['a b']", "shop:A")
    assert "is not in the module shop" in str(caught.value)


def test_a_class_that_became_another_kind_can_not_be_read(shop: Shop) -> None:
    recorded = encode(shop("@dataclasses.dataclass\nclass A: x: int").A(1))
    shop("class A(pydantic.BaseModel): x: int")
    with pytest.raises(ValueUnreadable, match="was a dataclass"):
        decode(*recorded)


def test_a_module_that_can_not_be_imported_is_named() -> None:
    with pytest.raises(ValueUnreadable, match=r"no_such_module:A.*can't be imported: ModuleNotFoundError"):
        decode("{}", '{"dataclass":"no_such_module:A"}')


def test_a_lost_member_can_be_mapped_by_the_enum_itself(shop: Shop) -> None:
    recorded = encode(shop("class Colour(enum.Enum): RED = 'red'").Colour.RED)
    shop("class Colour(enum.Enum): CRIMSON = 'crimson'")
    with pytest.raises(ValueUnreadable, match="no member 'red'"):
        decode(*recorded)
    new = shop("""
class Colour(enum.Enum):
    CRIMSON = 'crimson'
    @classmethod
    def _missing_(cls, value): return cls.CRIMSON
""")
    assert decode(*recorded) is new.Colour.CRIMSON


@pytest.mark.parametrize(
    ("body", "shape"),
    [("", None), ("[1", None), ("1 2", None), ('"x"', '"Decimal"'), ("1", '{"each":"Decimal"}'), ("[]", '{"new":1}'),
     ('"x"', '"Quaternion"'), ("[1]", '{"mixed":[null],"pick":[]}'), ("{}", "{"), ('"é"', '"bytes"')],
)  # fmt: skip
def test_broken_text_is_an_error_of_ours(body: str, shape: str | None) -> None:
    with pytest.raises(ValueUnreadable) as caught:
        decode(body, shape)
    assert "perdure verify" in caught.value.fix


SCRIPT = """
import dataclasses, sys
from perdure.storage.encoding import decode, encode
@dataclasses.dataclass
class Order:
    n: int
if __name__ == "__main__":
    if len(sys.argv) > 1:
        assert type(decode(sys.argv[1], sys.argv[2])) is Order
    print(*encode(Order(1)))
"""


def test_a_script_and_its_importer_write_and_read_the_same_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "orders_script.py").write_text(SCRIPT)

    def run(*arguments: str) -> str:
        command = [sys.executable, *arguments]
        return subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=True).stdout.strip()

    expected = '{"n":1} {"dataclass":"orders_script:Order"}'
    assert run("orders_script.py") == expected
    assert run("-m", "orders_script") == expected
    body, shape = expected.split(" ")
    assert run("orders_script.py", body, shape) == expected  # what an importer wrote, read by the script
    monkeypatch.syspath_prepend(tmp_path)
    assert type(decode(body, shape)) is __import__("orders_script").Order  # and the other way round
    assert " ".join(map(str, encode(decode(body, shape)))) == expected
