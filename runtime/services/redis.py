"""Redis as the place of `kv` and of `queue`: `Runtime(…, services={"kv": RedisKv("redis://localhost")})`.

What a step writes is written in one script before its result is recorded, together with a mark under the step's
idempotency key: whoever comes later under that key writes nothing. As durable as that Redis is set up to be.

This file alone knows the redis library. It must not know what is kept.
"""

from __future__ import annotations

import secrets
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import quote, unquote, urlsplit

from perdure.durations import Duration, duration_us
from perdure.errors import DefinitionError, ServiceFailed
from perdure.services.claims import Name
from perdure.services.drafts import Written
from perdure.services.redis_scripts import LIST, WRITE
from perdure.services.values import shown_url
from perdure.storage.cells import Cell

if TYPE_CHECKING:
    from redis.asyncio import Redis

_PAGE: Final = 500  # cells that one script looks at: Redis serves nobody else meanwhile
_SOON_US: Final = 60 * 1_000_000  # how long a call from outside may be asked for again, when its connection broke
_TIMEOUT_S: Final = 5.0  # of a connection and of an answer
_RETRIES: Final = 2  # of a command whose connection broke; the mark keeps it from happening twice
_FIELDS: Final = ("body", "shape", "data", "due", "expires_at", "at")  # of a cell, in its hash, beside the version
_LAST: Final = b"\xff"  # after every character of UTF-8


