"""Every construct that the policy denies gives a finding at its place, with a fix."""

from __future__ import annotations

import ast
import sys
import textwrap

import pytest

from perdure.errors import PolicyViolation
from perdure.sandbox import load
from perdure.sandbox.checking import Site
from perdure.sandbox.policy import Policy

# Text, rule, line, column (from 1).
DENIED = {
    "dunder_attribute": ("def body(o):\n    return o.__globals__", "escape", 2, 12),
    "class_of_class": ("def body(o):\n    return o.__class__.__base__", "escape", 2, 12),
    "dunder_name": ("def body():\n    return __builtins__", "special-name", 2, 12),
    "dunder_store": ("def body(o):\n    o.__class__ = 1", "escape", 2, 5),
    "frame": ("def body(g):\n    return g.gi_frame", "escape", 2, 12),
    "coroutine_frame": ("async def body(c):\n    x = c.cr_frame", "escape", 2, 9),
    "traceback": ("def body(e):\n    return e.__traceback__.tb_frame", "escape", 2, 12),
    "mro": ("def body():\n    return int.mro()", "escape", 2, 12),
    "parse_raw": ("def body(m):\n    return m.parse_raw(b'')", "escape", 2, 12),
    "mangled_outside": ("def body(o):\n    return o.__secret", "escape", 2, 12),
    "global": ("n = 0\ndef body():\n    global n\n    n = 1", "global", 3, 5),
    "except_star": ("def body():\n    try: pass\n    except* ValueError: pass", "except-star", 2, 5),
    "finally_return": ("def body():\n    try: pass\n    finally:\n        return 1", "finally-jump", 4, 9),
    "finally_break": (
        "def body():\n    while True:\n        try: pass\n        finally:\n            break", "finally-jump", 5, 13
    ),
    "import_star": ("from math import *", "import-star", 1, 1),
    "metaclass": ("class A(metaclass=type): pass", "class-keyword", 1, 1),
    "special_method": ("class A:\n    def __getattr__(self, n): return n", "special-method", 2, 5),
    "del_method": ("class A:\n    def __del__(self): pass", "special-method", 2, 5),
    "match_args": ("class A:\n    __match_args__ = ('__globals__',)", "special-name", 2, 5),
    "pattern_attribute": (
        "def body(f):\n    match f:\n        case object(__globals__=g): return g", "pattern-attribute", 3, 14
    ),
    "watched_in_place": ("def body(s, r):\n    s.format += r", "watched-attribute", 2, 5),
    "keyword": ("def body(f):\n    f(__x__=1)", "special-name", 2, 7),
    "builtin_open": ("def body():\n    return open('x')", "refused", 2, 12),
    "builtin_eval": ("def body():\n    return eval('1')", "refused", 2, 12),
    "builtin_id": ("def body(x):\n    return id(x)", "refused", 2, 12),
    "time_sleep": ("import time\ndef body():\n    time.sleep(1)", "refused", 3, 5),
    "import_socket": ("import socket", "refused", 1, 1),
    "import_in_body": ("def body():\n    import subprocess", "refused", 2, 5),
    "from_secrets": ("from secrets import token_hex", "refused", 1, 1),
    "attrgetter": ("import operator\ndef body():\n    return operator.attrgetter('x')", "refused", 3, 12),
    "wraps": ("import functools\ndef body():\n    return functools.wraps", "refused", 3, 12),
}  # fmt: skip


@pytest.mark.parametrize("name", DENIED)
def test_denied_construct_is_found_at_its_place_with_a_fix(name):
    source, rule, line, column = DENIED[name]
    with pytest.raises(PolicyViolation) as caught:
        load(source, filename="denied.py")
    finding = caught.value.findings[0]
    assert (finding.rule, finding.line, finding.column) == (rule, line, column)
    assert finding.fix
    first = str(finding).splitlines()[0]
    assert first.startswith(f"denied.py:{line}:{column}")


def test_finding_shows_the_line_with_a_caret_under_the_place():
    with pytest.raises(PolicyViolation) as caught:
        load("def body(x):\n    return 1 + x.__dict__\n", filename="denied.py")
    block = str(caught.value.findings[0]).splitlines()
    assert block[1] == "    return 1 + x.__dict__"
    assert block[2] == "               ^^^^^^^^^^"
    assert block[-1].split()[0] == "fix"


def test_columns_count_characters_not_bytes():
    with pytest.raises(PolicyViolation) as caught:
        load("def body(x):\n    return 'äöü', x.__dict__\n")
    assert caught.value.findings[0].column == 19


def test_all_findings_come_at_once_in_line_order():
    source = textwrap.dedent(
        """
        def later(x):
            return x.__dict__
        def body(x):
            y = eval("1")
            import socket
            return x.gi_frame, x.__code__
        """
    )
    with pytest.raises(PolicyViolation) as caught:
        load(source, filename="many.py")
    places = [(finding.line, finding.column) for finding in caught.value.findings]
    assert [line for line, _ in places] == [3, 5, 6, 7, 7]
    assert places == sorted(places)
    text = str(caught.value)
    assert all(f"many.py:{line}:{column}" in text for line, column in places)


# What the policy has a visit for although it's a base class of nodes, a context or the like.
_NOT_NODES = {"AST", "mod", "stmt", "expr", "expr_context", "boolop", "operator", "unaryop", "cmpop", "pattern"}


def _node_classes():
    return [
        kind for kind in vars(ast).values()
        if isinstance(kind, type) and issubclass(kind, ast.AST) and kind.__name__ not in _NOT_NODES
    ]  # fmt: skip


def test_node_that_python_does_not_know_yet_is_denied():
    class Novelty(ast.stmt):
        _fields = ()

    policy = Policy(Site(file="x.py", lines=["x"]))
    policy.visit(Novelty(lineno=1, col_offset=0))
    assert [finding.rule for finding in policy.findings] == ["construct"]


def test_every_node_class_is_known_or_denied():
    """Nodes without a visit of their own; a new Python must not add to this list unnoticed."""
    unknown = {kind.__name__ for kind in _node_classes() if not hasattr(Policy, f"visit_{kind.__name__}")}
    expected = {
        "AugLoad", "AugStore", "Bytes", "Ellipsis", "ExtSlice", "FunctionType", "Index", "NameConstant", "Num", "Param",
        "Str", "Suite", "TypeIgnore", "comprehension_", "excepthandler", "slice", "type_ignore", "unaryop", "withitem_",
    }  # fmt: skip
    if sys.version_info >= (3, 12):
        expected |= {"TypeAlias", "TypeVar", "TypeVarTuple", "ParamSpec", "type_param"}
    assert unknown <= expected
    for name in unknown & {"TypeAlias"}:
        with pytest.raises(PolicyViolation):
            load("type X = int")
        assert name
