"""Messages from outside: a signal or a hook's payload finds its run, and a hook finds out whether its token is free.

A message is recorded as a cause whether or not somebody waits for it; the body's boxes keep it. What can't be taken
(the run has ended, the payload does not fit what an open wait wants) is refused to whoever sends it, with nothing
recorded.

Knows runs, rows and tokens. Must not append or dispatch.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, NamedTuple, NoReturn

from perdure.core.boxes import earliest
from perdure.core.hook import Hook, token_of
from perdure.core.machine import Machine
from perdure.core.outcomes import SETS
from perdure.core.schema import Schema
from perdure.engine.batch import Batch, Unsettled
from perdure.errors import HookRefused, InvalidInput, SignalRefused, UnknownRun
from perdure.storage import entries as kinds
from perdure.storage.boxes import signal_box
from perdure.storage.encoding import Encoded, decode
from perdure.storage.entries import Entry
from perdure.storage.failures import encode_failure
from perdure.storage.ledger import ENDED, HOOK_TYPE, RunRow

if TYPE_CHECKING:
    from perdure.engine.engine import Engine


class _Holder(NamedTuple):
    """A hook that has a token."""

    run: int
    command: str
    position: int
    run_id: str
    answered: bool  # by its one payload


class Messages:
    """What comes from outside to one engine's runs, addressed."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def signal(self, run_id: str, name: str, payload: Encoded, batch: Batch) -> None:
        """Hand a signal to the newest run of a chain.

        Raises:
            UnknownRun: there is no such run.
            SignalRefused: it has ended, or the payload does not fit what it waits for. Nothing was recorded.
            Unsettled: something else moves the run in this very batch.
        """
        run = self._signalled(run_id, name, batch)
        fields = {"name": name, "body": payload.body, "shape": payload.shape}
        self._deliver(
            run, batch, lambda machine: _check_signal(machine, name, payload), kinds.SIGNAL_RECEIVED, **fields
        )

    def check_signal(self, run_id: str, name: str, payload: Encoded, batch: Batch) -> None:
        """Raise what `signal` would, and hand nothing over."""
        machine = self._receiver(self._signalled(run_id, name, batch), batch)
        if isinstance(machine, Machine):
            _check_signal(machine, name, payload)

    def _signalled(self, run_id: str, name: str, batch: Batch) -> int:
        engine = self._engine
        newest = engine.chains.newest(run_id, batch)
        row = engine.ledger.run(newest)
        run = batch.created.get(newest) if row is None else row.run
        if run is None:
            raise UnknownRun(f"the ledger has no run {run_id!r}.", fix="see the ids: perdure runs LEDGER")
        if row is not None and row.status in ENDED and run not in batch.touched:
            raise SignalRefused(
                f"run {newest} takes no signal {name!r}: it is {row.status}.",
                where=f"{row.workflow} v{row.version}, run {newest}",
                why="a run that has ended takes no signals; nothing was recorded",
                fix="start another run, or retry this one first (run.retry()) if it failed or was cancelled",
            )
        return run

    def resume_hook(self, token: str, payload: Encoded, batch: Batch) -> str:
        """Hand a payload to the open hook that has this token; give the run_id of its run.

        Raises:
            HookRefused: no open hook has it, or the payload does not fit. Nothing was recorded.
            Unsettled: something else moves the run in this very batch.
        """
        holders = self._holders(token, batch)
        holder = next((each for each in holders if not each.answered), None)
        if holder is None:
            _refuse_payload(token, holders)
        command = holder.command

        def check(machine: Machine) -> None:
            wait = machine.waiting.get(command)
            problem = None if wait is None else _misfit(wait.call.schema, payload)
            if problem is not None:
                raise HookRefused(
                    f"hook {token!r} refused the payload: {problem.message}",
                    where=_where(machine),
                    why=problem.why,
                    fix="send what the hook takes; nothing was recorded, and the run waits on",
                )

        fields = {"command": command, "name": token, "body": payload.body, "shape": payload.shape}
        self._deliver(holder.run, batch, check, kinds.HOOK_RECEIVED, **fields)
        return holder.run_id

    def asked(self, machine: Machine, entry: Entry, batch: Batch) -> None:
        """A body made a hook, or disposed of one."""
        run = machine.facts.run
        if entry.kind == kinds.HOOK_CLOSED:
            batch.closed_hooks.add((run, entry.facts()["hook"]))
            return
        token = token_of(entry.detail)
        other = self._other_holder(machine, entry, token, batch)
        if other is None:
            batch.hooks.setdefault(token, []).append((run, entry.command))
        else:
            batch.follow.append(lambda: self._refuse_hook(machine, entry.command, token, other, batch))

    def taken_over(self, machine: Machine, command: str, batch: Batch) -> None:
        """A fork has a hook of the run that it comes from: it is the fork's only if nobody else has it open."""
        hook = machine.waiting[command].call
        other = None if hook.closed else self._another(machine, command, hook.token, batch)
        if other is not None:
            batch.follow.append(lambda: self._refuse_hook(machine, command, hook.token, other, batch))

    # ── doing it ─────────────────────────────────────────────────────────────────────────────────

    def _deliver(self, run: int, batch: Batch, check: Callable[[Machine], None], kind: str, **fields: Any) -> None:
        """Record a message and let the body live through it, if it has one now."""
        engine = self._engine
        receiver = self._receiver(run, batch)
        if not isinstance(receiver, Machine):  # kept by the ledger, until a body takes it
            batch.add(engine.moves.bare_entry(receiver, batch, kind, **fields))
            return
        check(receiver)
        engine.feed(receiver, batch, receiver.entry(kind, batch.now, **fields))

    def _receiver(self, run: int, batch: Batch) -> Machine | RunRow:
        """The body that lives through a message, or the row of a run that has none now."""
        engine = self._engine
        machine = engine.residents.get(run)
        if machine is not None:
            batch.touched.add(run)  # so that it is parked again
            if machine.ended:
                raise Unsettled  # it ended in this very batch
            return machine
        row = engine.ledger.run_numbered(run)
        if row is None or (run in batch.touched and (run not in batch.lengths or run in batch.stopping)):
            raise Unsettled  # what the ledger has of it is out of date
        return (None if _is_asleep(row) else engine.moves.machine(run, batch)) or row

    def _holders(self, token: str, batch: Batch) -> list[_Holder]:
        """The hooks that have a token, the oldest run first, and of one run the newest first."""
        waiters = self._engine.ledger.waiters(HOOK_TYPE, {"token": token})
        places = {(waiter.run, waiter.command) for waiter in waiters} | set(batch.hooks.get(token, ()))
        found = [self._holder(run, command) for run, command in sorted(places - batch.closed_hooks)]
        return sorted((each for each in found if each is not None), key=lambda each: (each.run, -each.position))

    def _holder(self, run: int, command: str) -> _Holder | None:
        machine = self._engine.residents.peek(run)
        if machine is not None:
            waiting = machine.waiting.get(command)
            if waiting is not None and isinstance(waiting.call, Hook):
                return _Holder(run, command, waiting.position, machine.facts.run_id, waiting.call.closed)
            if machine.ended and (machine.ending is None or machine.ending.kind != kinds.RETRYING):
                return None
        row = self._engine.ledger.run_numbered(run)
        pending = None if row is None else row.pending.get(command)  # of an attempt before, too
        if row is None or pending is None or pending.kind != kinds.HOOK:
            return None
        return _Holder(run, command, pending.position, row.run_id, pending.closed)

    def _other_holder(self, machine: Machine, entry: Entry, token: str, batch: Batch) -> _Holder | None:
        """Another open hook that has the token; what the runtime has just thought up, nobody else has."""
        if not entry.name and entry.command not in machine.hooks_before:
            return None
        return self._another(machine, entry.command, token, batch)

    def _another(self, machine: Machine, command: str, token: str, batch: Batch) -> _Holder | None:
        for holder in self._holders(token, batch):
            mine = holder.run == machine.facts.run
            # Of this run, only what this attempt made counts: one of an attempt before goes over to the new hook.
            if mine and (holder.command == command or holder.command not in machine.waiting):
                continue
            if not holder.answered:
                return holder
        return None

    def _refuse_hook(self, machine: Machine, command: str, token: str, other: _Holder, batch: Batch) -> None:
        if machine.ended or command not in machine.waiting:
            return  # in the same breath the body ended, or disposed of it
        error = HookRefused(
            f"the token {token!r} is taken.",
            where=_where(machine),
            why=f"run {other.run_id} has an open hook with it",
            fix="choose another token, or have that run dispose of its hook first; step.hook() makes one of its own",
        )
        body, shape = encode_failure(error)
        fields = {"command": command, "name": token, "body": body, "shape": shape}
        self._engine.feed(machine, batch, machine.entry(kinds.HOOK_REFUSED, batch.now, **fields))


