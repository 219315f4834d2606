"""The verifier is broken on purpose, one check at a time: each time a verdict on some change must become another one.

A mutant is a function of the verifier with a piece of its text replaced. What survived would be a check that nothing
proves. Three comparisons have no mutant, because another one implies them: the kind of a command (its arguments are
written otherwise), the kind of an ending but for failures (its value is), and whether a stride of the short way has
an ending (the next cause would not fit).
"""

from __future__ import annotations

import asyncio
import inspect
import sys
import textwrap
from collections.abc import Iterator
from types import ModuleType
from typing import Any, NamedTuple

import pytest
from changed_bodies import CHANGES
from recorder import Recorder

from perdure.core import commanding, endings, history, machine
from perdure.core.machine import Machine
from perdure.replay import check, survey
from perdure.replay.check import Verdict
from perdure.replay.selection import Selection
from perdure.replay.survey import Survey


class Mutant(NamedTuple):
    """A function and what is replaced in its text."""

    holder: ModuleType | type
    function: str
    old: str
    new: str


MUTANTS: dict[str, Mutant] = {
    "arguments are not compared": Mutant(commanding, "same_command", "recorded.body == body and ", ""),
    "types of arguments are not compared": Mutant(commanding, "same_command", " and recorded.shape == shape", ""),
    "names are not compared": Mutant(commanding, "same_command", "recorded.name == name and ", ""),
    "a command that differs passes": Mutant(
        Machine, "ask", "self._diverge(recorded, asked)", "recorded = recorded or asked"
    ),
    "commands that are not asked for pass": Mutant(
        Machine, "_replay_stride", "if self._divergence is None and self._expected:", "if False:"
    ),
    "a difference is found and not raised": Mutant(
        Machine, "_replay_stride", "if self._divergence is not None:\n        raise", "if False:\n        raise"
    ),
    "endings are not looked at": Mutant(Machine, "_check_ending", "root = self._root", "return\n    root = self._root"),
    "an end that does not come passes": Mutant(Machine, "_check_ending", "if recorded is not None:", "if False:"),
    "an end that was not there passes": Mutant(Machine, "_check_ending", "recorded is None or not", "recorded and not"),
    "outputs are not compared": Mutant(endings, "same_ending", "recorded.body == replayed.body and ", ""),
    "types of outputs are not compared": Mutant(endings, "same_ending", " and recorded.shape == replayed.shape", ""),
    "classes of failures are not compared": Mutant(
        endings, "same_ending", "_error_type(recorded) == _error_type(replayed)", "True"
    ),
    "a dropped wait passes": Mutant(Machine, "drop", "if self._expected.pop(key, None) is None:", "if False:"),
    "the short way does not compare arguments": Mutant(Machine, "replayed", "or recorded.body != body", ""),
    "the short way does not compare types": Mutant(Machine, "replayed", "or recorded.shape != shape", ""),
    "the short way does not compare names": Mutant(Machine, "replayed", "or recorded.name != name", ""),
    "the short way takes any cause": Mutant(Machine, "replayed", "or cause.command != command", ""),
    "the short way leaves commands behind": Mutant(Machine, "replayed", "or len(expected) != 1", ""),
    "a stride is skipped": Mutant(
        Machine, "_take_stride", "self._coming = next", "next(self._walk, None)\n    self._coming = next"
    ),
    "the last stride is skipped": Mutant(
        history, "strides", "    stride.last = entry[1]\n        yield stride", "    stride.last = entry[1]"
    ),
    "only the last attempt is walked": Mutant(
        check, "check_run", "enumerate(attempts, start=1)", "[(len(attempts), attempts[-1])]"
    ),
    "only the first attempt is walked": Mutant(
        check, "check_run", "enumerate(attempts, start=1)", "[(1, attempts[0])]"
    ),
    "outcomes of earlier attempts are forgotten": Mutant(check, "check_run", "reused.learn(attempt)", "pass"),
    "identities do not tell branches apart": Mutant(
        Machine, "ask", "self.branch().next_command()", "'0/' + self.branch().next_command().split('/')[1]"
    ),
    "what diverges is forgotten": Mutant(
        Survey,
        "_check_batch",
        "suspects.append((verdict, row, walked))",
        "yield Verdict(row.run_id, row.workflow, row.version, 1)",
    ),
    "only one page is checked": Mutant(Survey, "check_all", "range(last, wanted.from_run or 1, -_PAGE_RUNS)", "()"),
}


def mutate(mutant: Mutant, patch: pytest.MonkeyPatch) -> None:
    """Put the function with its replaced text in the place of the real one, wherever it was imported by name."""
    real = inspect.getattr_static(mutant.holder, mutant.function)
    text = textwrap.dedent(inspect.getsource(real))
    assert text.count(mutant.old) == 1, f"{mutant.old!r} is not there once:\n{text}"
    namespace: dict[str, Any] = real.__globals__
    made: dict[str, Any] = {}
    exec(f"from __future__ import annotations\n{text.replace(mutant.old, mutant.new)}", namespace, made)
    patch.setattr(mutant.holder, mutant.function, made[mutant.function])
    for module in (commanding, machine, check, survey, history, endings):
        if vars(module).get(mutant.function) is real:
            patch.setattr(module, mutant.function, made[mutant.function])


Corpus = dict[str, Survey]


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Corpus]:
    """A recorded run for each change, and a survey with the changed body."""
    modules, path = dict(sys.modules), list(sys.path)
    found: Corpus = {}
    for number, (name, change) in enumerate(CHANGES.items()):
        recorder = Recorder(tmp_path_factory.mktemp(f"change-{number}"))
        asyncio.run(recorder.record(change.body, change.input, act=change.act, until=change.until))
        found[name] = recorder.survey(recorder.module(change.changed))
    yield found
    for name in set(sys.modules) - set(modules):
        del sys.modules[name]
    sys.path[:] = path


@pytest.fixture(scope="module")
def sound(corpus: Corpus) -> dict[str, str]:
    """What the verifier says as it is."""
    return verdicts(corpus)


def verdicts(corpus: Corpus) -> dict[str, str]:
    """What the verifier says of each change: whether it replays, and where it diverges."""
    return {name: verdict(survey) for name, survey in corpus.items()}


def verdict(survey: Survey) -> str:
    findings = list(survey.check_all(Selection()))
    said = [
        f"diverged at {finding.divergence.position}" if finding.divergence is not None else "replayed"
        for finding in findings
        if isinstance(finding, Verdict)
    ]
    return f"{said} of {len(findings)}"


def test_the_verifier_as_it_is_finds_every_change_and_nothing_else(sound: dict[str, str]) -> None:
    for name, said in sound.items():
        assert ("diverged" in said) == bool(CHANGES[name].cause), (name, said)


@pytest.mark.parametrize("name", MUTANTS)
def test_some_change_tells_when(
    name: str, corpus: Corpus, sound: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        mutate(MUTANTS[name], patch)
        broken = verdicts(corpus)
    killed_by = [change for change, said in broken.items() if said != sound[change]]
    assert killed_by, "this mutant survives: no case of changed_bodies.py needs what it leaves out"
