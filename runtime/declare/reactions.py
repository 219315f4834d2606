"""`@on_event`, `@on_kv_change`, `@on_db_change`: functions that are called when something happens.

Each is a workflow of one step: what happens makes a run of it, whose step calls the function. So retries, history,
replay and de-duplication are those of runs, and a reaction that failed for good is a failed run.

The body is written here, as text, because a body is recorded with its source. It names the function as its module
does; so the recorded code finds today's function again, as it does with any step.

Knows functions and what they take. Must not know what happens, nor who calls.
"""

from __future__ import annotations

import functools
import inspect
import linecache
from collections.abc import Callable
from dataclasses import replace
from types import FunctionType
from typing import Any, Final, Generic, ParamSpec, TypeVar, get_type_hints

from pydantic import TypeAdapter

from perdure.declare.options import Retries, StepOptions, workflow_options
from perdure.declare.problems import Unfit, validated
from perdure.declare.queues import Queue
from perdure.declare.step import StepDefinition
from perdure.declare.triggers import Trigger
from perdure.declare.workflow import WorkflowDefinition
from perdure.durations import Duration
from perdure.errors import DefinitionError, InvalidInput
from perdure.misfit import fitting
from perdure.storage.encoding import Encoded, encode
from perdure.triggers.changes import DbChange, DbChanges, DbOp, KvChange, KvChanges, KvOp
from perdure.triggers.event import Event, ReceivedEvent

P = ParamSpec("P")
R = TypeVar("R")

#: What a function is given, by its kind of trigger.
_GIVEN: Final[dict[type, type]] = {Event: ReceivedEvent, KvChanges: KvChange, DbChanges: DbChange}
_LOCAL: Final = "<locals>"


class Reaction(WorkflowDefinition[Any], Generic[P, R]):
    """What `@on_event` and the like make of a function: a workflow that calls it. Called, it is the function.

    Attributes:
        reacts_to: the events or changes that it is for.
        as_step: the function as the workflow's one step.
    """

    def __init__(
        self,
        function: Callable[P, R],
        reacts_to: Event | KvChanges | DbChanges,
        *,
        id: str | None,
        step_options: StepOptions,
        queue: str | Queue | None,
        key: str | None,
    ) -> None:
        taken = _parameters(function, reacts_to)
        assert isinstance(function, FunctionType)
        self.reacts_to = reacts_to
        self._called: FunctionType = function
        self._given = _GIVEN[type(reacts_to)]
        self._payload: TypeAdapter[Any] | None = None
        name = function.__name__
        self.as_step: StepDefinition[P, R, R] = StepDefinition(function, step_options, name)
        super().__init__(
            _body(self, function, ("input.payload", "input")[:taken] if isinstance(reacts_to, Event) else ("input",)),
            id=id if id is not None else name.replace("_", "-"),
            version="1",
            options=workflow_options(queue=queue, key=key),
            strict=True,
            input_type=self._given,
        )
        functools.update_wrapper(self, function, updated=())
        del self.__dict__["__wrapped__"]  # the sandbox would look through it

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> R:  # type: ignore[override]  # a workflow refuses calls
        return self._called(*args, **kwargs)  # type: ignore[no-any-return]

    def __repr__(self) -> str:
        return f"<reaction {self.id} to {self.reacts_to}>"

    @property
    def triggers(self) -> tuple[Trigger, ...]:
        """What it reacts to."""
        return (self.reacts_to,)

    @property
    def site(self) -> str:
        """Where the function is written."""
        code = self._called.__code__
        return f"{code.co_filename}:{code.co_firstlineno}"

    def link(self) -> None:
        """Check that the body finds the function under its name, and that its annotations mean something."""
        named = self.function.__globals__.get(self.__name__) if _LOCAL not in self.function.__qualname__ else self
        if named is not None and named is not self and named is not self._called:
            raise DefinitionError(
                f"{self.id!r} is not what {self.__name__} is in its module any more.",
                where=self.site,
                why=f"another {self.__name__} was defined after it, and would be called instead",
                fix="give each function a name of its own",
            )
        self._payload_adapter()
        super().link()

    def encode_input(self, value: object) -> Encoded:
        """Validate what happened, and an event's payload against the annotation of the function's first parameter.

        Raises:
            InvalidInput: it does not fit. NotSerializable: it has no lossless encoding.
        """
        adapter = self._payload_adapter()
        if adapter is None:
            return super().encode_input(value)
        happened = self.validated_input(value)
        assert isinstance(happened, ReceivedEvent)
        try:
            return encode(replace(happened, payload=validated(adapter, happened.payload, "payload")))
        except Unfit as error:
            raise InvalidInput(
                f"the payload of event {happened.type!r} does not fit {self.id!r}: {error.first}",
                where=self.site,
                why="\n".join(error.lines),
                fix="send what its annotation says, or annotate what is sent",
            ) from None

    def _payload_adapter(self) -> TypeAdapter[Any] | None:
        if self._given is not ReceivedEvent:
            return None
        if self._payload is None:
            try:
                hints = get_type_hints(self._called, include_extras=True)
            except NameError as error:
                raise DefinitionError(
                    f"{self.id!r} has an annotation that can't be resolved: {error}",
                    where=self.site,
                    fix="import the name at module level, not only under TYPE_CHECKING",
                ) from None
            first = next(iter(inspect.signature(self._called).parameters))
            self._payload = self._adapter(hints.get(first), "payload") or TypeAdapter(Any)
        return self._payload


