"""What a body asks of `step` and `ctx` in vain is found when it is declared, and nothing else is."""

from __future__ import annotations

import importlib.util
import itertools
import sys
import textwrap
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType

import pytest

from perdure import DeterminismWarning, PolicyViolation

HEAD = """
import asyncio, time, uuid
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime
from typing import ClassVar
from pydantic import BaseModel, Field, field_validator, model_validator
from perdure{strict} import StepContext, step, workflow

@step
async def ship(order: str = "") -> str:
    return order

async def helper() -> None: ...

def plain() -> None: ...
"""
_numbers = itertools.count()


@pytest.fixture
def declared(tmp_path: Path) -> Iterator[Callable[..., ModuleType]]:
    """Import a text as a module, with `HEAD` before it."""
    made: list[str] = []

    def load(text: str, *, strict: bool = True) -> ModuleType:
        name = f"declared_{next(_numbers)}"
        path = tmp_path / f"{name}.py"
        path.write_text(HEAD.format(strict=".strict" if strict else "") + textwrap.dedent(text), encoding="utf-8")
        spec = importlib.util.spec_from_file_location(name, path)
        assert spec is not None
        assert spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        sys.modules[name] = module
        made.append(name)
        spec.loader.exec_module(module)
        for each in vars(module).values():
            if hasattr(each, "link"):
                each.link()
        return module

    yield load
    for name in made:
        del sys.modules[name]


def body(lines: str) -> str:
    return "@workflow(id='tried')\nasync def tried(input: None, step, ctx):\n" + textwrap.indent(
        textwrap.dedent(lines).strip() + "\n", "    "
    )


FOUND = {
    "step.run": ("step.run('a', plain)", "never-awaited"),
    "step.sleep": ("step.sleep('1h')", "never-awaited"),
    "step.map": ("step.map('a', ship, [])", "never-awaited"),
    "decorated step": ("ship('x')", "never-awaited"),
    "async helper": ("helper()", "never-awaited"),
    "local async def": ("async def inside():\n    await ship()\ninside()", "never-awaited"),
    "asyncio.sleep": ("asyncio.sleep(1)", "never-awaited"),
    "in a nested function": ("async def inside():\n    step.sleep(1)\nawait inside()", "never-awaited"),
    "unknown method": ("await step.wait_for_events('a', type='b')", "unknown-name"),
    "unknown attribute": ("print(ctx.runid)", "unknown-name"),
    "unknown option": ("await step.run('a', plain, retires=2)", "unknown-option"),
    "unknown option of a wait": ("await step.wait_for_event('a', typ='b')", "unknown-option"),
    "service": ("ctx.kv.get('x')", "service-in-body"),
    "bare except": ("try:\n    await ship()\nexcept:\n    pass", "swallows-cancellation"),
    "bare except in a nested function": (
        "async def inside():\n    try:\n        await ship()\n    except:\n        pass\nawait inside()",
        "swallows-cancellation",
    ),
    "around async with": (
        "try:\n    async with asyncio.timeout(1):\n        plain()\nexcept BaseException:\n    pass",
        "swallows-cancellation",
    ),
    "raise in a function of the handler": (
        "try:\n    await ship()\nexcept BaseException:\n    def later():\n        raise ValueError\n    print(later)",
        "swallows-cancellation",
    ),
    "except in a tuple": (
        "try:\n    await ship()\nexcept (KeyError, BaseException) as error:\n    pass",
        "swallows-cancellation",
    ),
}


@pytest.mark.parametrize(("lines", "rule"), FOUND.values(), ids=FOUND)
def test_it_is_found_at_import(declared, lines: str, rule: str) -> None:
    with pytest.raises(PolicyViolation) as refused:
        declared(body(lines))
    (finding,) = refused.value.findings
    assert finding.rule == rule
    assert finding.fix


