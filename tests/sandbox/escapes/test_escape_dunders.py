"""Escapes through special names, the type of types, and class patterns."""
# ruff: noqa: E501  # payloads are a table, a row each

import pytest

PAYLOADS = {
    "class of a class": "type(type(1))",
    "class of an object's class": "(1).__class__.__class__",
    "type of type": "type(type)",
    "type called with three arguments": "type(type('X', (), {}))",
    "class walk": "[c for c in ().__class__.__base__.__subclasses__() if c.__name__ == 'Popen' or c.__name__ == '_wrap_close']",
    "bases": "bool.__bases__[0].__class__",
    "mro": "int.mro.__self__.__class__",
    "mro call": "type(int).mro(int) and type(int)",
    "subclasses through type": "type(int).__subclasses__(object) and type(int)",
    "object's dict": "(lambda: 0).__dict__ or (lambda: 0).__globals__",
    "class dict": "vars(type('X', (), {'f': lambda s: 0}))['f'].__globals__",
    "builtins of print": "print.__self__",
    "module of len": "len.__self__",
    "self of a builtin method": "getattr(len, '__self__')",
    "init globals": """
class Holder:
    def __init__(self): pass
def attack():
    return Holder.__init__.__globals__
""",
    "reduce": "(1).__reduce_ex__(2)[0].__globals__",
    "reduce through copyreg": "{}.__reduce_ex__(2)[0].__builtins__ if hasattr({}.__reduce_ex__(2)[0], '__builtins__') else type",
    "getattribute": "object.__getattribute__(lambda: 0, '__globals__')",
    "getattribute on type": "type.__getattribute__(int, '__class__')",
    "match class keyword": """
def attack():
    match (lambda: 0):
        case object(__globals__=found):
            return found
""",
    "match class keyword on an exception": """
def attack():
    try:
        1 / 0
    except Exception as error:
        match error:
            case Exception(__traceback__=trace):
                return trace.tb_frame
""",
    "match args": """
class Fake:
    __match_args__ = ("__globals__",)
    pass
class Meta(type):
    def __instancecheck__(cls, other): return True
class Key(metaclass=Meta):
    __match_args__ = ("__globals__",)
def attack():
    match (lambda: 0):
        case Key(found):
            return found
""",
    "match args set later": """
class Meta(type):
    def __instancecheck__(cls, other): return True
class Key(metaclass=Meta):
    pass
def attack():
    Key.__match_args__ = ("__code__",)
    match (lambda: 0):
        case Key(found):
            return found
""",
    "match args through setattr": """
class Meta(type):
    def __instancecheck__(cls, other): return True
class Key(metaclass=Meta):
    pass
def attack():
    setattr(Key, "__match" + "_args__", ("__code__",))
    match (lambda: 0):
        case Key(found):
            return found
""",
    "match a generator's frame": """
def attack():
    generator = (x for x in ())
    match generator:
        case object(gi_frame=found):
            return found
""",
    "property getter": """
class Holder:
    @property
    def p(self): return 1
def attack():
    return Holder.p.fget.__globals__
""",
    "method's function": """
class Holder:
    def m(self): return 1
def attack():
    return Holder().m.__func__.__code__
""",
    "partial's function": """
from functools import partial
def attack():
    return partial(lambda: 0).func.__globals__
""",
    "wrapped": """
import functools
def attack():
    @functools.wraps(lambda: 0)
    def outer(): pass
    return outer.__wrapped__.__globals__
""",
    "init_subclass": """
loot = []
class Base:
    def __init_subclass__(cls, **options):
        loot.append(cls.__init_subclass__.__func__.__globals__)
class Child(Base):
    pass
def attack():
    return loot
""",
    "set_name": """
loot = []
class Descriptor:
    def __set_name__(self, owner, name):
        loot.append(owner.__class__)
class Holder:
    d = Descriptor()
def attack():
    return loot
""",
    "descriptor get": """
class Descriptor:
    def __get__(self, holder, owner):
        return owner.__class__
class Holder:
    d = Descriptor()
def attack():
    return Holder.d
""",
    "class_getitem": """
class Holder:
    def __class_getitem__(cls, item):
        return cls.__class__
def attack():
    return Holder[1]
""",
    "prepare": """
class Meta(type):
    @classmethod
    def __prepare__(mcs, name, bases):
        return {"leak": mcs.__class__}
class Holder(metaclass=Meta):
    pass
def attack():
    return Holder.leak
""",
    "mro entries": """
class Entry:
    def __mro_entries__(self, bases):
        return (type,)
class Holder(Entry()):
    pass
def attack():
    return Holder.__mro__[1]
""",
    "new": """
class Holder:
    def __new__(cls):
        return cls.__class__
def attack():
    return Holder()
""",
    "subclass of type": """
class Meta(type):
    def leak(cls):
        return cls.__class__.__bases__[0]
def attack():
    return Meta('X', (), {}).leak()
""",
    "del runs later": """
loot = []
class Bomb:
    def __del__(self):
        loot.append(__import__("os"))
def attack():
    Bomb()
    return loot
""",
    "getattr hook": """
class Holder:
    def __getattr__(self, name):
        return (lambda: 0).__globals__
def attack():
    return Holder().anything
""",
    "super reaches object's own": """
class Holder:
    def leak(self):
        return super().__getattribute__("leak").__func__.__globals__
def attack():
    return Holder().leak()
""",
    "super getattribute of a class": """
class Holder:
    def leak(self):
        return super(Holder, Holder).__getattribute__(Holder, "__class__")
def attack():
    return Holder().leak()
""",
    "cell contents": """
def attack():
    import_ = eval
    def inner(): return import_
    return inner.__closure__[0].cell_contents
""",
    "weak reference to a class": """
import weakref
def attack():
    return weakref.ref(int).__class__.__class__
""",
    "enum's metaclass": """
import enum
def attack():
    class Colour(enum.Enum):
        RED = 1
    return type(Colour).__mro__[1]
""",
    "abc's metaclass": """
import abc
def attack():
    return type(abc.ABC).__mro__[1]
""",
    "typing's metaclass": """
import typing
def attack():
    return type(typing.Protocol).__mro__[2]
""",
    "namedtuple's new": """
import collections
def attack():
    return collections.namedtuple("P", "x").__new__.__globals__
""",
    "generic alias's origin": "list[type].__args__[0]",
    "union's arguments": "(int | type(int)).__args__[1]",
    "getattr with a default": "getattr(lambda: 0, '__globals__', None)",
    "hasattr and getattr": "hasattr(len, '__self__') and getattr(len, '__self__')",
    "setattr then read": """
class Holder: pass
def attack():
    holder = Holder()
    setattr(holder, "__class__", type("X", (), {"leak": lambda self: (lambda: 0).__globals__}))
    return holder.leak()
""",
    "attrgetter": """
import operator
def attack():
    return operator.attrgetter("__globals__")(lambda: 0)
""",
    "sorted by an attribute": """
import operator
def attack():
    return list(map(operator.attrgetter("__code__"), [lambda: 0]))
""",
    "functools.reduce of getattr": """
import functools
def attack():
    return functools.reduce(getattr, ["__class__", "__class__"], 1)
""",
    "map of getattr": "list(map(getattr, [lambda: 0], ['__code__']))",
    "getattr under another name": """
def attack():
    read = getattr
    return read(lambda: 0, "__globals__")
""",
    "inspect": """
import inspect
def attack():
    return inspect.currentframe()
""",
    "gc": """
import gc
def attack():
    return gc.get_referents(lambda: 0)
""",
    "type hints": """
import typing
def attack():
    class Holder:
        x: "__import__('os')"
    return typing.get_type_hints(Holder)
""",
}


@pytest.mark.parametrize("name", PAYLOADS)
def test_special_names_lead_nowhere(name, contained, finds_loot_natively):
    assert contained(PAYLOADS[name])
    if name not in ("mro entries", "setattr then read", "type hints"):  # work in some versions only
        try:
            assert finds_loot_natively(PAYLOADS[name]), "the payload does not work in plain Python; it proves nothing"
        except (AttributeError, TypeError) as error:
            pytest.fail(f"the payload does not work in plain Python: {error!r}")
