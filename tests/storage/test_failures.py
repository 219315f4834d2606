"""Exceptions come back as their own class, and their record reads well."""

from __future__ import annotations

import asyncio
import dataclasses
import io
import json
import subprocess
import traceback
from email.message import Message
from typing import Any
from urllib.error import HTTPError

import duckdb
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from value_strategies import identical, values

from perdure import errors
from perdure.storage.encoding import encode
from perdure.storage.failures import TRACEBACK_MAX, decode_failure, encode_failure


class CardDeclined(Exception):
    """Formats its message, so its constructor must not run twice."""

    def __init__(self, code: int, reason: str) -> None:
        super().__init__(f"{code}: {reason}")
        self.code = code


class Keyword(Exception):
    def __init__(self, *, detail: str) -> None:
        super().__init__()
        self.detail = detail


class Reducing(Exception):
    """Says by itself how it is made."""

    def __init__(self, left: int, right: int) -> None:
        super().__init__(object())
        self.total = left + right
        self._pair = (left, right)

    def __str__(self) -> str:
        return f"total {self.total}"

    def __reduce__(self) -> Any:
        return type(self), self._pair


class Mute(Exception):
    def __str__(self) -> str:
        raise RuntimeError("no text")


class Slotted(Exception):
    __slots__ = ("code",)


@dataclasses.dataclass
class Data(Exception):
    code: int


class CardGroup(ExceptionGroup[Exception]):
    pass


def again(error: BaseException) -> BaseException:
    rebuilt = decode_failure(*encode_failure(error)).exception()
    assert rebuilt is not None
    return rebuilt


def _slotted() -> Slotted:
    error = Slotted("s")
    error.code = 5
    return error


def _parse_error() -> Exception:
    try:
        json.loads("{")
    except ValueError as error:
        return error
    raise AssertionError


ERRORS: list[BaseException] = [
    CardDeclined(3, "funds"), Keyword(detail="d"), Mute(1), _slotted(), Data(4), _parse_error(),
    ValueError("a", 1), KeyError("k"), OSError(2, "no", "file"), FileNotFoundError(2, "no", "a", None, "b"),
    ImportError("x", name="n", path="p"), UnicodeDecodeError("utf-8", b"a", 0, 1, "r"), StopIteration(3), SystemExit(2),
    SyntaxError("m", ("f", 1, 2, "t")), subprocess.CalledProcessError(3, ["ls"]), asyncio.CancelledError(),
    errors.StepTimeout("slow.", where="w", why="y", fix="f", details=[("recorded", "r")]), errors.RunTimeout("late."),
    errors.RetryableError("later", delay="10s"), errors.NotSerializable("m", path="$.x"), errors.FatalError("stop"),
]  # fmt: skip


@pytest.mark.parametrize("error", ERRORS, ids=lambda error: type(error).__name__)
def test_an_exception_comes_back_with_its_class_arguments_and_attributes(error: BaseException) -> None:
    rebuilt = again(error)
    assert type(rebuilt) is type(error)
    assert rebuilt.args == error.args
    assert vars(rebuilt) == vars(error)
    for name in ("errno", "filename", "filename2", "code", "value", "name", "start", "lineno"):
        assert getattr(rebuilt, name, None) == getattr(error, name, None)
    if not isinstance(error, Mute):
        assert str(rebuilt) == str(error)


@settings(max_examples=50, deadline=None, suppress_health_check=list(HealthCheck))
@given(st.lists(values(max_leaves=4), max_size=3), values(max_leaves=4))
def test_arguments_and_attributes_may_be_any_value(args: list[Any], attribute: Any) -> None:
    error = CardDeclined(1, "r")
    error.args = tuple(args)
    error.reason = attribute  # type: ignore[attr-defined]
    rebuilt: Any = again(error)
    assert identical(rebuilt.args, tuple(args))
    assert identical(rebuilt.reason, attribute)


def test_a_class_that_says_how_it_is_made_is_made_so() -> None:
    rebuilt = again(Reducing(1, 2))
    assert isinstance(rebuilt, Reducing)
    assert str(rebuilt) == "total 3"


def test_groups_come_back_with_their_members() -> None:
    error = CardGroup("g", [CardDeclined(1, "a"), ExceptionGroup("h", [OSError(2, "no")])])
    error.add_note("both")
    rebuilt = again(error)
    assert isinstance(rebuilt, CardGroup)
    assert rebuilt.message == "g"
    first, second = rebuilt.exceptions
    assert isinstance(first, CardDeclined)
    assert first.code == 1
    assert isinstance(second, ExceptionGroup)
    assert isinstance(second.exceptions[0], FileNotFoundError)
    failure = decode_failure(*encode_failure(error))
    assert [member.first_line for member in failure.members] == [
        "CardDeclined: 1: a",
        "ExceptionGroup: h (1 sub-exception)",
    ]