HARMLESS = {
    "awaited": "await step.run('a', plain)\nawait ship()\nawait helper()",
    "kept": "kept = ship()\nawait kept",
    "task": "task = asyncio.create_task(ship())\nawait task",
    "plain call": "plain()\nctx.log.info('x')\nprint(ctx.run_id)",
    "another object called step": "def of(step):\n    return step.real\nof(1)",
    "names of a comprehension": "print([ctx.real for ctx in [1]])",
    "options by another name": "options = {'retries': 1}\nawait step.run('a', plain, **options)",
    "saga": "try:\n    await ship()\nexcept BaseException:\n    await ship()\n    raise",
    "kept exception": "try:\n    await ship()\nexcept BaseException as error:\n    kept = error",
    "named cancellation": (
        "try:\n    await ship()\nexcept asyncio.CancelledError:\n    pass\nexcept BaseException:\n    pass"
    ),
    "nothing waits": "try:\n    plain()\nexcept BaseException:\n    pass",
    "only a function there waits": (
        "try:\n    async def later():\n        await ship()\nexcept BaseException:\n    pass\nawait later()"
    ),
    "a step's own handler": (
        "async def guarded():\n    try:\n        await asyncio.sleep(0)\n    except BaseException:\n        pass\n"
        "await step.run('a', guarded)"
    ),
    "ordinary except": "try:\n    await ship()\nexcept Exception:\n    pass",
}


@pytest.mark.parametrize("lines", HARMLESS.values(), ids=HARMLESS)
def test_what_is_right_is_let_through(declared, lines: str) -> None:
    declared(body(lines))


def test_a_helper_is_looked_into_by_its_annotation(declared) -> None:
    with pytest.raises(PolicyViolation) as refused:
        declared("async def grace(asks: StepContext) -> None:\n    asks.sleep('1h')\n" + body("await grace(step)"))
    assert [finding.rule for finding in refused.value.findings] == ["never-awaited"]
    assert refused.value.findings[0].via == ("tried", "grace")


def test_all_of_them_come_at_once_in_line_order(declared) -> None:
    with pytest.raises(PolicyViolation) as refused:
        declared(body("ship()\nprint(ctx.runid)\nawait step.run('a', plain, retires=2)\nopen('x')"))
    rules = [finding.rule for finding in refused.value.findings]
    assert rules == ["never-awaited", "unknown-name", "unknown-option", "refused"]


SHARED = {
    "dictionary": ("known = {}", "T.known['a'] = 1"),
    "name with an underscore behind": ("type_ = []", "T.type_.append(1)"),
    "annotated list": ("known: ClassVar[list[int]] = []", "T.known.append(1)"),
    "through an instance": ("known = set()", "T().known.add(1)"),
}


@pytest.mark.parametrize(("attribute", "line"), SHARED.values(), ids=SHARED)
def test_a_container_of_a_class_is_refused_where_it_is_written(declared, attribute: str, line: str) -> None:
    text = f"class T:\n    {attribute}\n" + body(line)
    with pytest.raises(PolicyViolation) as refused:
        declared(text)
    (finding,) = refused.value.findings
    assert (finding.rule, finding.source.strip()) == ("mutable-class-attribute", attribute)
    with pytest.warns(DeterminismWarning, match="mutable-class-attribute"):
        declared(text, strict=False)


UNSHARED = {
    "constant": "class T:\n    known = (1, 2)\n" + body("print(T.known)"),
    "nobody reads it": "class T:\n    known = {}\n    def other(self):\n        return 1\n"
    + body("print(T().other())"),
    "made for each instance": "@dataclass\nclass T:\n    known: list = field(default_factory=list)\n"
    + body("T().known.append(1)"),
    "configuration of a model": "class T(BaseModel):\n    model_config = {'frozen': True}\n    at: int = 0\n"
    + body("print(T().at, T.model_config)"),
    "field of a model": "class T(BaseModel):\n    known: list[int] = []\n" + body("T().known.append(1)"),
}


@pytest.mark.parametrize("text", UNSHARED.values(), ids=UNSHARED)
def test_what_no_run_shares_is_let_through(declared, text: str) -> None:
    declared(text)


MODEL = """
class T(BaseModel):
    id: uuid.UUID = Field(default_factory=uuid.uuid4)
    at: datetime = Field(default_factory=datetime.now)
    name: str = Field(default_factory=lambda: str(time.time()))
    items: list[int] = Field(default_factory=list)
"""


def test_a_class_that_registers_its_subclasses_at_import_is_let_through(declared) -> None:
    declared(
        """
class Base:
    known = ()
    def __init_subclass__(cls, **options):
        super().__init_subclass__(**options)
        cls.known = (*cls.known, cls.__name__)

class Child(Base):
    pass
"""
        + body("return Child().known")
    )


