"""Clocks, zones, random numbers and identifiers: deterministic in a body, the real ones outside."""

from __future__ import annotations

import datetime as real_datetime
import functools
import random as real_random
import time as real_time
import uuid as real_uuid
import zoneinfo as real_zoneinfo

import pytest

from perdure.errors import SandboxViolation
from perdure.sandbox.activation import activation
from perdure.sandbox.stand_ins import datetime, random, time, uuid, zoneinfo

NOW_US = 1_700_000_000_123_456
NOW = real_datetime.datetime(2023, 11, 14, 22, 13, 20, 123456)


class World:
    """An environment with one generator and a clock that stands."""

    max_ops = 1000

    def __init__(self) -> None:
        self.generator = real_random.Random(7)
        self.said: list[str] = []

    def now_us(self) -> int:
        return NOW_US

    def random(self) -> real_random.Random:
        return self.generator

    def emit(self, text: str) -> None:
        self.said.append(text)

    async def sleep(self, seconds: float) -> None:
        self.said.append(f"slept {seconds}")


@pytest.fixture
def world():
    """Make the world of a body."""
    return World()


def as_body(test):
    """Run a test as if it were a body; pytest itself stays outside."""

    @functools.wraps(test)
    def run(**arguments):
        with activation(arguments["world"]):
            test(**arguments)

    return run


# ── time ──


@pytest.mark.parametrize("name", ["time", "monotonic", "perf_counter"])
@as_body
def test_every_clock_shows_ledger_time(name, world):
    assert getattr(time, name)() == NOW_US / 1e6
    assert getattr(time, f"{name}_ns")() == NOW_US * 1000


@as_body
def test_times_are_taken_apart_in_utc(world):
    assert time.gmtime()[:6] == (2023, 11, 14, 22, 13, 20)
    assert time.strftime("%H:%M") == "22:13"
    assert time.asctime() == "Tue Nov 14 22:13:20 2023"
    with pytest.raises(SandboxViolation, match="time zone"):
        time.strftime("%Z")


def test_outside_of_bodies_clocks_are_the_real_ones():
    assert abs(time.time() - real_time.time()) < 5
    assert abs(datetime.datetime.now() - real_datetime.datetime.now()) < real_datetime.timedelta(seconds=5)
    assert datetime.date.today() in (real_datetime.date.today(), real_datetime.date.today())
    assert time.strftime("%Y") == real_time.strftime("%Y")


# ── datetime ──


@as_body
def test_now_is_exact_to_the_microsecond_and_naive_now_is_utc(world):
    assert datetime.datetime.now() == datetime.datetime.utcnow() == datetime.datetime.today() == NOW
    assert datetime.datetime.now(real_datetime.UTC) == NOW.replace(tzinfo=real_datetime.UTC)
    tokyo = datetime.datetime.now(zoneinfo.ZoneInfo("Asia/Tokyo"))
    assert (tokyo.hour, tokyo.utcoffset()) == (7, real_datetime.timedelta(hours=9))
    assert datetime.date.today() == real_datetime.date(2023, 11, 14)


@as_body
def test_the_stand_in_is_the_class_to_isinstance_match_and_equality(world):
    value = datetime.datetime(2024, 5, 6, hour=7)
    assert type(value) is real_datetime.datetime
    assert isinstance(value, datetime.datetime)
    assert isinstance(value, datetime.date)
    assert not isinstance(datetime.date(2024, 5, 6), datetime.datetime)
    assert issubclass(datetime.datetime, datetime.date)
    assert issubclass(real_datetime.datetime, datetime.date)
    assert datetime.datetime == real_datetime.datetime
    assert {real_datetime.datetime: 1}[datetime.datetime] == 1
    match value:
        case datetime.datetime(year=year, month=5):
            assert year == 2024
        case _:
            pytest.fail("the class pattern did not match")


@pytest.mark.parametrize(
    ("name", "arguments"),
    [
        ("fromisoformat", ("2024-05-06T07:08:09",)),
        ("strptime", ("2024-05-06", "%Y-%m-%d")),
        ("fromordinal", (738000,)),
        ("fromisocalendar", (2024, 2, 3)),
        ("combine", (real_datetime.date(2024, 5, 6), real_datetime.time(7))),
        ("combine", (real_datetime.date(2024, 5, 6), real_datetime.time(7), real_datetime.UTC)),
        ("fromtimestamp", (1e9, real_datetime.UTC)),
    ],
)
@as_body
def test_constructors_give_real_values(name, arguments, world):
    value = getattr(datetime.datetime, name)(*arguments)
    assert value == getattr(real_datetime.datetime, name)(*arguments)
    assert type(value) is real_datetime.datetime


