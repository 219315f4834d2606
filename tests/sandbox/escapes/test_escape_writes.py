"""Escapes by writing to what all runs share: classes, modules, functions, registries."""
# ruff: noqa: E501  # payloads are a table, a row each

import collections
import collections.abc
import decimal
import json
import math
import numbers
import random

import pytest

PAYLOADS = {
    "module attribute": "import math\ndef attack():\n    math.pi = 3",
    "module attribute, augmented": "import math\ndef attack():\n    math.pi += 1",
    "module attribute, deleted": "import math\ndef attack():\n    del math.pi",
    "module attribute by setattr": "import math\ndef attack():\n    setattr(math, 'pi', 3)",
    "module attribute as a loop's target": "import math\ndef attack():\n    for math.pi in (3,):\n        pass",
    "module attribute as a with's target": "import math, contextlib\ndef attack():\n    with contextlib.nullcontext(3) as math.pi:\n        pass",
    "module attribute in a tuple": "import math\ndef attack():\n    x, math.pi = 1, 3",
    "module attribute, starred": "import math\ndef attack():\n    x, *math.pi = 1, 3",
    "module attribute with an annotation": "import math\ndef attack():\n    math.pi: float = 3.0",
    "module attribute by walrus": "import math\ndef attack():\n    return [math := 3]",
    "module's new attribute": "import json\ndef attack():\n    json.leak = 1",
    "module's private attribute": "import json\ndef attack():\n    json._default_encoder = None",
    "module's item": "import json\ndef attack():\n    json['dumps'] = None",
    "class attribute": "import json\ndef attack():\n    json.JSONDecoder.decode = None",
    "class attribute of a stand-in": "import datetime\ndef attack():\n    datetime.datetime.now = None",
    "class attribute of the generator": "import random\ndef attack():\n    random.Random.random = None",
    "class attribute through an object": "import random\ndef attack():\n    type(random.Random(1)).random = None",
    "class attribute through __class__": "import random\ndef attack():\n    random.Random(1).__class__.random = None",
    "set's attribute": "def attack():\n    set.add = None",
    "builtin class": "def attack():\n    int.leak = 1",
    "function attribute": "import json\ndef attack():\n    json.dumps.leak = 1",
    "function's code": "import json\ndef attack():\n    json.dumps.__code__ = (lambda: 0).__code__",
    "function's defaults": "import json\ndef attack():\n    json.dumps.__defaults__ = ()",
    "function's keyword defaults": "import json\ndef attack():\n    json.dumps.__kwdefaults__['indent'] = 4",
    "a stand-in's default": "import time\ndef attack():\n    time.time.__defaults__ = (1,)",
    "object's class": "import json\ndef attack():\n    json.JSONDecoder().__class__ = dict",
    "builtins": "def attack():\n    __builtins__['len'] = None",
    "registering with an abstract class": "import collections.abc\ndef attack():\n    collections.abc.Mapping.register(int)\n    return 1",
    "registering a number": "import numbers\ndef attack():\n    numbers.Number.register(str)\n    return 1",
    "registering by getattr": "import numbers\ndef attack():\n    getattr(numbers.Number, 'register')(str)\n    return 1",
    "csv's dialects": "import csv\ndef attack():\n    csv.register_dialect('leak', delimiter=';')",
    "json's default encoder": "import json\ndef attack():\n    json.JSONEncoder.item_separator = ';'",
    "the default decimal context": "import decimal\ndef attack():\n    decimal.DefaultContext.prec = 3",
    "operator.setitem on a module's dict": "import operator, math\ndef attack():\n    operator.setitem(math.__dict__, 'pi', 3)",
    "object.__setattr__": "import math\ndef attack():\n    object.__setattr__(math, 'pi', 3)",
    "type.__setattr__": "def attack():\n    type.__setattr__(dict, 'leak', 1)",
    "global statement": "x = 1\ndef attack():\n    global x\n    x = 2",
    "enum member": "import http\ndef attack():\n    http.HTTPStatus.OK.phrase = 'no'",
    "an enum's members": "import http\ndef attack():\n    http.HTTPStatus.__members__['OK'] = 1",
    "a facade's insides": "import math\ndef attack():\n    math._late = None",
    "a facade's dictionary": "import math\ndef attack():\n    math.__dict__['pi'] = 3",
    "a facade by update_wrapper": "import math, functools\ndef attack():\n    functools.update_wrapper(math, (lambda: 0))",
    "setattr on type": "def attack():\n    type.leak = 1",
    "a match's capture": "import math\ndef attack():\n    match 3:\n        case math.pi:\n            pass\n    math.pi = 1",
    "an exception class": "def attack():\n    ValueError.leak = 1",
    "a dataclass on a foreign class": "import dataclasses, fractions\ndef attack():\n    return dataclasses.dataclass(fractions.Fraction)",
    "total_ordering on a foreign class": "import functools, http\ndef attack():\n    return functools.total_ordering(http.HTTPStatus)",
    "unique on a foreign class": "import typing, json\ndef attack():\n    return typing.final(json.JSONDecoder)",
    "overload's registry": "import typing, json\ndef attack():\n    return typing.runtime_checkable(json.JSONDecoder)",
}  # fmt: skip


def _shared_state() -> list[object]:
    """Show everything that the payloads aim at."""
    return [
        math.pi, dict(vars(json)), dict(vars(json.JSONDecoder)), dict(vars(json.JSONEncoder)), random.Random.random,
        json.dumps.__defaults__, json.dumps.__kwdefaults__, dict(vars(json.dumps)), decimal.DefaultContext.prec,
        issubclass(int, collections.abc.Mapping), issubclass(str, numbers.Number), "leak" in vars(ValueError),
        "__dataclass_fields__" in vars(__import__("fractions").Fraction), __import__("csv").list_dialects(),
        __import__("http").HTTPStatus.OK.phrase, len(__builtins__), dict(vars(__import__("http").HTTPStatus)),
    ]  # fmt: skip


@pytest.mark.parametrize("name", PAYLOADS)
def test_what_all_runs_share_stays_as_it_is(name, contained):
    before = _shared_state()
    contained(PAYLOADS[name])
    assert _shared_state() == before


def test_stand_ins_and_facades_stay_as_they_are(contained):
    from perdure.sandbox import load

    probe = "import math, time, datetime, random\ndef attack():\n    return math.pi, time.time(), random.random()"
    before = load(probe, filename="<probe>").attack()
    for payload in PAYLOADS.values():
        contained(payload)
    assert load(probe, filename="<probe>").attack() == before
