"""A fork: a new run that takes over what another one had recorded before some place, and lives on from there.

What it takes over it replays, on today's code, before anything is written. The cause after which the place was reached
is then fed live, so that the body asks anew. Commands of other branches that were unanswered at the cut are the fork's
own to perform.

    hooks       One token belongs to one open hook: while the other run has it open, the fork's is refused.
    children    One that was invoked and had not answered is started anew, as the fork's own. A spawned one stays the
                other run's when it has completed by now, or when the body had heard of its end before the cut;
                otherwise the fork starts its own.

Knows entries and machines. Must not append or dispatch.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import TYPE_CHECKING, Any

from perdure.core.children import child_named, child_run_id
from perdure.core.history import begins_at_once, split_attempts, started_with
from perdure.core.machine import Machine
from perdure.core.places import Place, find_place
from perdure.declare.registry import Definition
from perdure.engine.batch import Batch
from perdure.engine.changes import Changes
from perdure.engine.created import PYTHON
from perdure.engine.residents import facts_of, next_attempt, replayed
from perdure.engine.upgrade import upgraded_detail
from perdure.errors import DefinitionError, UnknownRun
from perdure.storage import entries as kinds
from perdure.storage.encoding import Encoded, decode
from perdure.storage.entries import Entry
from perdure.storage.fold import fold_all
from perdure.storage.ledger import RunRow
from perdure.texts import checked_text

if TYPE_CHECKING:
    from perdure.engine.engine import Engine

_OF_ONE_RUN = (
    "idempotency_key", "parent_run_id", "parent_command", "on_parent_close", "timeout_at", "tags", "queue",
    "continued_from",
)  # fmt: skip
_ENDS_OF_CHILDREN = frozenset({kinds.CHILD_COMPLETED, kinds.CHILD_FAILED, kinds.CHILD_CANCELLED})


@dataclass(frozen=True, slots=True)
class Fork:
    """A fork that somebody wants."""

    of: str  # run_id
    at: int | str
    run_id: str | None = None
    tags: Mapping[str, str] | None = None  # None: those of the run it comes from
    changes: Changes = field(default_factory=Changes)


def fork(engine: Engine, wanted: Fork, batch: Batch) -> str:
    """Fork a run; give the new run's id. The same `run_id`, run and place give the same fork.

    Raises:
        UnknownRun, UnknownWorkflow, DefinitionError: no such run, version or place, or the run_id is taken, or what is
            to be changed can't be changed there.
        Divergence: today's code does not replay what comes before the place. Nothing was started.
    """
    first = engine.ledger.run(wanted.of)
    if first is None:
        raise UnknownRun(f"the ledger has no run {wanted.of!r}.", fix="see the ids: perdure runs LEDGER")
    history = engine.ledger.entries(first.run)
    place = find_place(history, wanted.at, first.run_id)
    if place.causes[0].kind == kinds.CREATED:
        place = place._replace(causes=(started_with(history), *place.causes[1:]))
    checked_text(wanted.run_id or "", "run_id")
    before = _before(history, place)
    if wanted.run_id is not None and _exists(engine, wanted, len(before), batch):
        return wanted.run_id
    definition = engine.registry.get(first.workflow, first.version)
    other_input = wanted.changes.encoded_input(definition, len(before))
    return _Making(engine, wanted, batch, first, before, place, definition, other_input).make()


def _before(history: Sequence[Entry], place: Place) -> Sequence[Entry]:
    """What a fork takes over; what had stopped the first run there is what it is to get past."""
    cut = place.causes[0].position
    while cut and history[cut - 1].kind == kinds.DIVERGED:
        cut -= 1
    return history[:cut]


def _exists(engine: Engine, wanted: Fork, position: int, batch: Batch) -> bool:
    """Whether this very fork is there; another run of its id is an error."""
    assert wanted.run_id is not None  # the caller looked
    row = engine.ledger.run(wanted.run_id)
    if row is not None:
        created = engine.ledger.entries(row.run, 0, 1)
    else:
        run = batch.created.get(wanted.run_id)
        created = [entry for entry in batch.entries if entry.run == run and entry.position == 0]
    if not created:
        return False
    origin = created[0].facts().get("forked_from") or {}
    if (origin.get("run_id"), origin.get("position")) == (wanted.of, position):
        return True
    raise DefinitionError(
        f"run_id {wanted.run_id!r} belongs to another run.", fix="choose another run_id, or leave it out"
    )


@dataclass(slots=True)
class _Making:
    """One fork while it is made."""

    engine: Engine
    wanted: Fork
    batch: Batch
    first: RunRow
    before: Sequence[Entry]
    place: Place
    definition: Definition
    other_input: Encoded | None
    run_id: str = ""
    run: int = 0
    own_children: dict[str, Entry] = field(default_factory=dict)  # by run_id: the command that asked for it
    cancelled_children: set[str] = field(default_factory=set)

    def make(self) -> str:
        """Replay, feed, and leave everything in the batch; it gets nothing when that fails."""
        engine, batch, before = self.engine, self.batch, self.before
        if before and self.place.causes[0].kind != kinds.RESTARTED:
            # As the first run, so that a divergence names a run that is there.
            replayed(fold_all(None, before), self.definition, before).close()
        self.run_id = self.wanted.run_id or engine.clock.new_run_id()
        self.run = engine.ledger.next_run()
        taken = self._taken_over()
        machine = self._machine(taken)
        try:
            new, asked = self._live(machine)
        except BaseException:
            machine.close()
            raise
        engine.definitions.keep(self.definition, batch)
        batch.created[self.run_id] = self.run
        engine.schedules.note_taken(self.run_id, batch)
        engine.residents.add(machine)
        batch.add(*taken, *new)
        engine.take(machine, batch, asked)
        timeout_at = self._timeout_at()
        if timeout_at is not None:
            batch.times.append((timeout_at, self.run))
        if not machine.ended and taken:
            self._perform_pending(machine, fold_all(None, taken))
        return self.run_id

    # ── what it takes over ───────────────────────────────────────────────────────────────────────

    def _taken_over(self) -> list[Entry]:
        renamed = self._children_to_start()
        taken = []
        for entry in self.before:
            detail, body, due = entry.detail, entry.body, entry.due
            if entry.kind == kinds.CREATED:
                detail = self._created_detail(entry)
                if not begins_at_once(entry):
                    due = due or entry.at  # so that BEGAN begins it, though it is on no queue
            elif entry.kind == kinds.UPGRADED:
                detail = upgraded_detail(self.definition)  # on today's code, as all that the fork takes over
            elif entry.kind in (kinds.RESTARTED, kinds.BEGAN):
                detail = None  # it could only say when the first run's time was up
            elif entry.kind in (kinds.CHILD, kinds.CHILD_RESULT, kinds.CHILD_CANCEL):
                child = renamed.get(child_named(detail))
                if child is not None:
                    detail = json.dumps({**json.loads(detail or "{}"), "run_id": child}, ensure_ascii=False)
                    body = body if entry.kind == kinds.CHILD else json.dumps(child)
            copy = entry._replace(run=self.run, detail=detail, body=body, due=due, digest=b"")
            if copy.kind == kinds.CHILD and copy.detail != entry.detail:
                self._check_child(copy)
                self.own_children[child_named(detail)] = copy
            elif copy.kind == kinds.CHILD_CANCEL:
                self.cancelled_children.add(child_named(detail))
            taken.append(copy)
        return taken

    def _check_child(self, command: Entry) -> None:
        """Refuse a fork whose spawned child could not be started: its body has heard that it was."""
        detail = command.facts()
        asked: Any = decode(command.body or "null", command.shape)
        if detail["mode"] == "spawn":
            self.engine.registry.newest(detail["workflow"]).encode_input(asked["input"])

    def _children_to_start(self) -> dict[str, str]:
        """The first run's children that the fork starts anew, with the ids that its own ones get."""
        cause = self.place.causes[0]
        attempts = split_attempts(self.before) if self.before else []
        answers = [_answers(attempt) for attempt in attempts]
        if attempts and cause.kind != kinds.RESTARTED:
            answers[-1] |= _answers(self.place.causes)
        told = {
            child_named(entry.detail)
            for attempt, answer in zip(attempts, answers, strict=True)
            for entry in attempt
            if entry.kind == kinds.CHILD_RESULT and answer.get(entry.command) in _ENDS_OF_CHILDREN
        }
        renamed = {}
        for number, (attempt, answer) in enumerate(zip(attempts, answers, strict=True), start=1):
            asks_still = number == len(attempts) and cause.kind != kinds.RESTARTED
            for entry in attempt:
                if entry.kind != kinds.CHILD:
                    continue
                child, kind = child_named(entry.detail), answer.get(entry.command)
                invoked = kind is None and asks_still
                spawned = kind == kinds.CHILD_STARTED and child not in told and not self._completed(child)
                if invoked or spawned:
                    facts = replace(facts_of(self.first, self.before[0], number), run_id=self.run_id)
                    renamed[child] = child_run_id(facts, entry.command)
        return renamed

    def _completed(self, child_run_id: str) -> bool:
        row = self.engine.ledger.run(child_run_id)
        return row is not None and row.status == "completed"

    def _created_detail(self, created: Entry) -> str:
        """The first run's, but for who it is, on which code it runs, and what was that run's alone."""
        detail = created.facts()
        origin = {
            "run_id": self.first.run_id,
            "position": len(self.before),
            "at": self.batch.now,
            "parent_run_id": detail.get("parent_run_id"),
            "tags": detail.get("tags"),
            "forked_from": detail.get("forked_from"),
        }
        for name in _OF_ONE_RUN:
            detail.pop(name, None)
        tags = self.first.tags if self.wanted.tags is None else self.wanted.tags
        detail |= {
            "run_id": self.run_id,
            "definition": self.definition.digest,
            "python": PYTHON,
            "libraries": dict(self.definition.libraries),
            "tags": dict(tags),
            "timeout_at": self._timeout_at(),
            "seed": detail.get("seed") or self.first.run_id,
            "forked_from": {name: value for name, value in origin.items() if value is not None},
        }
        return json.dumps({name: value for name, value in detail.items() if value}, ensure_ascii=False)

    def _timeout_at(self) -> int | None:
        timeout_us = self.definition.options.timeout_us
        return None if timeout_us is None else self.batch.now + timeout_us

    # ── its life ─────────────────────────────────────────────────────────────────────────────────

    def _machine(self, taken: Sequence[Entry]) -> Machine:
        cause = self.place.causes[0]
        if not taken:
            created = self._again(cause, 0, due=None, at=self.batch.now)
            return Machine(self.definition, facts_of(fold_all(None, [created]), created))
        row = fold_all(None, taken)
        if cause.kind == kinds.RESTARTED:
            return next_attempt(row, self.definition, taken)
        return replayed(row, self.definition, taken)

    def _live(self, machine: Machine) -> tuple[list[Entry], list[Entry]]:
        """Feed what the first run was fed at the cut; give all new entries, and what of them the body asked for."""
        new: list[Entry] = []
        asked: list[Entry] = []
        for cause in self.place.causes:
            if machine.ended:
                break
            if new and cause.command and cause.command not in machine.waiting:
                continue  # the body has dropped it, because of the one before
            machine.last_at = max(machine.last_at, self.batch.now)
            entry = self._again(cause, machine.length, at=machine.last_at)
            machine.length += 1
            machine.new_token = self.engine.clock.new_token
            answer = machine.feed(entry)
            new += [entry, *answer]
            asked += answer
        given, asked_then = self.wanted.changes.give(machine, machine.last_at)
        new += given
        asked += asked_then
        if not new or (machine.ended and machine.ending is None):
            raise DefinitionError(
                f"run {self.first.run_id} can't be forked at entry {self.place.entry.position}.",
                why="no body was running there: the run was cancelled before it began or between two attempts",
                fix="fork it at a step, or at entry 0 to begin anew",
            )
        return new, asked

    def _again(self, cause: Entry, position: int, **changed: Any) -> Entry:
        detail = cause.detail
        if cause.kind == kinds.CREATED:
            detail, changed["due"] = self._created_detail(cause), None
            if self.other_input is not None:
                changed |= self.other_input._asdict()
        elif cause.kind in (kinds.RESTARTED, kinds.BEGAN):
            detail = None
        return cause._replace(run=self.run, position=position, detail=detail, digest=b"", **changed)

    def _perform_pending(self, machine: Machine, row: RunRow) -> None:
        """Do what other branches had asked for and nobody had answered; what waits for the clock, the clock does."""
        engine, batch = self.engine, self.batch
        for pending in row.pending.values():
            if pending.command not in machine.waiting:
                continue
            if pending.kind == kinds.STEP and not pending.retrying:
                batch.perform.append(engine.attempt(machine, pending.command, max(pending.attempt, 1)))
            elif pending.kind == kinds.HOOK:
                engine.messages.taken_over(machine, pending.command, batch)
            elif pending.kind == kinds.CHILD_RESULT and pending.child_run_id not in self.own_children:
                batch.follow.append(partial(engine.families.look_again, machine, pending, batch))
        for child, command in self.own_children.items():
            engine.families.start_again(machine, command, batch)
            if child in self.cancelled_children:
                engine.families.cancel_child(child, batch)


def _answers(entries: Sequence[Entry]) -> dict[str, str]:
    """By command: the kind of what answered it; a wait that was given up counts as answered."""
    answering = kinds.CAUSES | {kinds.DROPPED}
    return {entry.command: entry.kind for entry in entries if entry.kind in answering and entry.command}
