"""Hypothesis strategies for values that the ledger takes, and an equality that looks at types and order.

Everything here is importable by name, because the classes of recorded values are found again by name.
"""

from __future__ import annotations

import collections
import dataclasses
import datetime as dt
import enum
import ipaddress
import pathlib
import uuid
from decimal import Decimal
from fractions import Fraction
from typing import Any, Generic, NamedTuple, TypeVar
from zoneinfo import ZoneInfo

import pydantic
from hypothesis import strategies as st

# ── classes ──────────────────────────────────────────────────────────────────────────────────────


class Colour(enum.Enum):
    """Written by value."""

    RED = "red"
    BLUE = "blue"


class Level(enum.IntEnum):
    """Written by value, as a number."""

    LOW = 1
    HIGH = 2


class Unit(enum.StrEnum):
    """Written by value."""

    METRE = "m"


class Rights(enum.Flag):
    """Combinations have no name."""

    READ = enum.auto()
    WRITE = enum.auto()


class Odd(enum.Enum):
    """Written by name: its values don't read well."""

    PAIR = (1, 2)
    THING = object


class Point(NamedTuple):
    """A named tuple with a default."""

    x: Any
    y: Any = 0


@dataclasses.dataclass
class Line:
    """A dataclass."""

    sku: Any
    price: Any = None
    tags: Any = dataclasses.field(default_factory=list)


@dataclasses.dataclass(frozen=True, slots=True)
class Node:
    """A frozen dataclass with slots."""

    value: Any
    next: Node | None = None


@dataclasses.dataclass
class Counted:
    """A dataclass whose constructor does more than take fields; it must not run again."""

    start: int
    total: int = dataclasses.field(init=False)

    def __post_init__(self) -> None:
        self.total = self.start + 1
        self.start += 100


class Order(pydantic.BaseModel):
    """A pydantic model with a default, whose fields take anything."""

    order_id: str
    payload: Any = None
    lines: list[Any] = []


class Open(pydantic.BaseModel):
    """A model that takes extra fields and has private attributes."""

    model_config = pydantic.ConfigDict(extra="allow")
    name: str
    _seen: Any = pydantic.PrivateAttr(default=0)


Item = TypeVar("Item")


class Box(pydantic.BaseModel, Generic[Item]):
    """A generic model."""

    item: Item


class Numbers(pydantic.RootModel[list[int]]):
    """A root model."""


# ── strategies ───────────────────────────────────────────────────────────────────────────────────

ZONES = ("UTC", "Europe/Berlin", "America/New_York", "Asia/Kathmandu")
_any_text = st.text(st.characters() | st.characters(categories=["Cs"]), max_size=12)
_offsets = st.builds(
    dt.timezone,
    st.timedeltas(min_value=dt.timedelta(hours=-23), max_value=dt.timedelta(hours=23)),
) | st.builds(dt.timezone, st.just(dt.timedelta(hours=1)), st.text(st.characters(categories=["L", "Zs"]), max_size=5))
_zones = st.none() | st.just(dt.UTC) | _offsets | st.sampled_from(ZONES).map(ZoneInfo)
_folds = st.sampled_from([0, 1])
_decimals = st.decimals(allow_nan=True, allow_infinity=True) | st.sampled_from(
    [Decimal(text) for text in ("sNaN", "-sNaN12", "NaN7", "-0", "0E+5", "-0.00", "1E+999999", "12.50")]
)


def _datetimes() -> st.SearchStrategy[dt.datetime]:
    naive = st.datetimes()
    return st.builds(lambda moment, zone, fold: moment.replace(tzinfo=zone, fold=fold), naive, _zones, _folds)


def _times() -> st.SearchStrategy[dt.time]:
    return st.builds(lambda time, zone, fold: time.replace(tzinfo=zone, fold=fold), st.times(), _zones, _folds)


def plain_scalars() -> st.SearchStrategy[Any]:
    """None, booleans, integers, finite floats, text without lone surrogates."""
    return (
        st.none()
        | st.booleans()
        | st.integers()
        | st.floats(allow_nan=False, allow_infinity=False)
        | st.text(max_size=12)
    )


def keys() -> st.SearchStrategy[Any]:
    """Hashable scalars that equal nothing but themselves."""
    return (
        st.none()
        | st.booleans()
        | st.integers()
        | st.floats(allow_nan=False)
        | _any_text
        | st.binary(max_size=8)
        | st.uuids()
        | st.dates()
        | st.timedeltas()
        | st.sampled_from([*Colour, *Level, *Odd, Unit.METRE, Rights.READ | Rights.WRITE, ...])
        | st.tuples(st.integers(), st.text(max_size=4))
        | st.builds(Point, st.integers(), st.text(max_size=4))
    )


