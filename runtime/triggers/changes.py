"""What changed in a service, and filters of it: `@on_kv_change` and `@on_db_change` over `KvChange` and `DbChange`.

Knows names and globs. Must not know who is started, nor where values are kept.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from fnmatch import translate
from functools import lru_cache
from typing import Any, Final, Literal, TypeAlias

from perdure.errors import DefinitionError
from perdure.texts import checked_text, did_you_mean

KvOp: TypeAlias = Literal["put", "delete"]
DbOp: TypeAlias = Literal["insert", "update", "delete"]

KV_OPS: Final = ("put", "delete")
DB_OPS: Final = ("insert", "update", "delete")


@dataclass(frozen=True)
class KvChange:
    """A key of `kv` was written or deleted.

    Attributes:
        namespace, key: which. op: `"put"` or `"delete"`.
        value: what it holds now; None after a delete. previous: what it held before, None when it was not there.
    """

    namespace: str
    key: str
    op: KvOp
    value: Any = None
    previous: Any = None


@dataclass(frozen=True)
class DbChange:
    """A document of a collection was inserted, updated or deleted.

    Attributes:
        collection, id: which. op: `"insert"`, `"update"` or `"delete"`.
        document: as it is now; None after a delete. previous: as it was before; None before an insert.
    """

    collection: str
    op: DbOp
    id: str
    document: dict[str, Any] | None = None
    previous: dict[str, Any] | None = None


@dataclass(frozen=True)
class KvChanges:
    """Which changes of `kv` are meant.

    Attributes:
        namespace: equal to the change's; None is any.
        key_pattern: a glob over the key: `*` any text, `?` any character, `[ab]` one of them.
        op: equal to the change's; None is any.

    Raises:
        DefinitionError: it could never match.
    """

    namespace: str | None = None
    key_pattern: str = "*"
    op: KvOp | None = None

    def __post_init__(self) -> None:
        _check_name("namespace", self.namespace)
        checked_pattern(self.key_pattern)
        _check_op(self.op, KV_OPS)

    def matches(self, namespace: str, key: str, op: str) -> bool:
        """Whether a change is one of these."""
        return (
            (self.namespace is None or self.namespace == namespace)
            and (self.op is None or self.op == op)
            and (self.key_pattern == "*" or compiled(self.key_pattern).match(key) is not None)
        )

    def __str__(self) -> str:
        return f"kv {self.op or 'change'} {self.namespace or '*'}/{self.key_pattern}"


@dataclass(frozen=True)
class DbChanges:
    """Which changes of documents are meant.

    Attributes:
        collection: equal to the change's; None is any. op: equal to the change's; None is any.

    Raises:
        DefinitionError: it could never match.
    """

    collection: str | None = None
    op: DbOp | None = None

    def __post_init__(self) -> None:
        _check_name("collection", self.collection)
        _check_op(self.op, DB_OPS)

    def matches(self, collection: str, op: str) -> bool:
        """Whether a change is one of these."""
        return (self.collection is None or self.collection == collection) and (self.op is None or self.op == op)

    def __str__(self) -> str:
        return f"db {self.op or 'change'} {self.collection or '*'}"


@lru_cache(maxsize=1024)
def compiled(pattern: str) -> re.Pattern[str]:
    """A glob as a regular expression; upper and lower case differ, on every system."""
    return re.compile(translate(pattern))


def _check_name(what: str, value: object) -> None:
    if value is None:
        return
    if not isinstance(value, str) or not value:
        raise DefinitionError(f"{what}={value!r} matches no change.", fix=f"leave {what} out for any, or give a text")
    checked_text(value, what)


def checked_pattern(pattern: object) -> str:
    """Refuse a glob that no key can match.

    Raises:
        DefinitionError: it is no text, or empty, or has a range that goes backwards.
    """
    if not isinstance(pattern, str) or not pattern:
        raise DefinitionError(
            f"key_pattern={pattern!r} matches no key.", why="no key is empty", fix='write "*" for all, or "inv:*"'
        )
    checked_text(pattern, "key_pattern")
    if "(?!)" in translate(pattern):  # what a range from z to a becomes; text is escaped, and can't look like it
        raise DefinitionError(
            f"key_pattern={pattern!r} matches no key.",
            why="a range between its brackets goes backwards, so that no character is in it",
            fix="write [a-z] from the lesser to the greater, and [[] for a bracket itself",
        )
    return pattern


def _check_op(op: object, known: tuple[str, ...]) -> None:
    if op is not None and op not in known:
        raise DefinitionError(f"op={op!r} matches no change.", fix=did_you_mean(op, known))
