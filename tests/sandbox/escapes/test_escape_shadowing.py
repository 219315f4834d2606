"""Escapes by taking the place of a guard, or by running where no guard was put."""
# ruff: noqa: E501  # payloads are a table, a row each

import pytest

GUARDS = (
    "_getattr_",
    "_getitem_",
    "_write_",
    "_getiter_",
    "_inplacevar_",
    "__builtins__",
    "__import__",
    "__build_class__",
)

DEFINES = {
    "parameter": "def attack({0}=lambda *a: None):\n    return {0}",
    "positional-only parameter": "def attack({0}=None, /):\n    return [{0}]",
    "assignment": "def attack():\n    {0} = lambda *a: None\n    return (lambda: 0).__globals__",
    "function": "def {0}(*a): return None\ndef attack():\n    return (lambda: 0).__globals__",
    "class": "class {0}: pass\ndef attack():\n    return (lambda: 0).__globals__",
    "import as": "import json as {0}\ndef attack():\n    return {0}",
    "for target": "def attack():\n    for {0} in (1,): pass\n    return (lambda: 0).__globals__",
    "with target": "import contextlib\ndef attack():\n    with contextlib.nullcontext(1) as {0}: pass\n    return (lambda: 0).__code__",
    "except target": "def attack():\n    try: 1/0\n    except Exception as {0}: return {0}.__traceback__",
    "walrus": "def attack():\n    ({0} := 1)\n    return (lambda: 0).__globals__",
    "match capture": "def attack():\n    match 1:\n        case {0}: return (lambda: 0).__globals__",
    "match star": "def attack():\n    match [1]:\n        case [*{0}]: return (lambda: 0).__globals__",
    "match rest": "def attack():\n    match {{1: 2}}:\n        case {{**{0}}}: return (lambda: 0).__globals__",
    "global": "def attack():\n    global {0}\n    {0} = 1\n    return (lambda: 0).__globals__",
    "lambda parameter": "attack = lambda {0}=1: (lambda: 0).__globals__\ndef attacker(): pass\ndef attack_(): pass",
    "keyword": "def attack():\n    return dict({0}=(lambda: 0).__globals__)",
    "comprehension target": "def attack():\n    return [(lambda: 0).__globals__ for {0} in (1,)]",
}

SPELLED = {
    "a guard's real name as text": "globals()['%getattr']",
    "through vars": "vars()['__builtins__']",
    "through a class's namespace": """
class Holder:
    locals()["%getattr"] = None
def attack():
    return (lambda: 0).__globals__
""",
    "setattr on the module": """
import json
def attack():
    setattr(json, "%getattr", None)
    return json.__dict__
""",
    "type parameter": "def attack[T]():\n    return T.__class__",
    "annotation that runs": """
def attack():
    x: (lambda: 0).__globals__ = 1
    return x
""",
    "default argument": "def attack(x=(lambda: 0).__globals__):\n    return x",
    "decorator": """
def attack():
    @(lambda f: f.__globals__)
    def inner(): pass
    return inner
""",
    "return annotation": "def attack() -> (lambda: 0).__globals__:\n    return attack.__annotations__",
    "class keyword": """
class Meta(type):
    pass
class Holder(metaclass=Meta):
    pass
def attack():
    return Meta.__mro__[1]
""",
    "unicode spelling of a special name": "(lambda: 0).__g\u029fobals__",
    "full-width underscores": "(lambda: 0).\uff3f\uff3fglobals__",
    "mathematical letters": "(lambda: 0).__\U0001d420lobals__",
    "string concatenation": "getattr(lambda: 0, '__glo' + 'bals__')",
    "string subclass as a name": """
class Name(str):
    def __eq__(self, other): return False
    def __hash__(self): return 0
    def startswith(self, *a): return False
def attack():
    return getattr(lambda: 0, Name("__globals__"))
""",
}


@pytest.mark.parametrize("guard", GUARDS)
@pytest.mark.parametrize("form", DEFINES)
def test_no_form_of_binding_takes_a_guards_place(form, guard, contained):
    if form == "lambda parameter":
        payload = f"attack = lambda {guard}=1: (lambda: 0).__globals__\n# def attack\n"
    else:
        payload = DEFINES[form].format(guard)
    assert contained(payload)


@pytest.mark.parametrize("name", SPELLED)
def test_guards_and_namespaces_can_not_be_named(name, contained):
    try:
        compile(SPELLED[name] if "def attack" in SPELLED[name] else f"({SPELLED[name]})", "<payload>", "exec")
    except SyntaxError:
        pytest.skip("not Python in this version")
    assert contained(SPELLED[name]) in ("PolicyViolation", "SandboxViolation", "ordinary", "harmless")
