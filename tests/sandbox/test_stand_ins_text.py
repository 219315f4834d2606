"""Hashes and text: equal values hash equally and the same everywhere, and no text shows an address."""
# ruff: noqa: E501  # tables, a row each

from __future__ import annotations

import dataclasses
import datetime
import decimal
import enum
import fractions
import functools
import ipaddress
import uuid
from zoneinfo import ZoneInfo

import pydantic
import pytest
from hypothesis import given
from hypothesis import strategies as st

from perdure.errors import SandboxViolation
from perdure.sandbox import formatting
from perdure.sandbox.activation import activation
from perdure.sandbox.fixed import FixedEnvironment
from perdure.sandbox.sets import OrderedFrozenSet
from perdure.sandbox.stand_ins.hashing import stable_hash
from perdure.sandbox.stand_ins.printing import print_line

scalars = st.one_of(
    st.integers(), st.text(), st.binary(), st.none(), st.booleans(), st.floats(allow_nan=False), st.dates(), st.datetimes(),
    st.timedeltas(), st.uuids(), st.decimals(allow_nan=False), st.fractions(), st.times(),
)  # fmt: skip
values = st.recursive(
    scalars, lambda inner: st.one_of(st.tuples(inner, inner), st.frozensets(inner, max_size=3)), max_leaves=6
)


@dataclasses.dataclass(frozen=True)
class Point:
    x: int
    y: str
    note: str = dataclasses.field(default="", compare=False)


class Model(pydantic.BaseModel):
    model_config = pydantic.ConfigDict(frozen=True)
    x: int


class Colour(enum.Enum):
    RED = 1


class Level(enum.IntEnum):
    LOW = 1


class Plain:
    def method(self):
        return 1


class Said:
    def __repr__(self):
        return "said"


@pytest.fixture
def inside():
    """Make the world of a body."""
    return FixedEnvironment("text")


def as_body(test):
    """Run a test as if it were a body; pytest itself stays outside."""

    @functools.wraps(test)
    def run(**arguments):
        with activation(arguments["inside"]):
            test(**arguments)

    return run


def in_body(value):
    with activation(FixedEnvironment("hash")):
        return stable_hash(value)


@given(values, values)
def test_equal_values_hash_equally(one, other):
    if one == other:
        assert in_body(one) == in_body(other)
    assert in_body(one) == in_body(one)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (1, 1.0), (1, True), (1, decimal.Decimal("1.00")), (1, fractions.Fraction(1)), (Level.LOW, 1), (0.5, fractions.Fraction(1, 2)),
        (frozenset("ab"), OrderedFrozenSet("ba")), (range(0, 3, 2), range(0, 4, 2)), (range(0), range(5, 5)), (b"a", memoryview(b"a")),
        (Point(1, "a", "n"), Point(1, "a", "m")), (Model(x=1), Model(x=1)), ((1, "a"), (1.0, "a")),
        (datetime.datetime(2024, 1, 1, 12, tzinfo=datetime.UTC), datetime.datetime(2024, 1, 1, 13, tzinfo=ZoneInfo("Europe/Paris"))),
        (datetime.time(12, tzinfo=datetime.UTC), datetime.time(14, tzinfo=datetime.timezone(datetime.timedelta(hours=2)))),
    ],
)  # fmt: skip
def test_values_of_different_types_that_are_equal_hash_equally(one, other):
    assert one == other
    assert in_body(one) == in_body(other)


def test_hashes_are_the_same_in_every_process_and_for_ever():
    assert in_body("text") == 3928707782087455072
    assert in_body(("a", 1, None)) == 977733780979854654
    assert in_body(uuid.UUID(int=5)) == in_body(uuid.UUID(int=5))
    assert in_body(Colour.RED) != in_body("RED")
    assert in_body(ipaddress.ip_address("10.0.0.1")) == in_body(ipaddress.ip_address("10.0.0.1"))


