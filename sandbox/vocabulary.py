"""The names that the policy treats specially, as plain sets.

Attribute names are judged when code is compiled, so that every other attribute costs what it costs in plain Python.

This file knows names. It must not know what is done about them.
"""

from __future__ import annotations

import collections
import datetime
import decimal
import fractions
import re
import types
import uuid
from typing import Final

from RestrictedPython.transformer import INSPECT_ATTRIBUTES

#: Attributes that lead from a harmless object to frames, code, modules or the real interpreter.
DENIED_ATTRIBUTES: Final = frozenset(INSPECT_ATTRIBUTES) | {
    "ag_suspended", "co_consts", "co_names", "co_positions", "co_lines", "co_freevars", "co_cellvars", "co_varnames",
    "cr_suspended", "f_generator", "fdel", "fget", "fset", "func_closure", "func_code", "func_globals", "gi_suspended",
    "cell_contents", "mro", "tb_lasti", "tb_lineno", "with_traceback",
    "get_context", "get_coro", "get_loop", "get_stack", "print_stack",
    "model_parametrized_name", "model_rebuild", "parse_file", "parse_raw", "update_forward_refs",
}  # fmt: skip

#: Attributes that are harmless on most objects and not on some: the guard looks at the object.
WATCHED_ATTRIBUTES: Final = frozenset({
    "astimezone", "format", "format_map", "fromtimestamp", "now", "obj", "parser", "register", "strftime", "timestamp",
    "today", "utcfromtimestamp", "utcnow",
})  # fmt: skip

#: Special names that may be read anywhere, through the guard.
READABLE_SPECIALS: Final = frozenset({
    "__cause__", "__class__", "__context__", "__doc__", "__members__", "__name__", "__notes__", "__qualname__",
    "__suppress_context__",
})  # fmt: skip

_MAGIC: Final = """
    __init__ __post_init__ __repr__ __str__ __format__ __bytes__ __hash__ __bool__ __len__ __length_hint__
    __contains__ __iter__ __next__ __reversed__ __getitem__ __setitem__ __delitem__ __missing__ __call__
    __enter__ __exit__ __aenter__ __aexit__ __aiter__ __anext__ __await__
    __lt__ __le__ __eq__ __ne__ __gt__ __ge__ __neg__ __pos__ __abs__ __invert__ __int__ __float__ __complex__
    __index__ __round__ __trunc__ __floor__ __ceil__
    __add__ __sub__ __mul__ __matmul__ __truediv__ __floordiv__ __mod__ __divmod__ __pow__ __lshift__ __rshift__
    __and__ __xor__ __or__ __radd__ __rsub__ __rmul__ __rmatmul__ __rtruediv__ __rfloordiv__ __rmod__ __rdivmod__
    __rpow__ __rlshift__ __rrshift__ __rand__ __rxor__ __ror__ __iadd__ __isub__ __imul__ __imatmul__
    __itruediv__ __ifloordiv__ __imod__ __ipow__ __ilshift__ __irshift__ __iand__ __ixor__ __ior__
"""
#: Special methods that a class in a body may define.
MAGIC_METHODS: Final = frozenset(_MAGIC.split())
#: Those that may be reached through `super()`. A class of the module may register its subclasses at import.
REACHED_THROUGH_SUPER: Final = MAGIC_METHODS | {"__init_subclass__"}

#: `_x` attributes that are public in spite of their names.
PUBLIC_UNDERSCORED: Final = frozenset({
    "_asdict", "_fields", "_field_defaults", "_make", "_replace", "_missing_", "_name_", "_value_",
})  # fmt: skip

#: Builtins that eat an iterable inside C; their arguments are metered.
CONSUMERS: Final = frozenset({
    "all", "any", "bytearray", "bytes", "dict", "enumerate", "filter", "frozenset", "list", "map", "max", "min", "next",
    "set", "sorted", "sum", "tuple", "zip",
    "Counter", "OrderedDict", "defaultdict", "deque", "fsum", "prod", "mean", "fmean", "median", "mode", "reduce",
    "accumulate", "chain", "combinations", "combinations_with_replacement", "compress", "dropwhile", "filterfalse",
    "groupby", "heapify", "nlargest", "nsmallest", "pairwise", "permutations", "product", "starmap", "takewhile",
    "zip_longest", "batched", "islice", "merge", "cycle", "tee",
})  # fmt: skip

#: Methods that do the same.
CONSUMING_METHODS: Final = CONSUMERS | {
    "difference", "difference_update", "extend", "extendleft", "from_iterable", "fromkeys", "intersection",
    "intersection_update", "isdisjoint", "issubset", "issuperset", "join", "subtract", "symmetric_difference",
    "symmetric_difference_update", "union", "update", "writelines",
}  # fmt: skip

_BUILTIN_TYPES: Final = (
    str, bytes, bytearray, int, float, complex, list, tuple, dict, set, frozenset, range, slice,
    collections.deque, collections.defaultdict, collections.OrderedDict, collections.Counter, collections.ChainMap,
    datetime.datetime, datetime.date, datetime.time, datetime.timedelta, datetime.timezone,
    decimal.Decimal, fractions.Fraction, uuid.UUID, re.Match, re.Pattern,
    types.GeneratorType, types.CoroutineType, types.AsyncGeneratorType, BaseException,
)  # fmt: skip

#: Public methods of the builtin types. A call of one compiles to a plain call, unless a class of the user's that the
#: body can reach has a method of that name.
NATIVE_METHODS: Final = frozenset(name for kind in _BUILTIN_TYPES for name in dir(kind) if not name.startswith("_"))


def is_special(name: str) -> bool:
    """Tell whether a name is `__x__`."""
    return len(name) > 4 and name.startswith("__") and name.endswith("__")


def is_mangled(name: str) -> bool:
    """Tell whether Python mangles a name inside a class: `__x`."""
    return name.startswith("__") and not name.endswith("__")


def is_private(name: str) -> bool:
    """Tell whether a name is `_x`, or `__x` of a class."""
    return name.startswith("_") and name != "_" and not is_special(name)


def mangle(name: str, class_name: str) -> str:
    """Spell a private name as Python does inside a class; outside of one it stays."""
    stripped = class_name.lstrip("_")
    return f"_{stripped}{name}" if stripped and is_mangled(name) else name
