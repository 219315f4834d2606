"""Escapes through format strings, whose fields read attributes without compiled code doing it."""

import pytest

PAYLOADS = {
    "function globals": "'{0.__globals__}'.format(lambda: 0)",
    "class walk": "'{0.__class__.__mro__}'.format(1)",
    "class bases": "'{0.__class__.__base__}'.format(True)",
    "named field": "'{x.__class__}'.format(x=1)",
    "format_map": "'{x.__class__}'.format_map({'x': 1})",
    "nested spec": "'{0:{1.__class__}}'.format('', 'x')",
    "conversion hides the field": "'{0.__init__!r}'.format('')",
    "aliased method": """
def attack():
    render = '{0.__class__}'.format
    return render(1)
""",
    "getattr": "getattr('{0.__class__}', 'format')(1)",
    "unbound": "str.format('{0.__class__}', 1)",
    "unbound map": "str.format_map('{x.__class__}', {'x': 1})",
    "map over templates": "list(map(str.format, ['{0.__class__}'], [1]))",
    "own string class": """
class Text(str):
    pass
def attack():
    return Text('{0.__class__}').format(1)
""",
    "super": """
class Text(str):
    def leak(self, value):
        return super().format(value)
def attack():
    return Text('{0.__class__}').leak(1)
""",
    "subclass overrides and delegates": """
class Text(str):
    def format(self, *values):
        return super().format(*values)
def attack():
    return Text('{0.__class__}').format(1)
""",
    "partial": """
from functools import partial
def attack():
    return partial(str.format, '{0.__class__}')(1)
""",
    "index then attribute": "'{0[0].__class__}'.format([1])",
    "generator frame": "'{0.gi_frame}'.format(x for x in ())",
    "exception traceback": """
def attack():
    try:
        1 / 0
    except ZeroDivisionError as error:
        return '{0.__traceback__}'.format(error)
""",
    "private attribute of a library object": """
import asyncio
def attack():
    return '{0._queue}'.format(asyncio.Queue())
""",
    "string.Formatter": """
import string
def attack():
    return string.Formatter().format('{0.__class__}', 1)
""",
    "string.Formatter.get_field": """
import string
def attack():
    return string.Formatter().get_field('0.__class__', (1,), {})
""",
    "match-case takes the method": """
def attack():
    match '{0.__class__}':
        case str(format=render):
            return render(1)
""",
    "augmented assignment reads the method": """
class Taker:
    def __radd__(self, other):
        self.method = other
        return other
class Holder(str):
    pass
def attack():
    taker = Taker()
    holder = Holder('{0.__class__}')
    holder.format += taker
    return taker.method(1)
""",
    "reduce": """
from functools import reduce
def attack():
    return reduce(str.format, ['{0.__class__}', 1])
""",
    "methodcaller": """
import operator
def attack():
    return operator.methodcaller('format', 1)('{0.__class__}')
""",
    "UserString": """
import collections
def attack():
    return collections.UserString('{0.__class__}').format(1)
""",
    "UserString of another": """
import collections
def attack():
    return collections.UserString('{0.data.__class__}').format_map({'0': collections.UserString('x')})
""",
    "logging style template": """
import string
def attack():
    return string.Template('$x').substitute(x='{0.__class__}').format(1)
""",
}


@pytest.mark.parametrize("name", PAYLOADS)
def test_format_fields_do_not_read_the_insides_of_objects(name, contained):
    payload = PAYLOADS[name]
    outcome = contained(payload)
    assert outcome in ("PolicyViolation", "SandboxViolation", "ordinary")


@pytest.mark.parametrize(
    ("expression", "text"),
    [
        ("'{0.year}-{0.month:02d}'.format(date(2024, 5, 6))", "2024-05"),
        ("'{0[a]} {x!r:>5} {}'.format(3, x='y') if False else '{0[a]} {x!r:>5}'.format({'a': 1}, x='y')", "1   'y'"),
        ("'{}{}'.format(1, 2)", "12"),
        ("'{:{}}'.format('a', 3)", "a  "),
        ("'{a}'.format_map({'a': 5})", "5"),
        ("str.format('{}', 1)", "1"),
    ],
)
def test_ordinary_formatting_is_what_it_always_was(expression, text):
    from perdure.sandbox import load

    module = load(f"from datetime import date\ndef show():\n    return {expression}\n")
    assert module.show() == text
