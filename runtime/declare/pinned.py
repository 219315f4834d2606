"""Definitions with the code that a ledger recorded: the body of then, with the steps and models of today's modules.

    body, helpers, constants    as recorded; their text must still hash to its digest
    steps, models               today's
    output's validation         the recorded body's return annotation, among today's names; none if it has no meaning
    options                     today's while the version is registered, else as recorded with the run

Knows recorded closures and registries. Must not know runs, nor why somebody wants the old code.
"""

from __future__ import annotations

import ast
import importlib
import importlib.util
import inspect
import os
import sys
import typing
import warnings
from collections.abc import Callable, Coroutine, Mapping, Sequence
from typing import Any

from pydantic import TypeAdapter

from perdure.declare.gone import gone_step
from perdure.declare.libraries import library_versions
from perdure.declare.options import WorkflowOptions
from perdure.declare.problems import Unfit, validated
from perdure.declare.registry import Definition, Registry
from perdure.errors import DefinitionError, DeterminismWarning, LedgerCorrupt, PerdureError, SandboxViolation
from perdure.sandbox import Restricted, load_sources, restrict_pinned
from perdure.sandbox.source import Source, digest_of
from perdure.storage.encoding import Encoded, encode
from perdure.storage.entries import DefinitionRow


class PinnedDefinition:
    """A recorded body.

    Args:
        recorded: what the ledger has.
        today: the definition that stands for it in today's code, if there is one.
        options: those that were recorded with a run; today's when they are left out.

    Attributes:
        id, version, digest: those of the recorded definition.
        source_json: its source closure as the ledger has it.
        today: as given.
        options: how its runs are walked.
        restricted: the recorded body, under today's policy.
        takes: how many of (input, step, ctx) it takes.
        is_pinned: whether it was made from recorded text, so that what it needs of today's code may be gone.
    """

    def __init__(
        self, recorded: DefinitionRow, today: Definition | None, options: WorkflowOptions | None = None
    ) -> None:
        self.id = recorded.workflow
        self.version = recorded.version
        self.digest = recorded.digest
        self.source_json = recorded.source
        self.today = today
        self.options = options or (today.options if today is not None else WorkflowOptions())
        # What has not changed since is at hand, also where it could not be made from its text alone.
        self.is_pinned = today is None or recorded.digest != today.digest
        if today is not None and not self.is_pinned:
            self.restricted = today.restricted
        else:
            self.restricted = _restricted(recorded, strict=today is not None and today.strict)
        self.takes = len(inspect.signature(self.restricted.original).parameters)
        self._output = _output_adapter(recorded) if self.is_pinned else None

    def __repr__(self) -> str:
        return f"<pinned workflow {self.id} v{self.version}, {self.digest[:8]}>"

    def walked_under(self, version: str, options: WorkflowOptions) -> PinnedDefinition:
        """The same code for runs of another version, or with other options; it is not loaded again."""
        made = object.__new__(PinnedDefinition)
        made.__dict__.update(self.__dict__, version=version, options=options)
        return made

    @property
    def libraries(self) -> Mapping[str, str]:
        """The versions of the distributions whose code the recorded body can call."""
        return library_versions(self.restricted.libraries)

    def body(self) -> Callable[..., Coroutine[Any, Any, Any]]:
        """The restricted body."""
        return self.restricted.function

    def encode_input(self, value: object) -> Encoded:
        """Encode what a run that goes on with this code is started with; validated as today's definition does."""
        return encode(value) if self.today is None else self.today.encode_input(value)

    def encode_output(self, value: object) -> Encoded:
        """Validate what the body returned, and encode it.

        Raises:
            SandboxViolation: it does not fit. NotSerializable: it has no lossless encoding.
        """
        if self.today is not None and (not self.is_pinned or self.today.has_output_model):
            return self.today.encode_output(value)
        if self._output is None:
            return encode(value)
        try:
            return encode(validated(self._output, value, "output"))
        except Unfit as error:
            raise SandboxViolation(
                f"the recorded code of workflow {self.id!r} returned what its annotation does not allow.",
                where=f"definition {self.digest}",
                why=str(error),
                fix="keep today's classes able to hold what the old code returns",
            ) from None