@pytest.mark.parametrize("value", [Plain(), object(), float("nan"), Said(), (1, Plain())])
@as_body
def test_hashes_that_would_be_addresses_are_refused(value, inside):
    with pytest.raises(SandboxViolation, match="can't be hashed") as caught:
        stable_hash(value)
    assert "field" in caught.value.fix


@pytest.mark.parametrize("value", [[], {}, set(), ([],), bytearray()])
@as_body
def test_what_can_not_be_hashed_is_a_type_error_as_always(value, inside):
    with pytest.raises(TypeError, match="unhashable"):
        stable_hash(value)


def test_outside_of_bodies_hash_is_the_real_one():
    assert stable_hash("text") == hash("text")


SHOWING = [
    object(),
    Plain(),
    [Plain()],
    {"a": Plain()},
    (1, [Plain()]),
    Plain().method,
    lambda: 0,
    KeyError(object()),
    iter([]),
]


@pytest.mark.parametrize("value", SHOWING, ids=lambda value: type(value).__name__)
@pytest.mark.parametrize(
    "write",
    [
        formatting.text, formatting.representation, formatting.ascii_representation, formatting.formatted, formatting.shown,
        lambda value: formatting.percent("%s", (value,)), lambda value: formatting.percent("%r", value if not isinstance(value, tuple) else (value,)),
        lambda value: formatting.percent("%(a)s", {"a": value}),
        lambda value: formatting.format_method("{}", "format", getattr)(value),
        lambda value: formatting.format_method("{!r}", "format", getattr)(value),
        lambda value: formatting.format_method("{a}", "format_map", getattr)({"a": value}),
    ],
)  # fmt: skip
def test_no_way_of_writing_shows_an_address(write, value):
    with pytest.raises(SandboxViolation, match="can't be used") as caught:
        write(value)
    assert caught.value.fix


@pytest.mark.parametrize(
    "value",
    [1, "text", "crash at 0x1f", ["at 0x10 it fell", " at 0x10"], {"k": " at 0xff"}, Said(), [Said()], None, Point(1, " at 0x10"),
     Colour.RED, Model(x=1), ValueError(" at 0x10"), datetime.date(2024, 1, 2), (), b" at 0x10"],
    ids=repr,
)  # fmt: skip
def test_ordinary_text_is_what_it_always_was(value):
    assert formatting.text(value) == str(value)
    assert formatting.representation(value) == repr(value)
    assert formatting.ascii_representation(value) == ascii(value)
    assert formatting.formatted(value) == format(value)
    assert formatting.percent("%s", (value,)) == "%s" % (value,)  # noqa: UP031  # it is what is tested
    assert formatting.shown(value) is value


@given(st.text(), st.integers(), st.floats())
def test_format_strings_give_what_str_format_gives(text, number, real):
    for template in ("{}", "{0!r:>10}{1}{2}", "{:>{}}", "{a}{b:.3f}", "{{}}{0}", "{0:x>5}"):
        arguments, keywords = (text, abs(number) % 50, real), {"a": text, "b": real}
        safe = formatting.format_method(template, "format", getattr)
        try:
            expected = template.format(*arguments, **keywords)
        except ValueError:
            continue
        assert safe(*arguments, **keywords) == expected


def test_plain_sets_are_shown_in_order_or_refused():
    assert formatting.text({"b", "a"}) == "{'a', 'b'}"
    with pytest.raises(SandboxViolation, match="plain set"):
        formatting.text([{"b", "a"}])
    assert formatting.text([OrderedFrozenSet("ba")]) == "[frozenset({'b', 'a'})]"


@as_body
def test_print_goes_to_the_environment(monkeypatch, inside):
    said: list[str] = []
    monkeypatch.setattr(inside, "emit", said.append)
    print_line("a", 1, sep="-", end="!\n")
    print_line()
    assert said == ["a-1!\n", "\n"]
    with pytest.raises(SandboxViolation, match="file"):
        print_line("a", file=object())
    with pytest.raises(SandboxViolation, match="can't be used"):
        print_line(object())


def test_outside_of_bodies_print_prints(capsys):
    print_line("a", "b", sep="")
    assert capsys.readouterr().out == "ab\n"