@as_body
def test_what_depends_on_the_machines_zone_is_refused_with_a_fix(world):
    for call in (
        lambda: datetime.datetime.fromtimestamp(0),
        lambda: datetime.date.fromtimestamp(0),
        lambda: datetime.METHODS["timestamp"](NOW),
        lambda: datetime.METHODS["astimezone"](NOW),
        lambda: datetime.METHODS["astimezone"](NOW.replace(tzinfo=real_datetime.UTC)),
        lambda: datetime.METHODS["strftime"](NOW, "%s"),
    ):
        with pytest.raises(SandboxViolation, match="can't be used") as caught:
            call()
        assert caught.value.fix
    aware = NOW.replace(tzinfo=real_datetime.UTC)
    assert datetime.METHODS["timestamp"](aware) == aware.timestamp()
    assert datetime.METHODS["astimezone"](aware, real_datetime.UTC) == aware


@as_body
def test_stand_in_classes_can_not_be_bases_or_be_changed(world):
    with pytest.raises(SandboxViolation, match="base class"):
        type("Mine", (datetime.datetime,), {})
    with pytest.raises(SandboxViolation, match="changed"):
        datetime.datetime.now = None
    assert isinstance(zoneinfo.ZoneInfo("UTC"), real_zoneinfo.ZoneInfo)


# ── random ──


@as_body
def test_functions_draw_from_the_branchs_generator(world):
    twin = real_random.Random(7)
    assert random.random() == twin.random()
    for name, arguments in (
        ("randint", (1, 100)), ("choice", ("abc",)), ("sample", (range(50), 5)), ("gauss", (0, 1)), ("uniform", (1, 2)),
        ("choices", ("abc",)), ("randrange", (10,)), ("getrandbits", (64,)), ("randbytes", (4,)), ("expovariate", (1,)),
    ):  # fmt: skip
        assert random.STAND_INS[name](*arguments) == getattr(twin, name)(*arguments)
    ours, theirs = list(range(9)), list(range(9))
    random.STAND_INS["shuffle"](ours)
    twin.shuffle(theirs)
    assert ours == theirs


@as_body
def test_a_generator_without_a_seed_takes_one_from_the_branch(world):
    first = random.Random().random()
    world.generator.seed(7)
    assert random.Random().random() == first
    generator = random.Random(5)
    assert generator.random() == real_random.Random(5).random()
    generator.seed()
    after_one_seed = generator.random()
    generator.seed()
    assert generator.random() != after_one_seed  # another seed was drawn
    assert isinstance(generator, real_random.Random)


@as_body
def test_seeding_the_module_is_repeatable_and_its_state_is_refused(world):
    random.seed(3)
    assert random.random() == real_random.Random(3).random()
    for name in ("getstate", "setstate"):
        with pytest.raises(SandboxViolation, match="generator"):
            random.STAND_INS[name](*([None] if name == "setstate" else []))


def test_outside_of_bodies_random_numbers_are_the_real_ones():
    real_random.seed(11)
    expected = real_random.random()
    real_random.seed(11)
    assert random.random() == expected
    random.seed(12)
    assert random.STAND_INS["random"]() == real_random.Random(12).random()


# ── uuid ──


@as_body
def test_identifiers_have_their_version_variant_and_time(world):
    one, four, seven = uuid.uuid1(), uuid.uuid4(), uuid.uuid7()
    assert [each.version for each in (one, four, seven)] == [1, 4, 7]
    assert {each.variant for each in (one, four, seven)} == {real_uuid.RFC_4122}
    assert seven.int >> 80 == NOW_US // 1000
    assert one.time == NOW_US * 10 + 0x01B21DD213814000
    assert len({uuid.uuid4() for _ in range(100)}) == 100
    assert uuid.uuid1(node=5, clock_seq=6).node == 5


@as_body
def test_identifiers_repeat_with_the_generator_and_not_outside(world):
    first = [uuid.uuid1(), uuid.uuid4(), uuid.uuid7()]
    world.generator.seed(7)
    again = [uuid.uuid1(), uuid.uuid4(), uuid.uuid7()]
    assert first == again


def test_outside_of_bodies_identifiers_are_the_real_ones():
    assert uuid.uuid4() != uuid.uuid4()
    assert uuid.uuid1().version == 1
    before, seven, after = real_time.time_ns() // 1_000_000, uuid.uuid7(), real_time.time_ns() // 1_000_000
    assert before <= seven.int >> 80 <= after
    assert (seven.version, seven.variant) == (7, real_uuid.RFC_4122)