class PinnedCode:
    """The recorded definitions of one ledger, each loaded once.

    Args:
        registry: today's definitions, whose modules are imported.
        find: looks a recorded definition up by its digest.
    """

    def __init__(self, registry: Registry, find: Callable[[str], DefinitionRow | None]) -> None:
        self._registry = registry
        self._find = find
        self._loaded: dict[tuple[str, str], PinnedDefinition | PerdureError] = {}

    def get(
        self, digest: str, workflow: str, version: str, options: Callable[[], WorkflowOptions] | None = None
    ) -> PinnedDefinition:
        """Find the definition that a run of this workflow and version was started with.

        Args:
            options: reads what was recorded with the run; asked when today's code does not have the version.

        Raises:
            DefinitionError: the ledger has no such definition, or it can't be loaded any more.
            LedgerCorrupt: what the ledger has is not what was recorded.
            PolicyViolation: today's policy refuses it.
        """
        # Two versions may have the same code; what stands for it today is found by the version.
        key = digest, version
        if key not in self._loaded:
            try:
                self._loaded[key] = self._load(digest, workflow, version)
            except PerdureError as error:
                self._loaded[key] = error
        found = self._loaded[key]
        if isinstance(found, PerdureError):
            raise found.with_traceback(None)
        if self._registry.knows(workflow, version):
            return found
        return found.walked_under(version, WorkflowOptions() if options is None else options())

    def _load(self, digest: str, workflow: str, version: str) -> PinnedDefinition:
        registry = self._registry
        today = registry.get(workflow, version) if registry.knows(workflow, version) else None
        recorded = self._find(digest)
        if recorded is None:
            raise DefinitionError(
                f"the ledger does not have the code that {workflow} v{version} ran with.",
                where=f"definition {digest}",
                fix="replay it on today's code instead",
            )
        if today is None or today.digest != digest:
            _check_text(recorded)
        return PinnedDefinition(recorded._replace(workflow=workflow, version=version), today)


def _check_text(recorded: DefinitionRow) -> None:
    """Refuse a text that is not the one that its digest was taken of, before any of it is compiled."""
    try:
        found = digest_of(load_sources(recorded.source))
    except (ValueError, TypeError, SyntaxError, IndexError, RecursionError) as error:
        found = f"none: {type(error).__name__}: {error}"
    if found != recorded.digest:
        raise LedgerCorrupt(
            f"the recorded code of {recorded.workflow} v{recorded.version} is not the code that ran: "
            "its digest is another one.",
            where=f"definition {recorded.digest}, recorded under Python {recorded.python}",
            why=f"the text that the ledger has now gives {found}; it was altered, so it is not run",
            fix="restore the ledger from a copy (perdure verify tells what else was altered), or register the code",
        )


def _restricted(recorded: DefinitionRow, *, strict: bool) -> Restricted:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeterminismWarning)  # told when this code was new
            return restrict_pinned(_placed(recorded), strict=strict, stand_in=gone_step)
    except PerdureError:
        raise
    except Exception as error:  # recorded text may fail in any way when it is run as code: told as what can't be loaded
        raise DefinitionError(
            f"the recorded code of {recorded.workflow} v{recorded.version} can't be loaded: "
            f"{type(error).__name__}: {error}",
            where=f"definition {recorded.digest}",
            why="pinned code takes its steps and models from today's modules, and something there is not as it was",
            fix="bring back what it misses, or replay on today's code",
        ) from error


def _placed(recorded: DefinitionRow) -> Sequence[Source]:
    """The recorded closure, with its modules imported."""
    found = []
    for source in load_sources(recorded.source):
        name = _home_of_main(source) if source.module == "__main__" else source.module
        if name not in sys.modules:
            _import(name, recorded)
        found.append(source._replace(module=name))
    return found


def _home_of_main(source: Source) -> str:
    """Under which name today's process has, or can import, the script that recorded this."""
    for name, module in list(sys.modules.items()):
        if _same_file(getattr(module, "__file__", None), source.file):
            return name
    name = os.path.splitext(os.path.basename(source.file))[0]
    try:
        spec = importlib.util.find_spec(name)
    except (ImportError, ValueError):
        spec = None
    return name if spec is not None and _same_file(spec.origin, source.file) else "__main__"


def _same_file(one: object, other: str) -> bool:
    return (
        isinstance(one, str)
        and os.path.basename(one) == os.path.basename(other)
        and os.path.exists(one)
        and (os.path.realpath(one) == os.path.realpath(other))
    )


def _import(name: str, recorded: DefinitionRow) -> None:
    try:
        importlib.import_module(name)
    except (Exception, SystemExit) as error:  # a module of the user's may raise anything; told with its name
        raise DefinitionError(
            f"the module {name} of {recorded.workflow} v{recorded.version} can't be imported: "
            f"{type(error).__name__}: {error}",
            where=f"definition {recorded.digest}",
            why="pinned code takes its steps and models from the module that the workflow was written in",
            fix=f"bring {name} back (a module of that name which imports what moved will do), and start the runtime "
            "again",
        ) from error


def _output_adapter(recorded: DefinitionRow) -> TypeAdapter[Any] | None:
    """What the recorded body's return annotation means among today's names; None when it means nothing."""
    body = _placed(recorded)[0]
    node = ast.parse(body.source).body[0]
    returns = getattr(node, "returns", None)
    if returns is None:
        return None

    def annotated() -> None:
        """Stand for the body."""

    annotated.__annotations__ = {"return": ast.unparse(returns)}
    try:
        found = typing.get_type_hints(annotated, vars(sys.modules[body.module]), include_extras=True)["return"]
        return None if found is Any else TypeAdapter(found)
    except Exception:  # noqa: BLE001  # names of then that mean nothing today: the output is recorded as it is
        return None
