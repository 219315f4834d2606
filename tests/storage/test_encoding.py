"""decode(encode(value)) is the same value, of the same types, in the same order."""

from __future__ import annotations

import collections
import datetime as dt
import functools
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from decimal import Decimal, localcontext
from typing import Any

import pydantic
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from value_strategies import Box, Colour, Counted, Level, Line, Node, Odd, Open, Order, Point, identical, values

from perdure.storage.encoding import Encoded, decode, decode_arguments, encode, encode_arguments

quick = settings(max_examples=200, deadline=None, suppress_health_check=list(HealthCheck))


def again(value: Any) -> Any:
    return decode(*encode(value))


@quick
@given(values())
def test_a_value_comes_back_as_it_was(value: Any) -> None:
    assert identical(again(value), value)


@quick
@given(st.lists(values(max_leaves=4), max_size=4))
def test_arguments_come_back_as_they_were(arguments: list[Any]) -> None:
    encoded = encode_arguments(tuple(arguments))
    assert identical(decode_arguments(*encoded), tuple(arguments))
    assert encoded == encode(arguments)


@quick
@given(values())
def test_encoding_a_decoded_value_gives_the_same_text(value: Any) -> None:
    assert encode(again(value)) == encode(value)


@pytest.mark.parametrize(
    "value",
    [None, True, 0, -(2**200), 1.5, -0.0, "text", "", [], {}, [1, [2, {"a": None}]], {"b": 1, "a": [True]}],
)
def test_what_json_says_needs_no_shape(value: Any) -> None:
    encoded = encode(value)
    assert encoded.shape is None
    assert repr(again(value)) == repr(value)


def test_keys_keep_their_order() -> None:
    assert encode({"b": 1, "a": 2}).body == '{"b":1,"a":2}'
    assert list(again({"b": (1,), "a": Decimal(2)})) == ["b", "a"]


# ── text that people and SQL read ────────────────────────────────────────────────────────────────

PINNED = [
    (Decimal("12.50"), '"12.50"', '"Decimal"'),
    (float("-inf"), '"-Infinity"', '"float"'),
    (dt.datetime(2024, 5, 1, 10, tzinfo=dt.UTC), '"2024-05-01T10:00:00+00:00"', '"datetime"'),
    (dt.timedelta(days=-1, microseconds=5), '"-1 days 00:00:00.000005"', '"timedelta"'),
    (b"ab\xff", '"YWL/"', '"bytes"'),
    ((1, "a"), '[1,"a"]', '{"tuple":null}'),
    ({10, 9, 1}, "[1,9,10]", '{"set":null}'),
    ({"b", 2, None, "a"}, '["a","b",2,null]', '{"set":null}'),
    (Colour.RED, '"red"', '{"enum":"value_strategies:Colour"}'),
    (Odd.PAIR, '"PAIR"', '{"member":"value_strategies:Odd"}'),
    ({1: "a", 2: "b"}, '{"1":"a","2":"b"}', '{"jsonkeys":null}'),
    ({Colour.RED: 1}, '{"red":1}', '{"keys":{"enum":"value_strategies:Colour"}}'),
    (
        Line("A1", Decimal("1.5")),
        '{"sku":"A1","price":"1.5","tags":[]}',
        '{"dataclass":"value_strategies:Line","fields":{"price":"Decimal"}}',
    ),
    (Point(1), '{"x":1,"y":0}', '{"namedtuple":"value_strategies:Point"}'),
    (Order(order_id="o"), '{"order_id":"o","payload":null,"lines":[]}',
     '{"model":"value_strategies:Order","unset":["payload","lines"]}'),
    (Box[int](item=1), '{"item":1}', '{"model":["value_strategies:Box","builtins:int"]}'),
    (10**4300, f'"{hex(10**4300)}"', '"int"'),
    ("a\ud800", '"a\\\\ud800"', '"str.escaped"'),
]  # fmt: skip


@pytest.mark.parametrize(("value", "body", "shape"), PINNED, ids=map(str, range(len(PINNED))))
def test_the_format_is_pinned(value: Any, body: str, shape: str) -> None:
    assert encode(value) == Encoded(body, shape)
    assert identical(decode(body, shape), value)


# ── shapes ───────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    "item",
    [
        lambda i: Decimal(i),
        lambda i: Decimal(i) if i % 2 else None,
        lambda i: Line(str(i), Decimal(i) if i % 2 else None, [dt.date(2024, 1, 1)] * (i % 3)),
        lambda i: {"at": dt.date(2024, 1, 1)} if i % 2 else {},
        lambda i: (Decimal(i),) * (i % 3),
        lambda i: Order(order_id=str(i), payload=None if i % 2 else {i}),
    ],
)
def test_the_shape_of_a_list_of_alike_items_does_not_grow(item: Any) -> None:
    few, many = [item(i) for i in range(6)], [item(i) for i in range(600)]
    assert encode(few).shape == encode(many).shape
    assert identical(again(many), many)


def test_the_shape_of_a_large_table_does_not_list_its_names() -> None:
    one, other = ({f"{name}{i}": Decimal(i) for i in range(200)} for name in "ab")
    assert encode(one).shape == encode(other).shape == '{"each":"Decimal"}'


