"""Escapes through pydantic, which evaluates annotations, rebuilds models and can unpickle."""

import pytest

PAYLOADS = {
    "TypeAdapter of a string": """
from pydantic import TypeAdapter
def attack():
    return TypeAdapter("__import__('sys')")
""",
    "TypeAdapter by module": """
import pydantic
def attack():
    return pydantic.TypeAdapter("__import__('sys')")
""",
    "create_model": """
import pydantic
def attack():
    return pydantic.create_model("M", x=("__import__('sys')", 1))
""",
    "model in the body": """
import pydantic
class Model(pydantic.BaseModel):
    x: "__import__('os').environ" = None
def attack():
    return Model.__annotations__
""",
    "model_rebuild with a namespace": """
import pydantic
def attack():
    return pydantic.BaseModel.model_rebuild(force=True, _types_namespace={"x": 1})
""",
    "parse_raw unpickles": """
import pydantic
def attack():
    return pydantic.BaseModel.parse_raw(b"cbuiltins\\neval\\n(V1\\ntR.", proto="pickle", allow_pickle=True)
""",
    "parse_file": """
import pydantic
def attack():
    return pydantic.BaseModel.parse_file("CANARY")
""",
    "parse_raw through getattr": """
import pydantic
def attack():
    return getattr(pydantic.BaseModel, "parse_" + "raw")(b"x", proto="pickle", allow_pickle=True)
""",
    "ImportString": """
import pydantic
def attack():
    return pydantic.ImportString
""",
    "validate_call": """
import pydantic
def attack():
    @pydantic.validate_call
    def f(x: "__import__('sys')"): return x
    return f
""",
    "v1": """
import pydantic
def attack():
    return pydantic.v1
""",
    "pydantic's dataclasses": """
import pydantic
def attack():
    return pydantic.dataclasses
""",
    "pydantic's internals": """
import pydantic
def attack():
    return pydantic._internal
""",
    "the metaclass of a model": """
import pydantic
def attack():
    return type(pydantic.BaseModel).__mro__[1].__mro__[1]
""",
    "the core schema's functions": """
import pydantic
def attack():
    return pydantic.BaseModel.__pydantic_validator__
""",
    "a model's fields' factory": """
import pydantic
def attack():
    return pydantic.Field(default_factory=lambda: 1).default_factory.__globals__
""",
    "model_fields through a class": """
import pydantic
def attack():
    return pydantic.BaseModel.model_fields.__class__.__class__
""",
    "writing to BaseModel": """
import pydantic
def attack():
    pydantic.BaseModel.leak = 1
    return pydantic.BaseModel.leak
""",
    "RootModel of a string": """
import pydantic
def attack():
    return pydantic.RootModel["__import__('sys')"]
""",
    "deprecated tools": """
import pydantic
def attack():
    return pydantic.parse_obj_as
""",
    "pydantic_core": """
import pydantic_core
def attack():
    return pydantic_core
""",
}


@pytest.mark.parametrize("name", PAYLOADS)
def test_pydantic_runs_nothing_for_a_body(name, contained):
    assert contained(PAYLOADS[name]) in ("PolicyViolation", "SandboxViolation", "ordinary")


def test_base_model_is_as_it_was():
    import pydantic

    assert not hasattr(pydantic.BaseModel, "leak")