def test_a_group_with_a_member_that_can_not_be_made_is_text() -> None:
    failure = decode_failure(*encode_failure(ExceptionGroup("g", [ValueError(object())])))
    assert failure.exception() is None
    assert failure.members[0].error_type == "builtins:ValueError"


def test_notes_are_kept_and_the_cause_is_text() -> None:
    try:
        try:
            raise KeyError("k")
        except KeyError as cause:
            raise CardDeclined(4, "no") from cause
    except CardDeclined as error:
        error.add_note("ask the bank")
        failure = decode_failure(*encode_failure(error))
    assert failure.notes == ("ask the bank",)
    assert failure.cause == "KeyError: 'k'"
    rebuilt = failure.exception()
    assert rebuilt is not None
    assert rebuilt.__notes__ == ["ask the bank"]
    assert "KeyError" in failure.traceback_text
    assert failure.traceback_text.rstrip().endswith("ask the bank")


def test_what_has_no_encoding_is_left_out_and_named() -> None:
    error = CardDeclined(1, "r")
    error.connection = object()  # type: ignore[attr-defined]
    failure = decode_failure(*encode_failure(error))
    assert failure.lost == ("connection",)
    assert vars(failure.exception()) == {"code": 1}
    unknown = decode_failure(*encode_failure(ValueError(object())))
    assert unknown.exception() is None
    assert unknown.first_line.startswith("ValueError: <object object")


def test_a_local_class_leaves_its_text() -> None:
    class Local(Exception):
        pass

    failure = decode_failure(*encode_failure(Local("text")))
    assert failure.exception() is None
    assert failure.first_line == "Local: text"
    assert "<locals>" in failure.error_type


def test_text_that_is_too_deep_for_a_record_is_still_a_record() -> None:
    value: list[Any] = []
    for _ in range(99):
        value = [value]
    failure = decode_failure(*encode_failure(ValueError(value)))
    assert failure.error_type == "builtins:ValueError"
    assert failure.exception() is None


def test_surrogates_and_silent_errors_still_have_a_record() -> None:
    failure = decode_failure(*encode_failure(ValueError("a\ud800")))
    assert failure.message == "a\\ud800"
    assert str(failure.exception()) == "a\ud800"
    assert "raised RuntimeError" in decode_failure(*encode_failure(Mute())).message


def test_the_record_is_read_by_sql() -> None:
    body, _ = encode_failure(errors.StepTimeout("charge took 31 s.", fix="raise timeout="))
    with duckdb.connect() as con:
        row = con.execute(
            "SELECT e.type, e.message, e.code FROM (SELECT CAST(?::JSON AS VARIANT) AS e)", [body]
        ).fetchone()
    assert row == ("perdure.errors:StepTimeout", "charge took 31 s.", "STEP202")


def test_the_first_line_stands_alone() -> None:
    assert decode_failure(*encode_failure(errors.StepTimeout("slow."))).first_line == "StepTimeout [STEP202]: slow."
    assert decode_failure(*encode_failure(ValueError("a\nb"))).first_line == "ValueError: a"
    assert decode_failure(*encode_failure(KeyboardInterrupt())).first_line == "KeyboardInterrupt"


def test_the_traceback_has_the_users_frames_and_not_ours() -> None:
    try:
        encode(Keyed())
    except errors.NotSerializable as error:
        text = decode_failure(*encode_failure(error)).traceback_text
    assert "test_failures.py" in text
    assert "encoding.py" not in text


class Keyed:
    pass


def test_a_long_traceback_is_cut_in_the_middle() -> None:
    text = "".join(f'  File "a.py", line {number}\n' for number in range(10_000)) + "ValueError: end\n"
    kept = decode_failure(*encode_failure(ValueError("end"), text)).traceback_text
    assert len(kept) <= TRACEBACK_MAX
    assert kept.startswith('  File "a.py", line 0\n')
    assert kept.endswith("ValueError: end\n")
    assert "lines left out" in kept


@pytest.mark.parametrize("body", ["null", "", "[]", "{}", '{"type":"no:Class","args":[]}'])
def test_a_body_that_is_no_failure_is_an_empty_one(body: str) -> None:
    assert decode_failure(body, None).exception() is None


def test_an_http_error_comes_back_and_can_be_printed_and_recorded_again() -> None:
    """Its response has no encoding, and its `__getattr__` raises KeyError for whatever it lacks."""
    raised = HTTPError("http://example.com/", 503, "Service Unavailable", Message(), io.BytesIO(b"later"))
    with raised:
        error = decode_failure(*encode_failure(raised)).exception()
    assert isinstance(error, HTTPError)
    assert (error.code, str(error)) == (503, "HTTP Error 503: Service Unavailable")
    assert getattr(error, "no_such_attribute", "default") == "default"
    assert "HTTP Error 503" in "".join(traceback.format_exception(error))
    assert decode_failure(*encode_failure(error)).first_line == "HTTPError: HTTP Error 503: Service Unavailable"
