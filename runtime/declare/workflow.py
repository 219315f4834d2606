"""`@workflow`: a named, versioned definition of a body. Frozen, with the digest of the code that it reaches.

Knows signatures, annotations and options. Must not know how a run is walked.
"""

from __future__ import annotations

import inspect
import json
import typing
from collections.abc import Callable, Coroutine, Mapping, Sequence
from typing import Any, Generic, TypeVar

from pydantic import PydanticUserError, TypeAdapter
from pydantic.errors import PydanticUndefinedAnnotation

from perdure.declare.libraries import library_versions
from perdure.declare.offered import offers
from perdure.declare.options import MAX_ENTRIES, MAX_OPS, Retries, WorkflowOptions, workflow_options
from perdure.declare.problems import Unfit, validated
from perdure.declare.queues import Queue
from perdure.declare.templates import check_fields, filled
from perdure.declare.triggers import Trigger, check_scheduled_inputs
from perdure.durations import Duration
from perdure.errors import DefinitionError, InvalidInput, PolicyViolation, SandboxViolation
from perdure.misfit import fitting
from perdure.sandbox import Restricted, restrict
from perdure.storage.encoding import Encoded, encode
from perdure.triggers.event import Event
from perdure.triggers.schedule import Schedule

Body = TypeVar("Body", bound=Callable[..., Coroutine[Any, Any, Any]], covariant=True)
_UNSET: Any = object()