def test_a_plain_value_beside_an_unlike_one_is_not_read_as_it() -> None:
    for value in ([["1"], [Decimal(1)]], [{"a": "1"}, {"a": Decimal(1)}], [5, [Decimal(1)]], [{}, [Decimal(1)]]):
        assert identical(again(value), value)


@quick
@given(st.lists(st.sampled_from([None, 1, "1", [], {}, [None], ["1"], [Decimal(1)], {"a": "1"}, {"a": Decimal(1)},
                                 {"a": None}, (), ("1",), (Decimal(1),), {"a": [Decimal(1)]}, {"b": (1,)}, Decimal(1),
                                 Line(1), Line(Decimal(1)), Line(None, ["1"]), Line(None, [Decimal(1)])])))  # fmt: skip
def test_merged_shapes_read_every_item_as_its_own_would(items: list[Any]) -> None:
    assert identical(again(items), items)


# ── the corners ──────────────────────────────────────────────────────────────────────────────────


@pytest.fixture
def digits_limit() -> Iterator[Any]:
    before = sys.get_int_max_str_digits()
    yield sys.set_int_max_str_digits
    sys.set_int_max_str_digits(before)


@pytest.mark.parametrize("digits", [600, 700, 4300, 4301, 9000])
@pytest.mark.parametrize("limit", [0, 640, 4300, 100_000])
def test_integers_have_one_text_under_every_limit(digits: int, limit: int, digits_limit: Any) -> None:
    value = 10 ** (digits - 1)
    usual = encode([value, {"n": -value}, {value: 1}])
    digits_limit(limit)
    assert encode([value, {"n": -value}, {value: 1}]) == usual
    assert decode(*usual) == [value, {"n": -value}, {value: 1}]


def test_decimals_ignore_the_context() -> None:
    value = Decimal("1.23456789E+50")
    with localcontext() as context:
        context.capitals, context.prec = 0, 2
        assert encode(value).body == '"1.23456789E+50"'
        assert repr(again(value).as_tuple()) == repr(value.as_tuple())


def test_a_constructor_does_not_run_again() -> None:
    value = Counted(1)
    assert vars(again(value)) == {"start": 101, "total": 2}


def test_further_attributes_of_a_dataclass_are_kept_and_its_caches_are_not() -> None:
    value = Cached(2)
    assert value.double == 4
    value.note = (1,)  # type: ignore[attr-defined]
    assert vars(again(value)) == {"n": 2, "note": (1,)}


@dataclass
class Cached:
    n: int

    @functools.cached_property
    def double(self) -> int:
        return self.n * 2


def test_a_field_that_was_missing_stays_missing() -> None:
    value = Line("a")
    del value.tags
    assert vars(again(value)) == {"sku": "a", "price": None}


def test_a_model_keeps_extra_fields_private_attributes_and_what_was_set() -> None:
    value = Open(name="n", extra=Decimal(1))
    value._seen = {1}
    back = again(value)
    assert back == value
    assert back._seen == {1}
    assert back.model_fields_set == {"name", "extra"}
    assert again(Order(order_id="o")).model_fields_set == {"order_id"}


def test_a_model_is_not_validated_again() -> None:
    value = Order.model_construct(order_id=5)
    assert again(value).order_id == 5


def test_moments_parsed_by_pydantic_keep_their_kind_of_offset() -> None:
    moment = pydantic.TypeAdapter(dt.datetime).validate_python("2024-01-01T00:00:00+02:00")
    assert type(again(moment).tzinfo) is type(moment.tzinfo)
    assert again(moment) == moment


def test_offsets_below_a_second_come_back() -> None:
    for microseconds in (1, -1, 999_999, 1_000_000, 1_000_001, -86_399_999_999):
        zone = dt.timezone(dt.timedelta(microseconds=microseconds))
        for value in (zone, dt.datetime(2024, 1, 1, 0, 0, 0, 7, tzinfo=zone), dt.time(1, tzinfo=zone)):
            assert identical(again(value), value)


def test_urls_come_back() -> None:
    url = pydantic.HttpUrl("http://example.org/a b")
    assert again(url) == url
    assert type(again(url)) is pydantic.HttpUrl


def test_what_two_places_share_becomes_two() -> None:
    shared: list[Any] = []
    one, other = again([shared, shared])
    assert one is not other


class Ordered(set[Any]):
    """As in a body: iterates in order of insertion."""

    __ordered__ = True

    def __init__(self, items: Any) -> None:
        self.order = list(items)
        super().__init__(self.order)

    def __iter__(self) -> Iterator[Any]:
        return iter(self.order)


def test_an_ordered_set_keeps_its_order_and_sets_are_built_as_asked() -> None:
    encoded = encode(Ordered("cab"))
    assert encoded == Encoded('["c","a","b"]', '{"set":null}')
    back = decode(*encoded, sets=(Ordered, frozenset))
    assert isinstance(back, Ordered)
    assert list(back) == ["c", "a", "b"]
    assert decode(*encoded) == {"a", "b", "c"}


def test_levels_and_other_containers_come_back() -> None:
    value = {Level.HIGH: collections.deque([Node(1, Node(2))], 3), Level.LOW: collections.Counter("aab")}
    assert identical(again(value), value)
