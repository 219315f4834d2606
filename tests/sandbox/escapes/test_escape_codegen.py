"""Escapes through code that libraries generate: dataclasses, named tuples, enums, typing."""
# ruff: noqa: E501  # payloads are a table, a row each

import pytest

PAYLOADS = {
    "make_dataclass": """
import dataclasses
def attack():
    return dataclasses.make_dataclass("D", [("x", "__import__('sys')")])
""",
    "make_dataclass with a field that is code": """
import dataclasses
def attack():
    return dataclasses.make_dataclass("D", ["x=__import__('sys')"])
""",
    "namedtuple with a name that is code": """
import collections
def attack():
    return collections.namedtuple("P", ["x=__import__('sys')"])
""",
    "namedtuple with a type name that is code": """
import collections
def attack():
    return collections.namedtuple("P;import sys", "x")
""",
    "namedtuple's defaults": """
import collections
def attack():
    return collections.namedtuple("P", "x", defaults=[1]).__new__.__builtins__
""",
    "namedtuple in a module's name": """
import collections
def attack():
    return collections.namedtuple("P", "x", module="os").__module__ and collections.namedtuple("P", "x").__new__.__globals__
""",
    "dataclass writes its annotations": """
import dataclasses
@dataclasses.dataclass
class D:
    x: int
def attack():
    D.__annotations__["y=__import__('sys')"] = int
    return dataclasses.dataclass(D)
""",
    "dataclass's generated init": """
import dataclasses
@dataclasses.dataclass
class D:
    x: int
def attack():
    return D.__init__.__globals__
""",
    "dataclass default factory": """
import dataclasses
@dataclasses.dataclass
class D:
    x: object = dataclasses.field(default_factory=lambda: open("CANARY").read())
def attack():
    return D().x
""",
    "dataclass string annotation": """
import dataclasses
@dataclasses.dataclass
class D:
    x: "sys.modules" = 1
def attack():
    return dataclasses.fields(D)[0].type.__class__.__class__
""",
    "enum functional name": """
import enum
def attack():
    return enum.Enum("E", {"__class__": 1})
""",
    "enum functional module": """
import enum
def attack():
    return enum.Enum("E", "A", module="os").__class__.__class__
""",
    "enum type argument": """
import enum
def attack():
    return enum.Enum("E", "A", type=type)
""",
    "typing forward reference": """
import typing
def attack():
    return typing.ForwardRef("__import__('sys')")
""",
    "typing forward reference hidden in Optional": """
import typing
def attack():
    return typing.get_type_hints(type("X", (), {"__annotations__": {"x": typing.Optional["open"]}}))
""",
    "typed dict": """
import typing
def attack():
    return typing.TypedDict("T", {"x": "__import__('sys')"}).__annotations__["x"].__class__.__class__
""",
    "NewType's call": """
import typing
def attack():
    return typing.NewType("N", int).__call__.__globals__
""",
    "total_ordering": """
import functools
@functools.total_ordering
class X:
    def __lt__(self, other): return True
    def __eq__(self, other): return True
def attack():
    return X.__gt__.__globals__
""",
    "cached_property's function": """
import functools
class X:
    @functools.cached_property
    def p(self): return 1
def attack():
    return X.__dict__["p"].func.__globals__
""",
    "update_wrapper copies a module's names": """
import functools, json
def attack():
    class Bag: pass
    return functools.update_wrapper(Bag(), json, assigned=(), updated=("__dict__",)).__dict__
""",
    "wraps copies a module's names": """
import functools, json
def attack():
    class Bag: pass
    return functools.wraps(json, assigned=("__spec__", "__builtins__"), updated=())(Bag())
""",
    "singledispatch": """
import functools
def attack():
    @functools.singledispatch
    def f(x): return x
    return f.dispatch.__globals__
""",
    "cached function's inside": """
import functools
def attack():
    @functools.lru_cache
    def f(): return 1
    return f.__wrapped__.__globals__
""",
    "contextmanager's function": """
import contextlib
@contextlib.contextmanager
def manage():
    yield 1
def attack():
    return manage().func.__globals__
""",
    "contextmanager's generator": """
import contextlib
@contextlib.contextmanager
def manage():
    yield 1
def attack():
    return manage().gen.gi_frame
""",
    "annotations that evaluate": """
class Holder:
    x: __import__("sys") = 1
def attack():
    return Holder.__annotations__
""",
    "copy runs reduce": """
import copy
class Bomb:
    def __reduce__(self):
        return (open, ("CANARY",))
def attack():
    return copy.copy(Bomb()).read()
""",
    "deepcopy runs reduce": """
import copy
class Bomb:
    def __reduce_ex__(self, protocol):
        return (eval, ("__import__('sys')",))
def attack():
    return copy.deepcopy(Bomb())
""",
    "copyreg": """
import copyreg
def attack():
    return copyreg.dispatch_table
""",
    "JSON hook": """
import json
def attack():
    return json.loads('{"a": 1}', object_hook=lambda d: (lambda: 0).__globals__)
""",
    "regex callback": """
import re
def attack():
    found = []
    re.sub("a", lambda m: found.append((lambda: 0).__globals__) or "", "a")
    return found
""",
    "regex scanner": """
import re
def attack():
    return re.Scanner([]).scanner.__class__.__class__
""",
    "string.Template pattern": """
import string
class T(string.Template):
    pattern = "x"
def attack():
    return T.pattern.__class__.__class__
""",
}


@pytest.mark.parametrize("name", PAYLOADS)
def test_generated_code_is_no_way_out(name, contained):
    assert contained(PAYLOADS[name])


def test_dataclasses_named_tuples_and_enums_still_work():
    from perdure.sandbox import load

    module = load("""
import collections, dataclasses, enum
@dataclasses.dataclass(frozen=True, order=True)
class Point:
    x: int
    y: int = 0
Pair = collections.namedtuple("Pair", "a b")
class Colour(enum.Enum):
    RED = 1
    @property
    def label(self): return self.name.lower()
def show():
    @dataclasses.dataclass
    class Local:
        z: list = dataclasses.field(default_factory=list)
    return str(Point(1)), Pair(1, b=2).b, Colour(1).label, Local().z, Point(1) < Point(2)
""")
    assert module.show() == ("Point(x=1, y=0)", 2, "red", [], True)