def _is_asleep(row: RunRow) -> bool:
    """Whether no body of it runs now: it has not begun, or waits for its next attempt."""
    return row.status == "queued" or (row.status == "awaiting_retry" and row.due is not None)


def _check_signal(machine: Machine, name: str, payload: Encoded) -> None:
    wait = earliest(signal_box(name), machine.waiting)
    problem = None if wait is None else _misfit(wait.call.schema, payload)
    if problem is not None:
        raise SignalRefused(
            f"signal {name!r} was refused: {problem.message}",
            where=_where(machine),
            why=problem.why,
            fix="send what it waits for; nothing was recorded, and the run waits on",
        )


def _misfit(schema: Schema | None, payload: Encoded) -> InvalidInput | None:
    if schema is None:
        return None
    try:
        schema.validated(decode(payload.body, payload.shape, sets=SETS))
    except InvalidInput as error:
        return error
    return None


def _refuse_payload(token: str, holders: list[_Holder]) -> NoReturn:
    if holders:
        raise HookRefused(
            f"hook {token!r} was answered already.",
            where=f"run {holders[-1].run_id}",
            why="it was awaited, which takes one payload",
            fix="to take several, write `async for payload in hook` in the body",
        )
    raise HookRefused(
        f"no open hook has the token {token!r}.",
        why="it was never made, or it was disposed, or its timeout passed, or its run has ended",
        fix="compare it with what the run shows: perdure show LEDGER RUN",
    )


def _where(machine: Machine) -> str:
    facts = machine.facts
    return f"{facts.workflow} v{facts.version}, run {facts.run_id}"