class WorkflowDefinition(Generic[Body]):
    """What `@workflow` makes of a function.

    Attributes:
        id, version: how it is found; unique together among the workflows of a runtime.
        options: frozen, see `WorkflowOptions`.
        function: the author's own function, unrestricted.
        takes: how many of (input, step, ctx) the body takes.
    """

    __perdure_opaque__ = True
    is_pinned = False  # it is today's code, and finds all that it needs

    def __init__(
        self,
        function: Body,
        *,
        id: str,
        version: str,
        options: WorkflowOptions,
        strict: bool,
        input_type: Any = None,
        output_type: Any = None,
    ) -> None:
        self.function = function
        self.id = id
        self.version = version
        self.options = options
        self.strict = strict
        self.takes = _signature(function)
        self.__name__ = function.__name__
        self.__qualname__ = function.__qualname__
        self.__module__ = function.__module__
        self.__doc__ = function.__doc__
        self.restricted: Restricted = restrict(
            function,
            strict=strict,
            step_parameter=_parameter_names(function)[1] if self.takes > 1 else None,
            offers=offers(),
        )
        self._input_type = input_type
        self._output_type = output_type
        self._libraries: tuple[tuple[str, ...], dict[str, str]] = ((), {})
        self._input: TypeAdapter[Any] | None = _UNSET
        self._output: TypeAdapter[Any] | None = _UNSET
        self._check_templates(now=True)
        self._check_triggers(now=True)

    def __call__(self, *_: object, **__: object) -> Any:
        raise DefinitionError(
            f"workflow {self.id!r} was called like a function.",
            why="its runs are recorded, so a runtime has to start them",
            fix=f'await runtime.start("{self.id}", input), or in a body: await step.invoke("name", "{self.id}", input)',
        )

    def __repr__(self) -> str:
        return f"<workflow {self.id} v{self.version}>"

    @property
    def digest(self) -> str:
        """Hexadecimal digest of the source of the body and of every helper that it reaches."""
        return self.restricted.digest

    @property
    def site(self) -> str:
        """Where the body is written: `file.py:12`."""
        code = self.function.__code__
        return f"{code.co_filename}:{code.co_firstlineno}"

    @property
    def source_json(self) -> str:
        """The source closure as the ledger stores it: a JSON list, the body first."""
        return json.dumps(
            [
                {
                    "module": unit.module,
                    "qualname": unit.qualname,
                    "file": unit.file,
                    "line": unit.line,
                    "source": unit.source,
                }
                for unit in self.restricted.sources
            ],
            ensure_ascii=False,
        )

    @property
    def libraries(self) -> Mapping[str, str]:
        """The versions of the distributions whose code the body and its helpers can call, ours among them."""
        modules = self.restricted.libraries
        if not self._libraries[1] or self._libraries[0] != modules:
            self._libraries = modules, library_versions(modules)
        return self._libraries[1]

    def body(self) -> Callable[..., Coroutine[Any, Any, Any]]:
        """The restricted body; linked on first use, when all names of its module exist."""
        return self.restricted.function

    def link(self) -> None:
        """Compile what the body reaches and check it; `PolicyViolation` or warnings come now if not before."""
        self.restricted.link()
        self._check_templates()
        self._check_triggers()

    def _check_templates(self, *, now: bool = False) -> None:
        """Refuse keys that name fields which no input has; `now`: unless the module has not defined its model yet."""
        templates = {"idempotency_key": self.options.idempotency_key, "key": self.options.key}
        for option, template in templates.items():
            if template is None:
                continue
            try:
                annotation = self.input_annotation
            except DefinitionError:
                if now:
                    return  # `link` comes when all names of the module exist
                raise
            check_fields(option, template, annotation, self.site)

    @property
    def triggers(self) -> tuple[Trigger, ...]:
        """What starts its runs by itself."""
        return self.options.triggers

    def _check_triggers(self, *, now: bool = False) -> None:
        """Refuse a schedule whose input the body does not take; `now` as above."""
        if not self.options.triggers:
            return
        try:
            self._input_adapter()
        except DefinitionError:
            if now:
                return
            raise
        check_scheduled_inputs(self)

    def encode_input(self, value: object) -> Encoded:
        """Validate an input against the body's annotation and encode it.

        Raises:
            InvalidInput: it does not fit. NotSerializable: it has no lossless encoding.
        """
        adapter = self._input_adapter()
        if adapter is None:
            return encode(value)
        try:
            return encode(validated(adapter, value))
        except Unfit as error:
            raise InvalidInput(
                f"the input does not fit workflow {self.id!r}: {error.first}",
                where=self.site,
                why="\n".join(error.lines),
                fix="pass what its annotation says; nothing was started",
            ) from None

    def encode_output(self, value: object) -> Encoded:
        """Validate what the body returned against its return annotation and encode it."""
        adapter = self._output_adapter()
        if adapter is None:
            return encode(value)
        try:
            return encode(validated(adapter, value, "output"))
        except Unfit as error:
            raise SandboxViolation(
                f"workflow {self.id!r} returned what its annotation does not allow: {error.first}",
                where=self.site,
                why="\n".join(error.lines),
                fix="return what is annotated, or mend the annotation",
            ) from None

    def run_key(self, value: object) -> str | None:
        """Fill the idempotency key's template from a validated input; None when there is no template."""
        template = self.options.idempotency_key
        return None if template is None else filled("idempotency_key", template, value, self.site)

    def queue_key(self, value: object) -> str | None:
        """Fill the template of the key on its queue from a validated input; None when there is no template."""
        template = self.options.key
        return None if template is None else filled("key", template, value, self.site)

    def validated_input(self, value: object) -> object:
        """The input as the body will see it, before encoding."""
        adapter = self._input_adapter()
        return value if adapter is None else adapter.validate_python(value)

    @property
    def has_output_model(self) -> bool:
        """Whether `output=` says what the output is validated against, and not the annotation."""
        return self._output_type is not None

    @property
    def input_annotation(self) -> Any:
        """What the input is validated against: the option's model, else the body's annotation, or None."""
        if self._input_type is not None or not self.takes:
            return self._input_type
        return self._hints().get(_parameter_names(self.function)[0])

    def _input_adapter(self) -> TypeAdapter[Any] | None:
        if self._input is _UNSET:
            self._input = self._adapter(self.input_annotation, "input")
        return self._input

    def _output_adapter(self) -> TypeAdapter[Any] | None:
        if self._output is _UNSET:
            annotation = self._output_type if self._output_type is not None else self._hints().get("return")
            self._output = self._adapter(annotation, "return")
        return self._output

    def _hints(self) -> dict[str, Any]:
        try:
            return typing.get_type_hints(self.function, include_extras=True)
        except NameError as error:
            raise DefinitionError(
                f"workflow {self.id!r} has an annotation that can't be resolved: {error}",
                where=self.site,
                fix="import the name at module level, not only under TYPE_CHECKING",
            ) from None

    def _adapter(self, annotation: Any, what: str) -> TypeAdapter[Any] | None:
        if annotation is None or annotation is Any or annotation is inspect.Parameter.empty:
            return None
        try:
            return TypeAdapter(annotation)
        except (PydanticUserError, PydanticUndefinedAnnotation) as error:
            old = isinstance(error, PydanticUserError) and error.code == "typed-dict-version"  # before Python 3.12
            raise DefinitionError(
                f"workflow {self.id!r}: its {what} annotation {annotation!r} can't be validated.",
                where=self.site,
                why=str(error).splitlines()[0],
                fix="write from typing_extensions import TypedDict"
                if old
                else "use a pydantic model, a dataclass, a TypedDict or builtin types",
            ) from None


