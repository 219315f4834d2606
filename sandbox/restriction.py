"""`restrict`: a body under the policy, in two phases.

When a workflow is declared, the body and everything of its file that it names is checked, and all findings of the file
come at once; but names that the module defines further down have no value yet. So the second phase, `link`, runs when
the definition is first used: it resolves names for real, makes the twins, and checks values.

This file knows the phases. It must not know the policy, nor what names stand for.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from types import FunctionType
from typing import Any

from perdure.errors import DefinitionError
from perdure.sandbox import absent, values
from perdure.sandbox.asking import Offers
from perdure.sandbox.findings import Finding, in_order, tell
from perdure.sandbox.pinned import plain_functions
from perdure.sandbox.reach import LIVE, Realm
from perdure.sandbox.scopes import DEFS
from perdure.sandbox.source import Source, digest_of
from perdure.sandbox.survey import Started, Survey, is_decorated_as, second_parameter


class Restricted:
    """A body under the policy. Reading `function`, `sources`, `libraries` or `digest` links it first.

    Attributes:
        original: the function as it was written.
        findings: what was found so far, in line order; after `link` all of it.
    """

    def __init__(
        self,
        original: FunctionType,
        *,
        strict: bool,
        step_parameter: str | None,
        realm: Realm,
        pinned: Sequence[Source] = (),
        offers: Offers | None = None,
    ) -> None:
        self.original = original
        self.strict = strict
        self.findings: tuple[Finding, ...] = ()
        self._step_parameter = step_parameter
        self._offers = offers
        self._realm = realm
        self._pinned = tuple(pinned)  # the recorded closure that it was made from
        self._told: set[tuple[Any, ...]] = set()
        self._survey: Survey | None = None
        self._sources: tuple[Source, ...] = ()
        self._libraries: tuple[str, ...] = ()
        self._digest = ""

    @property
    def function(self) -> Callable[..., Any]:
        """The restricted twin: same signature, file and lines; coroutine function if the body is one."""
        self.link()
        return self._realm.twin(self.original)

    @property
    def sources(self) -> tuple[Source, ...]:
        """The source closure: the body first, then every helper and constant that it reaches."""
        self.link()
        return self._sources

    @property
    def libraries(self) -> tuple[str, ...]:
        """The top-level modules, beyond the standard library's, whose code the body and its helpers can call."""
        self.link()
        return self._libraries

    @property
    def started(self) -> tuple[Started, ...]:
        """The places that start a workflow by an id that is written out."""
        self.link()
        assert self._survey is not None
        return tuple(self._survey.started)

    @property
    def digest(self) -> str:
        """Hexadecimal digest of the source closure; the same on every machine, whatever comments and layout say."""
        if not self._digest:
            self._digest = digest_of(self.sources)
        return self._digest

    def link(self) -> None:
        """Resolve names and compile, once; later calls only look whether a name now stands for something else
        (a test's monkeypatch, a notebook cell that ran again).

        Raises:
            PolicyViolation: for findings that only values show.
        """
        if self._survey is not None and self._is_current():
            return
        survey = self._surveyed()
        self._tell(survey.findings)
        self._realm.link(survey)
        self._survey = survey
        self._sources = self._pinned or survey.sources()
        self._libraries = tuple(sorted(survey.libraries))
        self._digest = ""

    def settle_absent(self, stand_in: Callable[[str, str], Any] | None) -> None:
        """Of recorded code that is linked: put stand-ins for steps that are gone; `DefinitionError` for other names."""
        assert self._survey is not None
        absent.settle(self._realm, self._survey, self._pinned, stand_in)

    def _is_current(self) -> bool:
        assert self._survey is not None
        return all(namespace.get(name) is seen for namespace, name, seen in self._survey.watched)

    def check(self) -> None:
        """The first phase: survey what there is, together with the other bodies of the file.

        Raises:
            PolicyViolation: with the findings of all bodies of the file.
        """
        survey = self._surveyed(siblings=True)
        self._tell(survey.findings)

    def _surveyed(self, *, siblings: bool = False) -> Survey:
        survey = Survey(self._realm.overlay, self._offers)
        survey.add_function(self.original, (), "body")
        body = survey.units[0]
        body.step_names |= {self._step_parameter or second_parameter(body.node) or "step"}
        if siblings and "<locals>" not in self.original.__qualname__:
            for node in body.file.tree.body:
                if isinstance(node, DEFS) and node is not body.node and is_decorated_as(node, "workflow"):
                    survey.add_node(node, "body", body, ())
        survey.run()
        return survey

    def _tell(self, findings: Sequence[Finding]) -> None:
        self.findings = in_order([*self.findings, *findings])
        new = [item for item in in_order(findings) if (*item.place, item.rule) not in self._told]
        self._told.update((*item.place, item.rule) for item in new)
        tell(new, strict=self.strict, name=self.original.__qualname__)


def restrict(
    function: Callable[..., Any], *, strict: bool, step_parameter: str | None = None, offers: Offers | None = None
) -> Restricted:
    """Put a body under the policy.

    Args:
        strict: every finding is an error; else suspicions are `DeterminismWarning`s.
        step_parameter: the name by which the body calls its steps; None: its second parameter, and `step`.
        offers: what `step` and `ctx` have; None looks only at what a body may do, not at what it asks for.

    Raises:
        PolicyViolation: with all findings of the file's bodies, in line order.
        DefinitionError: it is no plain function, or has no source.
    """
    if not isinstance(function, FunctionType):
        raise DefinitionError(
            f"{function!r} is not a plain function.",
            why="a body is compiled from its source, so it has to be an `async def`",
            fix="put the decorator directly on the function, above no other one",
        )
    values.add_home(function.__module__ or "")
    restricted = Restricted(function, strict=strict, step_parameter=step_parameter, realm=LIVE, offers=offers)
    restricted.check()
    return restricted


def restrict_pinned(
    sources: Sequence[Source],
    *,
    strict: bool = False,
    step_parameter: str | None = None,
    stand_in: Callable[[str, str], Any] | None = None,
) -> Restricted:
    """Put the body of a recorded source closure under the policy, for runs that began with it.

    Its helpers and constants are the recorded ones; steps, models and everything else are those of today's modules,
    which must be imported already.

    Args:
        stand_in: makes what the body holds instead of a step that is gone, from its module and name.

    Raises:
        PolicyViolation: the recorded code is refused by today's policy.
        DefinitionError: a module of the closure is not imported, or lacks a name that the code needs.
    """
    overlay, body = plain_functions(sources)
    values.add_home(body.__module__)
    realm = Realm(overlay)
    restricted = Restricted(body, strict=strict, step_parameter=step_parameter, realm=realm, pinned=sources)
    restricted.link()
    restricted.settle_absent(stand_in)
    return restricted


def dump_sources(sources: Sequence[Source]) -> str:
    """Write a source closure as the JSON text that a ledger's definition keeps."""
    return json.dumps([source._asdict() for source in sources], ensure_ascii=False)


def load_sources(text: str) -> tuple[Source, ...]:
    """Read a source closure back from JSON text."""
    return tuple(Source(**item) for item in json.loads(text))
