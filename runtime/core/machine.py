"""One run's body on a deterministic loop: fed causes, it gives commands. No clock, no I/O, no ledger.

    rules   1. A cause goes in; the body advances until it waits; its commands and perhaps its ending come out.
            2. `replay` and `feed` are the same walk. Replaying, each command must equal the recorded one with its
               identity; living, it becomes a new entry.
            3. After the ending nothing is asked. After `close` nothing is heard of the body again.

What the body asks for is matched or written down in `commanding.py`. Who decides what is recorded when is the engine;
what the body may call is `perdure.sandbox`; what it calls to get here is `step.py` and `context.py`.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator, Sequence
from typing import Any, Literal, cast

from perdure.core.advancing import Advancing
from perdure.core.boxes import MESSAGES, Boxes
from perdure.core.branch import Branch
from perdure.core.commanding import Commanding
from perdure.core.conditions import Conditions
from perdure.core.context import Context
from perdure.core.deferral import deliver_deferred
from perdure.core.divergence import Difference, DivergenceSignal
from perdure.core.endings import ending_of, failed_by, same_ending
from perdure.core.facts import Executable, Output, RunFacts
from perdure.core.history import Reused, Stride, begins_at_once, strides
from perdure.core.hook import refuse_hook
from perdure.core.loop import BodyLoop, BodyTask
from perdure.core.misfits import refuse_loss
from perdure.core.outcomes import OUTCOMES, SETS, Outcome
from perdure.core.patches import Patches
from perdure.core.promised import Promised, neglected
from perdure.core.reading import entries_in_order
from perdure.core.refusals import no_entropy, outside_of_body
from perdure.core.sites import waiting_site
from perdure.core.state import deadline_of
from perdure.core.step import StepContext
from perdure.core.waiting import Waiting, forget
from perdure.errors import BudgetExceeded, Divergence, InternalError, SandboxViolation
from perdure.sandbox import activation, fuel, watchdog
from perdure.storage import entries as kinds
from perdure.storage.encoding import decode
from perdure.storage.entries import Entry
from perdure.storage.failures import encode_failure

State = Literal["waiting to begin", "running", "ended"]


class Machine(Commanding):
    """One attempt of one run."""

    def __init__(self, executable: Executable, facts: RunFacts, reused: Reused | None = None) -> None:
        self.executable = executable
        self.facts = facts
        self.max_ops = executable.options.max_ops
        self.waiting: dict[str, Waiting] = {}
        self.output: list[Output] = []
        self.deferred: list[Entry] = []  # causes that came while the run was diverged; feed them once it replays
        self.ending: Entry | None = None
        self.timeout_at = facts.timeout_at
        self.length = 0  # entries so far: the next position
        self.last_at = 0
        self._reused = reused if reused is not None else Reused()
        self.boxes = Boxes(self._reused.messages)
        self.hooks_before = self._reused.hooks  # of earlier attempts
        self.patches = Patches(self, self._reused)
        self.new_token: Callable[[], str] = no_entropy  # whoever lets the body live gives one: it is not ours to make
        self._state: State = "waiting to begin"
        self._closed = False
        self._cancel: str | None = None  # "cancel" or "timeout" once it was requested
        self._expected: dict[str, Entry] | None = None  # while replaying: what this stride must still ask for
        self._asked: list[Entry] = []  # while living: what it asked for
        self.names: dict[str, str] = {}  # that step.run used, with their lines: each may be used once
        self._divergence: Divergence | None = None
        self.difference: Difference | None = None  # what `_divergence` says in words
        self._now = 0
        self._input: Any = None
        self._stride = Stride()  # the one that is replayed
        self._coming: Stride | None = None  # the one after it
        self._walk: Iterator[Stride] = iter(())
        self._replayed_length = 0  # entries of the run that is replayed
        self.promised = Promised()
        self._step = StepContext(self)
        self.loop = BodyLoop(self)  # type: ignore[abstract]  # loop.py adds a refusal for each method it lacks
        self.conditions = Conditions(self.loop)
        self._root: BodyTask[Any] | None = None

    # ── walking ──────────────────────────────────────────────────────────────────────────────────

    def replay(self, entries: Sequence[Entry]) -> None:
        """Walk one attempt's entries; afterwards the body stands where it stood.

        Raises:
            Divergence: the first difference; the machine can only be closed after it.
        """
        self._replayed_length = entries[-1].position + 1 if entries else 0
        self._walk = strides(entries_in_order(entries), self.deferred)
        self._coming = next(self._walk, None)
        try:
            self._replay_strides()
        except (SandboxViolation, BudgetExceeded) as violation:
            if not failed_by(entries, violation):
                raise
            self._state = "ended"  # as it did when it was recorded
        if entries:
            self.length = entries[-1].position + 1
            self.last_at = max(self.last_at, entries[-1].at)

    def feed(self, *causes: Entry) -> list[Entry]:
        """Live through new causes; give what the body asked for, and its ending if it ended."""
        self._asked = []
        length = self.length
        try:
            with self._active():
                self._deliver_all(causes)
                if self._divergence is not None:
                    raise self._divergence
                if self._state == "running" and self._root is not None and self._root.done():
                    refuse_loss(self, self._root)
                    self._asked.append(self._conclude(self._root))
                    self.loop.report_unheard()
        except (SandboxViolation, BudgetExceeded) as violation:
            # The second line stopped something, whether or not the body let the error out: what it asked for since
            # counts for nothing.
            self.length = length
            self._state = "ended"
            body, shape = encode_failure(violation)
            self.ending = self.entry(kinds.FAILED, self._now, attempt=self.facts.attempt, body=body, shape=shape)
            self._asked = [self.ending]
        asked, self._asked = self._asked, []
        return asked

    def entry(self, kind: str, at: int, **fields: Any) -> Entry:
        """Make the run's next entry; ledger time never runs backwards within a run."""
        self.last_at = max(at, self.last_at)
        entry = Entry(self.facts.run, self.length, kind, self.last_at, **fields)
        self.length += 1
        return entry

    @property
    def living(self) -> bool:
        """Whether what the body does now is new, not replayed."""
        return self._expected is None

    @property
    def known_as(self) -> RunFacts:
        """The run as its body gets to know it: what a fork replays from before the fork, it lives as its origin."""
        return self.facts if self._expected is None else self.facts.at(self._stride.causes[0].position)

    @property
    def returned(self) -> bool:
        """Whether the body has come to its end, though perhaps nobody has written that down yet."""
        return self._state == "ended" or (self._root is not None and self._root.done())

    @property
    def ended(self) -> bool:
        """Whether the attempt is over."""
        return self._state == "ended"

    def close(self) -> None:
        """Drop the body from memory; it comes back by replay."""
        self._closed = True
        self._coming = None
        if self.loop.at_rest:
            self.loop.discard()  # nothing of the body runs any more, so that nobody has to watch it
        else:
            with self._active():
                self.loop.discard()
        forget(self.waiting)
        self.promised.clear()
        self._root = None
        self._step = self.patches = cast("Any", None)  # both hold the machine

    def _active(self) -> Advancing:
        return Advancing(self, self.loop)

    def _replay_strides(self) -> None:
        with self._active():
            while self._coming is not None:
                self._replay_stride()

    def _replay_stride(self) -> None:
        stride = self._take_stride()
        try:
            self._deliver_all(stride.causes)
            # `replayed` may have gone on to later strides meanwhile; the latest one is where the body stands now.
            if self._divergence is None and self._expected:
                self._differ(next(iter(self._expected.values())), self._would_end())
            if self._divergence is None:
                self._check_ending(self._stride.ending)
        finally:
            self._expected = None
        if self._divergence is not None:
            raise self._divergence

    def _take_stride(self) -> Stride:
        stride = self._coming
        assert stride is not None
        self._stride = stride
        self._expected = stride.commands
        if stride.changes:
            self.patches.recorded(stride.changes)
        self._coming = next(self._walk, None)
        watchdog.again()
        return stride

    def replayed(self, name: str, body: str | None, shape: str | None) -> Entry | None:
        """Answer a step at once when the ledger's next cause is its result: a shortcut for sequential stretches.

        When nothing else is ready to run and the stride has no other commands, the body would only suspend here, and
        the next cause would wake it at this very place. Going on without the detour through the loop is the same walk.
        Gives None, and changes nothing, whenever that is not so; `ask` is the long way.
        """
        expected, coming, loop = self._expected, self._coming, self.loop
        if coming is None or not expected or len(expected) != 1:  # nothing comes after a divergence, nor once closed
            return None
        cause = coming.result
        if cause is None or loop.ready or self.conditions.open or self._reused:  # conditions are looked at in between
            return None
        tasks = loop.tasks
        branch = tasks[0].branch if len(tasks) == 1 else self.branch()
        number = branch.commands
        command = f"{branch.path}/{number}"
        recorded = expected.get(command)
        # What `same_command` compares, written out: this runs for every step of a replay.
        if (
            recorded is None
            or cause.command != command
            or recorded.body != body
            or recorded.name != name
            or recorded.kind != kinds.STEP
            or recorded.shape != shape
            or self._stride.ending is not None
        ):
            return None
        branch.commands = number + 1
        self._take_stride()
        self._now = cause.at
        fuel.refill(self.max_ops)
        return cause

    def _deliver_all(self, causes: Sequence[Entry]) -> None:
        if len(causes) > 1:
            deliver_deferred(self, causes, self._deliver)
        else:
            self._deliver(causes[0])

    def _deliver(self, cause: Entry) -> None:
        kind = cause.kind
        self._now = cause.at
        fuel.refill(self.max_ops)
        outcome = OUTCOMES.get(kind)
        if outcome is not None:
            self._answer(cause, outcome)
        elif kind in MESSAGES:
            self.boxes.deliver(cause, {} if self._state == "ended" else self.waiting)  # then it is the next attempt's
        elif kind == kinds.HOOK_REFUSED:
            refuse_hook(self, cause)
        elif kind == kinds.CANCEL_REQUESTED:
            self._request_cancel(cause.name)
        elif kind == kinds.CREATED:
            self._input = self._input or cause
            if begins_at_once(cause):
                self._begin()
        else:  # BEGAN, RESTARTED
            self.timeout_at = deadline_of(cause, self.timeout_at)
            self._begin()
        self.loop.run_ready()
        if self.conditions.open and self._root is not None and not self._root.done():
            self.conditions.look()

    @property
    def created(self) -> Entry:
        """The run's first entry."""
        return cast("Entry", self._input)

    def set_input(self, created: Entry) -> None:
        """Tell what the run was started with (see `started_with`)."""
        self._input = created

    def _begin(self) -> None:
        if self._state != "waiting to begin":
            raise InternalError("a run began twice.", where=self._where(), fix="send us the ledger")
        self._state = "running"
        with activation.suspended():  # decoding may import the classes of what was recorded
            arguments = (decode(self._input.body, self._input.shape, sets=SETS), self._step, Context(self))
            body = self.executable.body()
        coroutine = body(*arguments[: self.executable.takes])
        self._root = self.loop.create_task(coroutine, name=self.facts.workflow)
        self._root.branch = Branch("0", self.facts.seed or self.facts.run_id)

    def _answer(self, cause: Entry, outcome: Outcome) -> None:
        waiting = self.waiting.pop(cause.command, None)
        if waiting is None:
            raise InternalError(
                f"{cause.kind} answers {cause.command!r}, which nobody waits for.",
                where=self._where(cause.position),
                fix="send us the ledger's history of this run",
            )
        if waiting.future is None:
            waiting.call()
        elif not waiting.future.done():
            if cause.shape is None and cause.kind == kinds.STEP_COMPLETED:
                outcome(waiting.future, cause)
            else:
                with activation.suspended():  # decoding may import the classes of what was recorded
                    outcome(waiting.future, cause)

    def _request_cancel(self, reason: str) -> None:
        self._cancel = reason
        if self._state == "running" and self._root is not None:
            self.stopped_at = waiting_site(self._root.get_coro())
            self._root.cancel()
        elif self._state == "waiting to begin":
            # Nothing to compensate: the body never ran. The engine writes the ending.
            self._state = "ended"

    # ── endings ──────────────────────────────────────────────────────────────────────────────────

    def _conclude(self, root: BodyTask[Any], recorded: Entry | None = None) -> Entry:
        """Make the entry of how the body ended; what is recorded as completed may have neglected something."""
        self._state = "ended"
        lost = neglected(self, root, recorded, self._where())
        with activation.suspended():  # validation and tracebacks are ours, not the body's
            kind, value, delay_us, detail = ending_of(root, self.executable, self.facts, self._cancel, lost)
        body, shape = value if value is not None else (None, None)
        due = None if delay_us is None else self._now + delay_us
        fields = {"attempt": self.facts.attempt, "due": due, "body": body, "shape": shape, "detail": detail}
        self.ending = self.entry(kind, self._now, **fields)
        return self.ending

    def _check_ending(self, recorded: Entry | None) -> None:
        root = self._root
        if self._state == "waiting to begin" and recorded is not None and recorded.kind == kinds.FAILED:
            self._state = "ended"  # its input did not fit, so that its body never ran
        if self._state == "ended":  # cancelled before it began
            return
        if root is None or not root.done():
            if recorded is not None:
                self._differ(recorded, None)
            return
        replayed = self._conclude(root, recorded)
        if recorded is None or not same_ending(recorded, replayed):
            self._differ(recorded, replayed)

    def _would_end(self) -> Entry | None:
        """What the body did instead of asking for what is recorded: it ended, or it waits."""
        if self._state == "running" and self._root is not None and self._root.done():
            return self._conclude(self._root)
        return None

    # ── where the body is; what it asks for there is in commanding.py ────────────────────────────

    def branch(self) -> Branch:
        """The branch of the task that runs now."""
        if self._closed:
            raise DivergenceSignal
        task = asyncio.current_task(self.loop)
        if task is None or activation.current() is not self:
            raise outside_of_body(self._where())
        return cast("BodyTask[Any]", task).branch  # the loop makes no others