@fitting
def on_event(
    type: str,
    *,
    resource: str | None = None,
    namespace: str | None = None,
    match: dict[str, Any] | None = None,
    id: str | None = None,
    retries: Retries | None = None,
    timeout: Duration | None = None,
    queue: str | Queue | None = None,
    key: str | None = None,
) -> Callable[[Callable[P, R]], Reaction[P, R]]:
    """Have a function called for every matching event: `@on_event("order.paid")` over `def f(payload): …`.

    It takes the payload, validated against its annotation, and if it likes the `ReceivedEvent` as a second parameter.
    It is a step, sync or async: it may use the services of `current_step()` and start runs.

    Args:
        type, resource, namespace, match: which events, as for `Event`.
        id: how its runs are found; the function's name with dashes by default.
        retries, timeout: of the call, as for a step; 2 further attempts by default.
        queue, key: as for a workflow; the key is a template over the event, `"{payload[customer]}"`.

    Raises:
        DefinitionError: it could never match, or the function can't be called so.
    """
    return _declarer(Event(type, resource, namespace, match), id, retries, timeout, queue, key)


@fitting
def on_kv_change(
    *,
    namespace: str | None = None,
    key_pattern: str = "*",
    op: KvOp | None = None,
    id: str | None = None,
    retries: Retries | None = None,
    timeout: Duration | None = None,
    queue: str | Queue | None = None,
    key: str | None = None,
) -> Callable[[Callable[P, R]], Reaction[P, R]]:
    """Have a function called for every matching change of `kv`: `@on_kv_change(key_pattern="inv:*")`.

    It takes a `KvChange`.

    Args:
        namespace, key_pattern, op: which changes, as for `KvChanges`.
        id, retries, timeout, queue: as for `on_event`. key: a template over the change, `"{key}"`.

    Raises:
        DefinitionError: it could never match, or the function can't be called so.
    """
    return _declarer(KvChanges(namespace, key_pattern, op), id, retries, timeout, queue, key)


@fitting
def on_db_change(
    *,
    collection: str | None = None,
    op: DbOp | None = None,
    id: str | None = None,
    retries: Retries | None = None,
    timeout: Duration | None = None,
    queue: str | Queue | None = None,
    key: str | None = None,
) -> Callable[[Callable[P, R]], Reaction[P, R]]:
    """Have a function called for every matching change of documents: `@on_db_change(collection="orders", op="insert")`.

    It takes a `DbChange`.

    Args:
        collection, op: which changes, as for `DbChanges`.
        id, retries, timeout, queue: as for `on_event`. key: a template over the change, `"{id}"`.

    Raises:
        DefinitionError: it could never match, or the function can't be called so.
    """
    return _declarer(DbChanges(collection, op), id, retries, timeout, queue, key)


def _declarer(
    reacts_to: Event | KvChanges | DbChanges,
    id: str | None,
    retries: Retries | None,
    timeout: Duration | None,
    queue: str | Queue | None,
    key: str | None,
) -> Callable[[Callable[P, R]], Reaction[P, R]]:
    step_options = StepOptions().overridden(retries, timeout, None, None)

    def declare(function: Callable[P, R]) -> Reaction[P, R]:
        return Reaction(function, reacts_to, id=id, step_options=step_options, queue=queue, key=key)

    return declare


def _parameters(function: Callable[..., Any], reacts_to: Event | KvChanges | DbChanges) -> int:
    """How many parameters the function takes of what it is given."""
    decorator = {Event: "on_event", KvChanges: "on_kv_change", DbChanges: "on_db_change"}[type(reacts_to)]
    plain = isinstance(function, FunctionType) and not inspect.isasyncgenfunction(function)
    if not plain or inspect.isgeneratorfunction(function):
        raise DefinitionError(
            f"@{decorator} decorates a function, not {function!r}.", fix="put it directly over def or async def"
        )
    positional = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
    parameters = [
        each
        for each in inspect.signature(function).parameters.values()
        if each.kind in positional or (each.kind is each.KEYWORD_ONLY and each.default is each.empty)
    ]
    needed = [each for each in parameters if each.default is each.empty]
    most = 2 if isinstance(reacts_to, Event) else 1
    if not parameters or len(needed) > most or any(each.kind not in positional for each in parameters):
        takes = "(payload) or (payload, event)" if most == 2 else "(change)"
        code = function.__code__
        raise DefinitionError(
            f"{function.__name__} has a signature that nothing can call.",
            where=f"{code.co_filename}:{code.co_firstlineno}",
            why=f"it takes {inspect.signature(function)}",
            fix=f"take {takes}",
        )
    return max(1, len(needed))


# ── the body ─────────────────────────────────────────────────────────────────────────────────────

_BODY: Final = """\
async def react_{name}(input, step):
    return await step.run({name!r}, {name}, {arguments})
"""
_NESTED: Final = """\
def around({name}):
    async def react_{name}(input, step):
        return await step.run({name!r}, {name}, {arguments})
    return react_{name}
"""


def _body(reaction: Reaction[..., Any], function: Callable[..., Any], arguments: tuple[str, ...]) -> FunctionType:
    """Write the body of a reaction, in the namespace of its function."""
    assert isinstance(function, FunctionType)
    name = function.__name__
    is_global = function.__qualname__ == name
    shown = name if name.isidentifier() else "function"
    text = (_BODY if is_global else _NESTED).format(name=shown, arguments=", ".join(arguments))
    filename = f"<reaction {function.__module__}.{function.__qualname__}, line {function.__code__.co_firstlineno}>"
    linecache.cache[filename] = (len(text), None, text.splitlines(keepends=True), filename)
    made: dict[str, Any] = {"__name__": function.__module__}
    exec(compile(text, filename, "exec", dont_inherit=True), made)
    if not is_global:
        body: FunctionType = made["around"](reaction)
        return body
    code = made[f"react_{shown}"].__code__
    body = FunctionType(code, function.__globals__, code.co_name)
    body.__module__ = function.__module__
    return body
