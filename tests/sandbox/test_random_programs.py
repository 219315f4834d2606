"""Random programs of the allowed language do the same restricted as natively, errors included."""

# ruff: noqa: E501  # a construct a line reads best

from __future__ import annotations

import warnings

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from perdure.sandbox import load

NAMES = ("a", "b", "c")
numbers = st.integers(-3, 9).map(str)


def _join(parts):
    return "".join(parts)


def expressions(depth: int = 3) -> st.SearchStrategy[str]:
    leaves = st.one_of(numbers, st.sampled_from(NAMES), st.sampled_from(["'x'", "[]", "(1, 2)", "None", "True"]))
    if depth == 0:
        return leaves
    inner = expressions(depth - 1)
    return st.one_of(
        leaves,
        st.tuples(st.just("("), inner, st.sampled_from([" + ", " - ", " * ", " // ", " % ", " and ", " == ", " < "]), inner,
                  st.just(")")).map(_join),
        st.tuples(st.just("["), inner, st.just(", "), inner, st.just("]")).map(_join),
        st.tuples(st.just("{"), inner, st.just(": "), inner, st.just("}")).map(_join),
        st.tuples(st.just("("), inner, st.just(" if "), inner, st.just(" else "), inner, st.just(")")).map(_join),
        st.tuples(st.just("[v for v in "), inner, st.just(" if v]")).map(_join),
        st.tuples(st.just("(lambda v: "), inner, st.just(")("), inner, st.just(")")).map(_join),
        st.tuples(st.sampled_from(["len(", "str(", "list(", "sorted(", "sum(", "repr(", "max("]), inner, st.just(")")).map(_join),
        st.tuples(st.just("f'{"), st.sampled_from(NAMES), st.just("!r}'")).map(_join),
        st.tuples(st.just("*"), inner).map(lambda pair: f"[*{pair[1]}]"),
        st.tuples(inner, st.just("[0]")).map(_join),
        st.tuples(st.just("helper("), inner, st.just(", b="), inner, st.just(")")).map(_join),
        st.tuples(st.just("Box("), inner, st.just(").add("), inner, st.just(")")).map(_join),
    )  # fmt: skip


def _indent(block: str) -> str:
    return "\n".join("    " + line for line in block.splitlines())


def blocks(depth: int = 2) -> st.SearchStrategy[str]:
    return st.lists(statements(depth), min_size=1, max_size=3).map("\n".join)


def statements(depth: int) -> st.SearchStrategy[str]:
    name, value = st.sampled_from(NAMES), expressions(2)
    simple = st.one_of(
        st.tuples(name, value).map(lambda t: f"{t[0]} = {t[1]}"),
        st.tuples(name, value).map(lambda t: f"{t[0]} += {t[1]}"),
        st.tuples(name, value).map(lambda t: f"{t[0]}: object = {t[1]}"),
        st.tuples(name, value).map(lambda t: f"box.n, {t[0]} = {t[1]}, box.n"),
        st.tuples(value).map(lambda t: f"table['k'] = {t[0]}"),
        st.tuples(value).map(lambda t: f"table['k'] += {t[0]}"),
        st.tuples(value).map(lambda t: f"box.n += {t[0]}"),
        st.tuples(value).map(lambda t: f"trace.append({t[0]})"),
        st.tuples(name, value).map(lambda t: f"trace.append(({t[0]} := {t[1]}))"),
    )
    if depth == 0:
        return simple
    body = blocks(depth - 1)
    return st.one_of(
        simple,
        st.tuples(value, body, body).map(lambda t: f"if {t[0]}:\n{_indent(t[1])}\nelse:\n{_indent(t[2])}"),
        st.tuples(name, value, body).map(lambda t: f"for {t[0]} in {t[1]}:\n{_indent(t[2])}"),
        st.tuples(body).map(lambda t: f"for _ in range(3):\n{_indent(t[0])}\n    if _ == 1: break\nelse: trace.append('e')"),
        st.tuples(body, body).map(
            lambda t: f"try:\n{_indent(t[0])}\nexcept TypeError as e:\n    trace.append(str(e))\nfinally:\n{_indent(t[1])}"
        ),
        st.tuples(value, body).map(
            lambda t: f"match {t[0]}:\n    case int() | str(): trace.append('i')\n    case [x, *y]:\n"
            f"        trace.append((x, y))\n    case _:\n{_indent(_indent(t[1]))}"
        ),
        st.tuples(name, value).map(
            lambda t: f"def local(p=a):\n    nonlocal b\n    b = p\n    return {t[1]}\n{t[0]} = local()"
        ),
    )  # fmt: skip


PROGRAM = """
class Box:
    def __init__(self, n): self.n = n
    def add(self, m): return self.n + m
def helper(a, *, b): return [a, b]
def body(trace):
    a, b, c = 1, 'two', [3]
    box, table = Box(1), {'k': 1}
BLOCK
    return trace, a, b, c, box.n, table
"""


def _outcome(function):
    trace: list[object] = []
    try:
        return repr(function(trace))
    except Exception as error:  # noqa: BLE001  # compared with the other side's
        return type(error).__name__, str(error), repr(trace)


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])
@given(blocks())
def test_random_program_does_the_same_restricted_as_natively(block):
    source = PROGRAM.replace("BLOCK", _indent(block))
    namespace: dict[str, object] = {"__name__": "native"}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", SyntaxWarning)  # such as 0[0]
        exec(compile(source, "<native>", "exec"), namespace)
        module = load(source)
    assert _outcome(module.body) == _outcome(namespace["body"])