def scalars() -> st.SearchStrategy[Any]:
    """Every scalar that the ledger takes."""
    return (
        keys()
        | st.floats()
        | st.sampled_from([10**4299, -(10**700), 2**64, -(2**128)])
        | _decimals
        | _datetimes()
        | _times()
        | _offsets
        | st.sampled_from(ZONES).map(ZoneInfo)
        | st.binary(max_size=8).map(bytearray)
        | st.fractions()
        | st.complex_numbers(allow_nan=True)
        | st.builds(range, st.integers(), st.integers(), st.integers(min_value=1))
        | _any_text.filter(lambda text: "\0" not in text).map(pathlib.PurePosixPath)
        | st.text(st.characters(categories=["L"]), max_size=4).map(pathlib.PureWindowsPath)
        | st.text(st.characters(categories=["L"]), max_size=4).map(pathlib.Path)
        | st.ip_addresses()
        | st.just(ipaddress.ip_network("10.0.0.0/8"))
        | st.builds(Counted, st.integers())
    )


def values(max_leaves: int = 12) -> st.SearchStrategy[Any]:
    """Every value that the ledger takes: scalars, and containers and records of them."""
    return st.recursive(plain_scalars() | scalars(), _containers, max_leaves=max_leaves)


def _containers(inner: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    texts = st.text(max_size=6)
    mappings = st.dictionaries(texts, inner, max_size=4)
    return (
        st.lists(inner, max_size=4)
        | st.lists(inner, max_size=4).map(tuple)
        | mappings
        | st.dictionaries(keys(), inner, max_size=4)
        | st.dictionaries(st.integers(), inner, min_size=1, max_size=3)
        | st.dictionaries(texts, inner, min_size=17, max_size=18)
        | mappings.map(collections.OrderedDict)
        | mappings.map(lambda mapping: collections.defaultdict(list, mapping))
        | st.builds(collections.deque, st.lists(inner, max_size=4), st.none() | st.integers(0, 5))
        | st.dictionaries(keys(), st.integers(), max_size=4).map(collections.Counter)
        | st.sets(keys(), max_size=4)
        | st.frozensets(keys(), max_size=4)
        | st.builds(Point, inner, inner)
        | st.builds(Line, inner, inner, st.lists(inner, max_size=2))
        | st.builds(Line, inner)
        | st.lists(st.builds(Line, texts, inner), max_size=4)
        | st.builds(Node, inner, st.none() | st.builds(Node, inner))
        | st.builds(Order, order_id=texts, payload=inner)
        | st.builds(Order, order_id=texts, lines=st.lists(inner, max_size=2))
        | st.builds(_open, texts, inner, st.dictionaries(st.sampled_from(["extra", "more"]), inner))
        | st.builds(lambda item: Box[Any](item=item), inner)
        | st.builds(Numbers, st.lists(st.integers(), max_size=3))
    )


def _open(name: str, seen: Any, extra: dict[str, Any]) -> Open:
    model = Open(name=name, **extra)
    model._seen = seen
    return model


# ── equality ─────────────────────────────────────────────────────────────────────────────────────


def identical(one: Any, other: Any) -> bool:
    """Whether two values are equal, of the same types throughout, and in the same order; NaN equals NaN."""
    if type(one) is not type(other):
        return False
    match one:
        case dict():
            pairs = zip(one.items(), other.items(), strict=False)
            return len(one) == len(other) and all(identical(*pair) for pair in pairs)
        case list() | tuple() | collections.deque():
            if getattr(one, "maxlen", None) != getattr(other, "maxlen", None) or len(one) != len(other):
                return False
            return all(map(identical, one, other))
        case set() | frozenset():
            return sorted(map(_seen, one)) == sorted(map(_seen, other))
        case pydantic.BaseModel():
            parts = ("__dict__", "__pydantic_fields_set__", "__pydantic_extra__", "__pydantic_private__")
            return all(identical(getattr(one, part), getattr(other, part)) for part in parts)
        case enum.Enum():
            return one is other
        case dt.datetime() | dt.time():
            naive = one.replace(tzinfo=None) == other.replace(tzinfo=None) and one.fold == other.fold
            return naive and identical(one.tzinfo, other.tzinfo)
        case dt.timezone():
            return repr(one) == repr(other)
        case ZoneInfo():
            return one is other
        case Decimal() | float() | complex():
            return repr(one) == repr(other)
        case Line() | Node() | Counted():
            names = [field.name for field in dataclasses.fields(one)]
            return all(identical(getattr(one, name), getattr(other, name)) for name in names)
        case int() | str() | bytes() | bytearray() | None | uuid.UUID() | Fraction():
            return bool(one == other)
        case _:
            return bool(one == other)


def _seen(member: Any) -> str:
    if isinstance(member, int) and abs(member) > 10**600:
        return hex(member)
    return f"{type(member).__name__} {member!r}"
