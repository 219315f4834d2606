"""Restricted code keeps file, lines and columns: tracebacks and the tracer see what they see natively."""

from __future__ import annotations

import linecache
import sys
import traceback

import pytest

from perdure.sandbox import load

# ruff: noqa: E501  # a construct a line reads best

FAILING = {
    "attribute": "def body(x):\n    y = [1,\n         2]\n    return (1 +\n            x.missing.more)",
    "call": "def helper(v):\n    return v / 0\ndef body(x):\n    return [helper(i) for i in (1, 2)]",
    "method": "class A:\n    def f(self):\n        return self._n + 'text'\n    def __init__(self): self._n = 1\ndef body(x):\n    return A().f()",
    "index": "def body(x):\n    table = {'a': {'b': 1}}\n    return table['a']['c']",
    "loop": "def body(x):\n    for a, b in [(1, 2), (3,)]:\n        pass",
    "not_iterable": "def body(x):\n    for a in 5:\n        pass",
    "unknown_method": "def body(x):\n    return x.compute(1)",
    "unknown_name": "def body(x):\n    return unknown + 1",
    "finally": "def body(x):\n    try:\n        return 1 / 0\n    finally:\n        y = 2",
    "handler": "def body(x):\n    try:\n        return 1 / 0\n    except ZeroDivisionError as error:\n        raise ValueError('v') from error",
    "lambda": "def body(x):\n    f = lambda n: (\n        n / 0)\n    return f(1)",
    "augmented": "def body(x):\n    d = {}\n    d['k'] += 1",
    "unpack": "def body(x):\n    a, b = (1, 2, 3)",
    "docstring": "def body(x):\n    '''doc'''\n    return 1 / 0",
    "match": "def body(x):\n    match {'k': 1}:\n        case {'k': v} if v / 0: pass",
    "assert": "def body(x):\n    assert x is not None, 'message'",
    "generator": "def g():\n    yield 1\n    raise KeyError('k')\ndef body(x):\n    return list(g())",
    "f_string": "def body(x):\n    return f'a {1/0} b'",
}  # fmt: skip


def _natively(source, filename):
    namespace = {"__name__": filename}
    exec(compile(source, filename, "exec", dont_inherit=True), namespace)
    return namespace["body"]


def _restricted(source, filename):
    return load(source, filename=filename).body.__wrapped__


def _shown(function, filename):
    with pytest.raises(Exception) as caught:  # noqa: PT011  # what it is is compared with the native run
        function(None)
    lines = "".join(traceback.format_exception(caught.value)).splitlines()
    start = next(index for index, line in enumerate(lines) if filename in line)
    assert not any("sandbox/" in line and "tests/" not in line for line in lines[start:])
    return lines[start:]


@pytest.mark.parametrize("name", FAILING)
def test_traceback_equals_the_native_one_with_carets(name):
    source = FAILING[name] + "\n"
    filename = f"failing_{name}.py"
    linecache.cache[filename] = (len(source), None, source.splitlines(keepends=True), filename)
    assert _shown(_restricted(source, filename), filename) == _shown(_natively(source, filename), filename)


def _lines(function, filename):
    """Record the (function, line) sequence that a debugger would step through."""
    seen = []

    def tracer(frame, event, _):
        if frame.f_code.co_filename != filename:
            return None
        if event == "line" and not frame.f_code.co_name.startswith("<"):
            seen.append((frame.f_code.co_name, frame.f_lineno))
        return tracer

    former = sys.gettrace()
    sys.settrace(tracer)
    try:
        function(3)
    finally:
        sys.settrace(former)
    return seen


STEPPED = {
    "straight": "def body(n):\n    '''doc'''\n    a = 1\n    b = (a +\n         n)\n    return b",
    "loops": """
def body(n):
    total = 0
    for i in range(n):
        for j in (1, 2):
            if j == 2:
                continue
            total += i
    else:
        total += 1
    while n:
        n -= 1
        if n == 1:
            break
    return total
""",
    "first_statement_is_a_loop": "def body(n):\n    while n:\n        n -= 1\n    for x in [1, 2]:\n        pass",
    "exceptions": """
def body(n):
    for i in range(n):
        try:
            if i:
                raise ValueError(i)
        except ValueError:
            x = 1
            y = 2
        else:
            x = 3
        finally:
            z = 4
    return x
""",
    "calls": "def helper(x):\n    y = x\n    return y\ndef body(n):\n    return [helper(i)\n            for i in range(n)]",
    "with": """
class M:
    def __enter__(self):
        return self
    def __exit__(self, *e):
        return False
def body(n):
    with M() as m:
        x = n
    return x
""",
    "match": "def body(n):\n    match n:\n        case 1:\n            x = 1\n        case 3:\n            x = 3\n    return x",
    "multi_line_call": "def helper(*a):\n    return a\ndef body(n):\n    return helper(\n        n,\n        helper(\n            2),\n    )",
    "while_true": "def body(n):\n    while True:\n        n -= 1\n        if not n:\n            break",
}  # fmt: skip


@pytest.mark.parametrize("name", STEPPED)
def test_debugger_steps_through_the_same_lines(name):
    source, filename = STEPPED[name] + "\n", f"stepped_{name}.py"
    restricted = _restricted(source, filename)
    assert _lines(restricted, filename) == _lines(_natively(source, filename), filename)