@fitting
def workflow(
    *,
    id: str | None = None,
    version: str = "1",
    retries: Retries = 0,
    timeout: Duration | None = None,
    max_entries: int = MAX_ENTRIES,
    max_ops: int = MAX_OPS,
    input: Any = None,
    output: Any = None,
    idempotency_key: str | None = None,
    queue: str | Queue | None = None,
    key: str | None = None,
    priority: int = 0,
    trigger: Schedule | Event | Sequence[Schedule | Event] | None = None,
) -> Callable[[Body], WorkflowDefinition[Body]]:
    """Declare a workflow: `@workflow(id="fulfill-order", version="1", retries=5, timeout="7d")` over `async def`.

    Args:
        id: how runs name it; the function's name with dashes by default.
        version: a text; several versions of one id may be registered side by side.
        retries: whole-run restarts after an exception leaves the body (completed steps are kept); 0 by default.
        timeout: wall clock for the whole run, a duration; none by default. Compensation still runs.
        max_entries: entries that one run may have.
        max_ops: operations of the body between two waits, so that an endless loop ends in `BudgetExceeded`.
        input, output: models to validate against; taken from the annotations by default.
        idempotency_key: a template over the input's fields, `"order-{order_id}"`: the same key is the same run.
        queue: where its runs wait for their turn: a `Queue`, or the name of one that the runtime is given.
        key: a template over the input's fields, `"{customer_id}"`: what the queue's limits per key go by.
        priority: within the queue; smaller numbers come first.
        trigger: what starts runs by itself: a `Schedule`, an `Event`, or a list of them.

    Raises:
        DefinitionError: an option or the signature can't be used.
        PolicyViolation: the body or what it reaches breaks the policy; all findings at once.
    """
    options = workflow_options(
        retries=retries, timeout=timeout, max_entries=max_entries, max_ops=max_ops, idempotency_key=idempotency_key,
        queue=queue, key=key, priority=priority, trigger=trigger,
    )  # fmt: skip
    return _declarer(False, id, version, options, input, output)


@fitting
def strict_workflow(
    *,
    id: str | None = None,
    version: str = "1",
    retries: Retries = 0,
    timeout: Duration | None = None,
    max_entries: int = MAX_ENTRIES,
    max_ops: int = MAX_OPS,
    input: Any = None,
    output: Any = None,
    idempotency_key: str | None = None,
    queue: str | Queue | None = None,
    key: str | None = None,
    priority: int = 0,
    trigger: Schedule | Event | Sequence[Schedule | Event] | None = None,
) -> Callable[[Body], WorkflowDefinition[Body]]:
    """Declare a workflow as `perdure.workflow` does; every finding of the policy is an error (`perdure.strict`)."""
    options = workflow_options(
        retries=retries, timeout=timeout, max_entries=max_entries, max_ops=max_ops, idempotency_key=idempotency_key,
        queue=queue, key=key, priority=priority, trigger=trigger,
    )  # fmt: skip
    return _declarer(True, id, version, options, input, output)


def _declarer(
    strict: bool,
    id: str | None,
    version: str,
    options: WorkflowOptions,
    input: Any,
    output: Any,
) -> Callable[[Body], WorkflowDefinition[Body]]:
    if callable(id):
        raise DefinitionError(
            "@workflow needs its parentheses.",
            fix='write @workflow(id="…", version="1") or @workflow() over the async def',
        )
    _check_text("version", version)

    def declare(function: Body) -> WorkflowDefinition[Body]:  # type: ignore[misc]  # read only, as all of a definition
        name = id if id is not None else getattr(function, "__name__", "").replace("_", "-")
        _check_text("id", name)
        try:
            return WorkflowDefinition(
                function, id=name, version=version, options=options, strict=strict, input_type=input, output_type=output
            )
        except PolicyViolation as violation:
            raise violation.with_traceback(None) from None  # the findings name the author's lines; ours would hide them

    return declare


def _signature(function: Callable[..., Any]) -> int:
    if not inspect.iscoroutinefunction(function) or not inspect.isfunction(function):
        raise DefinitionError(
            f"@workflow decorates an async def, not {function!r}.", fix="write async def name(input, step, ctx): …"
        )
    parameters = list(inspect.signature(function).parameters.values())
    plain = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
    if len(parameters) > 3 or any(parameter.kind not in plain for parameter in parameters):
        code = function.__code__
        raise DefinitionError(
            f"{function.__name__} has a signature that no run can call.",
            where=f"{code.co_filename}:{code.co_firstlineno}",
            why=f"it takes {inspect.signature(function)}",
            fix="take (input, step, ctx); trailing ones may be left out",
        )
    return len(parameters)


def _parameter_names(function: Callable[..., Any]) -> list[str]:
    return list(inspect.signature(function).parameters)


def _check_text(what: str, value: object) -> None:
    if not isinstance(value, str) or not value or len(value) > 200 or not value.isprintable():
        raise DefinitionError(f"{what}={value!r} can't be used.", fix="give a printable text of 1 to 200 characters")