class RedisCells:
    """Cells in a Redis, for one service.

    It connects when it is first used. Two processes with the same URL and prefix share what is kept.

    Args:
        url: such as `"redis://localhost:6379/0"`, `"rediss://…"` or `"unix:///run/redis.sock"`.
        prefix: what all names in that Redis begin with.
        remember: how long it is known that a step has written; longer than a runtime may be down in between.

    Raises:
        DefinitionError: the URL can't be used, or the redis library is not installed.
    """

    service: str

    def __init__(self, url: str, *, prefix: str = "perdure", remember: Duration = "1d") -> None:
        if not _is_url(url):
            raise DefinitionError(f"{shown_url(url)} is no URL of a Redis.", fix='write "redis://localhost:6379/0"')
        if not isinstance(prefix, str) or not prefix:
            raise DefinitionError(f"prefix={prefix!r} can't begin a name.", fix='leave it out, or write "my-app"')
        self._url = url
        self._prefix = prefix
        self._remember_us = max(duration_us(remember, "remember"), _SOON_US)
        self._where = _without_password(url)
        self._redis: Redis | None = None
        self._writer: Any = None
        self._lister: Any = None
        self._error: type[Exception] = OSError
        _library()

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self._where!r})"

    def token(self) -> str:
        """Give a text that nobody else is given."""
        return secrets.token_hex(12)

    async def close(self) -> None:
        """Give back the connections."""
        redis, self._redis = self._redis, None
        if redis is not None:
            await redis.aclose()

    # ── reading ──────────────────────────────────────────────────────────────────────────────────

    async def before(self, under: str) -> Mapping[Name, Cell | None] | None:
        """Give what the cells held that were written under this key; None when none were."""
        kept: list[bytes] = await self._do(lambda redis: redis.lrange(self._mark(under), 0, -1))
        if not kept:
            return None
        found: dict[Name, Cell | None] = {}
        at = 1
        while at < len(kept):
            space, key, count = unquote(kept[at].decode()), kept[at + 1].decode(), int(kept[at + 2])
            found[space, key] = _cell(space, key, kept[at + 3 : at + 3 + count])
            at += 3 + count
        return found

    async def cell(self, space: str, key: str) -> Cell | None:
        """Find a cell."""
        name = f"{self._prefix}:{_quoted(space)}:{key}"
        fields: dict[bytes, bytes] = await self._do(lambda redis: redis.hgetall(name))
        return _cell(space, key, [each for pair in fields.items() for each in pair])

    async def cells(self, space: str, *, prefix: str, after: str | None, limit: int | None) -> list[Cell]:
        """List the cells of a space whose key begins with `prefix`, by key."""
        begin = b"-" if not prefix else b"[" + prefix.encode()
        if after is not None and after >= prefix:
            begin = b"(" + after.encode()
        end = b"+" if not prefix else b"(" + prefix.encode() + _LAST
        found: list[Cell] = []
        while limit is None or len(found) < limit:
            count = _PAGE if limit is None else min(_PAGE, limit - len(found))
            page, last = await self._list(space, "keys", begin, end, count)
            found += page
            if not last:
                break
            begin = b"(" + last
        return found

    async def due(self, space: str, until: int, limit: int) -> list[Cell]:
        """List the cells of a space that are due, the earliest first."""
        return (await self._list(space, "due", b"-inf", b"%d" % until, limit))[0]

    async def _list(self, space: str, index: str, begin: bytes, end: bytes, count: int) -> tuple[list[Cell], bytes]:
        args = [self._prefix, _quoted(space), index, begin, end, count]
        *found, last = await self._do(lambda redis: self._lister(keys=[], args=args, client=redis))
        cells = (_cell(space, key.decode(), fields) for key, fields in found)
        return [cell for cell in cells if cell is not None], last

    # ── writing ──────────────────────────────────────────────────────────────────────────────────

    async def write(
        self, cells: Sequence[Cell], expected: Mapping[Name, int], under: str, *, for_good: bool, each: bool = False
    ) -> Written:
        """Write cells at once, and once under a key."""
        names = [(cell.space, cell.key) for cell in cells]
        life_us = self._remember_us if for_good else _SOON_US
        args: list[Any] = [self._prefix, life_us // 1000, "1" if each else "0", "1" if for_good else "0"]
        for name, cell in zip(names, cells, strict=True):
            args += _written(cell, expected.get(name))
        keys = [self._mark(under), f"{self._prefix}:version"]
        how, *rest = await self._do(lambda redis: self._writer(keys=keys, args=args, client=redis))
        if how == b"again":  # by an earlier attempt, or by this one when the connection broke before the answer
            return Written(frozenset(names) if each else frozenset())
        if how == b"lost":
            return Written(frozenset(names[index - 1] for index in rest))
        lost = frozenset(name for name, version in zip(names, rest, strict=True) if not version)
        return Written(lost, tuple(rest))

    def _mark(self, under: str) -> str:
        return f"{self._prefix}:once:{self.service}:{under}"

    async def _do(self, command: Callable[[Redis], Awaitable[Any]]) -> Any:
        try:
            return await command(self._redis or self._connect())
        except (self._error, OSError) as error:
            raise ServiceFailed(
                f"the Redis of {self.service} at {self._where} did not do what was asked: {error}",
                where=self._where,
                why=type(error).__name__,
                fix="see that the server runs, that this machine reaches it, and that the URL has the right password; "
                "a step is tried again as its retries= say, and nothing is written twice",
            ) from error

    def _connect(self) -> Redis:
        redis, errors, retry, backoff = _library()
        self._error = errors.RedisError
        client: Redis = redis.from_url(
            self._url, socket_timeout=_TIMEOUT_S, socket_connect_timeout=_TIMEOUT_S,
            retry=retry.Retry(backoff.ExponentialWithJitterBackoff(base=0.05, cap=0.5), _RETRIES),
        )  # fmt: skip
        self._writer, self._lister = client.register_script(WRITE), client.register_script(LIST)
        self._redis = client
        return client


class RedisKv(RedisCells):
    """`kv` in a Redis: `services={"kv": RedisKv("redis://localhost")}`.

    A key's value is in the field `body` of the hash `perdure:kv/<namespace>:<key>`, as JSON.
    """

    service = "kv"


class RedisQueue(RedisCells):
    """`queue` in a Redis: `services={"queue": RedisQueue("redis://localhost")}`.

    Producers and consumers may be in several processes; their clocks should agree.
    """

    service = "queue"


def _library() -> tuple[Any, Any, Any, Any]:
    try:
        from redis import backoff, exceptions
        from redis.asyncio import Redis, retry
    except ImportError as error:
        raise DefinitionError(
            "the redis library is not installed.", why=str(error), fix="pip install 'perdure[redis]'"
        ) from None
    return Redis, exceptions, retry, backoff


def _is_url(url: object) -> bool:
    try:
        parts = urlsplit(url) if isinstance(url, str) else None
        return parts is not None and parts.scheme in ("redis", "rediss", "unix") and parts.port != 0
    except ValueError:  # its port is no number
        return False


def _without_password(url: str) -> str:
    parts = urlsplit(url)
    return parts._replace(netloc=parts.netloc.rpartition("@")[2], query="").geturl()


def _quoted(space: str) -> str:
    """A space without colons, which end it in a name."""
    return quote(space, safe="/ !#$&'()*+,;=?@[]<>|^`{}\"\\")


def _written(cell: Cell, expected: int | None) -> list[Any]:
    """A cell as the script takes it."""
    fields: list[Any] = []
    if not cell.is_gone:
        for name in _FIELDS:
            value = getattr(cell, name)
            if value is not None:
                fields += [name, value]
    # Redis forgets a moment early rather than late, in milliseconds.
    expires = "" if cell.expires_at is None else cell.expires_at // 1000
    due = "" if cell.due is None else cell.due
    return [_quoted(cell.space), cell.key, "" if expected is None else expected, expires, due, len(fields), *fields]


def _cell(space: str, key: str, flat: Sequence[bytes]) -> Cell | None:
    """A cell as its hash has it; None when there is none."""
    if not flat:
        return None
    fields = dict(zip(flat[::2], flat[1::2], strict=True))

    def text(name: bytes) -> str | None:
        return fields[name].decode() if name in fields else None

    def number(name: bytes) -> int | None:
        return int(fields[name]) if name in fields else None

    version, at = number(b"version") or 0, number(b"at") or 0
    return Cell(
        space,
        key,
        version,
        at,
        text(b"body"),
        text(b"shape"),
        fields.get(b"data"),
        number(b"due"),
        number(b"expires_at"),
    )