def test_defaults_that_a_body_leaves_to_the_real_clock_are_refused(declared) -> None:
    with pytest.raises(PolicyViolation) as refused:
        declared(MODEL + body("print(T())"))
    assert [finding.rule for finding in refused.value.findings] == ["native-call", "native-default"]
    assert "T.id by uuid4 and T.at by datetime.now" in refused.value.findings[1].message


def test_a_body_that_gives_them_itself_is_let_through(declared) -> None:
    declared(MODEL + body("print(T(id=uuid.uuid4(), at=datetime.now(), name='x'))"))


STAMPED = """
@dataclass
class T:
    id: uuid.UUID = field(default_factory=uuid.uuid4)
    seen: set[str] = field(init=False, default_factory=set)
    note: str = field(kw_only=True, default_factory=str)
    items: list[int] = field(default_factory=list)
"""


@pytest.mark.parametrize(
    "line", ["T(uuid.uuid4())", "T(*[uuid.uuid4()])", "T(**{'id': uuid.uuid4()})", "T(id=uuid.uuid4(), items=[])"]
)
def test_however_a_body_gives_them_it_is_let_through(declared, line: str) -> None:
    declared(STAMPED + body(line))


def test_of_places_that_nobody_can_count_nothing_is_said(declared) -> None:
    both = "".join(f"    {name}: uuid.UUID = field(default_factory=uuid.uuid4)\n" for name in ("id", "key"))
    declared(f"@dataclass\nclass T:\n{both}" + body("keys = [uuid.uuid4(), uuid.uuid4()]\nprint(T(*keys))"))


@pytest.mark.parametrize("options", ["init=False, ", "kw_only=True, "])
def test_a_place_in_the_call_gives_no_field_that_has_none(declared, options: str) -> None:
    made = f"@dataclass\nclass T:\n    id: object = field({options}default_factory=uuid.uuid4)\n    name: str = ''\n"
    with pytest.raises(PolicyViolation, match=r"T\.id by uuid4"):
        declared(made + body("T('x')"))


@pytest.mark.parametrize("line", ["T()", "T(items=[1])"])
def test_a_dataclass_that_is_left_to_make_them_is_refused(declared, line: str) -> None:
    with pytest.raises(PolicyViolation, match="native-default"):
        declared(STAMPED + body(line))


@pytest.mark.parametrize("factory", ["partial(uuid.uuid4)", "lambda: uuid.uuid4()", "datetime.now", "time.time"])
def test_whatever_the_factory_is_made_of_it_is_refused(declared, factory: str) -> None:
    text = f"from functools import partial\n@dataclass\nclass T:\n    at: object = field(default_factory={factory})\n"
    with pytest.raises(PolicyViolation, match="native-"):
        declared(text + body("T()"))
    with pytest.raises(PolicyViolation, match="native-"):  # certain, so the lenient import refuses it too
        declared(text + body("T()"), strict=False)


@pytest.mark.parametrize("factory", ["list", "Part", "frozenset", "partial(dict, a=1)", "lambda: [1]"])
def test_a_factory_that_makes_the_same_is_let_through(declared, factory: str) -> None:
    declared(
        "from functools import partial\nclass Part:\n    pass\n"
        + f"@dataclass\nclass T:\n    at: object = field(default_factory={factory})\n"
        + body("T()")
    )


def test_a_model_with_such_defaults_may_be_the_input(declared) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        declared(MODEL + "@workflow(id='tried')\nasync def tried(input: T, step):\n    print(input.id)\n")


FIELD_VALIDATOR = (
    "@field_validator('at')\n    @classmethod\n    def stamped(cls, at):\n        return at + str(time.time())"
)
MODEL_VALIDATOR = (
    "@model_validator(mode='after')\n    def stamped(self):\n        self.at = str(time.time())\n        return self"
)


@pytest.mark.parametrize("validator", [FIELD_VALIDATOR, MODEL_VALIDATOR], ids=["field", "model"])
def test_a_validator_that_reads_the_clock_is_refused_where_a_body_makes_the_model(declared, validator: str) -> None:
    model = f"class T(BaseModel):\n    at: str\n    {validator}\n"
    with pytest.raises(PolicyViolation, match="native-call"):
        declared(model + body("print(T(at='x'))"))
    declared(model + "@workflow(id='tried')\nasync def tried(input: T, step):\n    print(input.at)\n")
