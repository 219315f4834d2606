"""Valid batches for ledgers: what a run may do next, given its row. Shared by the tests of this folder."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from typing import TypeVar

from hypothesis import strategies as st

from perdure.storage import entries as kinds
from perdure.storage.entries import DefinitionRow, Entry
from perdure.storage.ledger import ENDED, Pending, RunRow

T = TypeVar("T")
Draw = Callable[[st.SearchStrategy[T]], T]

FAILURE = json.dumps({"type": "builtins:ValueError", "message": "no\nmore", "traceback": ""})
bodies = st.sampled_from(
    ['{"amount":12,"who":"é"}', "null", '[1,2.5,"x"]', '"\\ud83d\\ude00"', "1e999", "[" * 300 + "]" * 300]
)
names = st.sampled_from(["charge", "ship", 'a"b', "naïve", "tab\t"])
matches = st.sampled_from([{}, {"order": 1}, {"order": "1"}, {"order": True}, {"order": 1, "to": [1.0, None]}])
payloads = st.sampled_from(
    [{}, {"order": 1}, {"order": 1.0, "x": 2}, {"order": "1"}, {"order": True}, {"order": 1, "to": [1, None], "y": 0}]
)


def created(run: int, at: int, **facts: object) -> Entry:
    """The first entry of a run named `r<number>`."""
    due = facts.pop("due", None)
    detail = {"run_id": f"r{run}", "version": "1", "definition": "d1", "tags": {}, **facts}
    assert due is None or isinstance(due, int)
    return Entry(run, 0, kinds.CREATED, at, name="shop", attempt=1, due=due, body="{}", detail=json.dumps(detail))


def step(run: int, position: int, at: int = 1000, **fields: str) -> Entry:
    """A step `charge` that a body asks for."""
    command = fields.get("command", f"0/{position}")
    return Entry(run, position, kinds.STEP, at, command, fields.get("name", "charge"), 1, body=fields.get("body", "[]"))


def completed(run: int, position: int, asked: int, at: int = 1000, body: str = '{"amount":12}') -> Entry:
    """The completion of the step that `step(run, asked)` asked for."""
    return Entry(run, position, kinds.STEP_COMPLETED, at, f"0/{asked}", "charge", 1, body=body)


def verdict(ok: bool) -> str:
    """The detail of a verification."""
    facts: dict[str, object] = {"ok": ok, "definition": "d2", "python": "3.12", "perdure": "0.1.0"}
    if not ok:
        facts |= {"position": 1, "cause": "step renamed", "message": "not the same", "report": "not the\nsame"}
    return json.dumps(facts)


DEFINITION = DefinitionRow("d1", "shop", "1", "3.12", "[]", 5)


class Moves:
    """Draws what a run does next."""

    def __init__(self, draw: Draw[object], at: int) -> None:
        self._draw = draw
        self._at = at

    def start(self, run: int, parents: Sequence[str]) -> list[Entry]:
        """A new run, now or later."""
        facts: dict[str, object] = {"tags": self.pick([{}, {"team": "a"}, {"team": "b", 'k"': "x"}])}
        if parents and self.pick([True, False]):
            facts |= {"parent_run_id": self.pick(list(parents)), "parent_command": "0/1"}
        if self.pick([True, False, False]):
            facts["idempotency_key"] = self.pick(["k1", "k2"])
        if self.pick([True, False]):
            facts["timeout_at"] = self._at + 500
        queue = self.pick(
            [None, None, {"name": "mail", "key": self.pick(["", "é"]), "priority": self.pick([-1, 0, 3])}]
        )
        if queue is not None:
            facts["queue"] = queue
        if self.pick([True, False, False, False]):
            facts["continued_from"] = {"run_id": "r1", "first_run_id": "r1"}
        due = self.pick([None, None, self._at + 50])
        first = created(run, self._at, due=due, **facts)
        return [first] if due is not None or queue is not None else [first, *self._commands(run, 1)]

    def next(self, row: RunRow) -> list[Entry]:
        """What may follow in a run: a cause with commands or an ending, or a note."""
        run, position = row.run, row.length
        if row.status in ENDED and self.pick([True, False]):
            return [self._entry(run, position, kinds.VERIFIED, detail=verdict(self.pick([True, False])))]
        over = row.status in ENDED or (row.status == "awaiting_retry" and row.due is not None)
        if (over or row.status == "queued") and self.pick([True, False, False]):
            return [self._message(run, position, "", "once more")]  # it is kept
        if row.status in ENDED and self.pick([True, False, False]):
            return [self._entry(run, position, kinds.REQUEUED)]
        if row.requeued_at is not None or over:
            if row.requeued_at is not None and self.pick([True, False, False]):
                return [self._entry(run, position, kinds.CANCELLED)]
            return [
                self._entry(run, position, kinds.RESTARTED, attempt=row.attempt + 1),
                *self._commands(run, position + 1),
            ]
        if row.status == "queued":
            if self.pick([True, False, False]):
                return [self._entry(run, position, kinds.DEBOUNCED, body='{"new":1}', due=self._at + 60)]
            if self.pick([True, False]):
                detail = json.dumps({"timeout_at": self._at + 900})
                return [self._entry(run, position, kinds.BEGAN, detail=detail), *self._commands(run, position + 1)]
            return [self._entry(run, position, kinds.BEGAN), *self._commands(run, position + 1)]
        if row.status == "diverged":
            return [self._entry(run, position, kinds.RECOVERED)]
        choice = self.pick(["answer", "answer", "answer", "answer", "message", "note", "cancel", "diverge", "drop"])
        hooks = [pending.command for pending in row.pending.values() if pending.kind == kinds.HOOK]
        if choice == "message":
            name = self.pick(["go", "stop"])
            return [self._message(run, position, self.pick(["", *hooks]), name), *self._after(run, position + 1)]
        if choice == "note":
            return [self._note(run, position, row)]
        if choice == "diverge":
            detail = json.dumps({"message": "step 1 asked for ship"})
            return [self._entry(run, position, kinds.DIVERGED, detail=detail)]
        if choice == "cancel" or not row.pending:
            return [self._entry(run, position, kinds.CANCEL_REQUESTED, name="cancel"), *self._after(run, position + 1)]
        pending = self.pick(list(row.pending.values()))
        if choice == "drop":
            cause = self._entry(run, position, kinds.CANCEL_REQUESTED, name="timeout")
            return [cause, self._entry(run, position + 1, kinds.DROPPED, command=pending.command)]
        first = self._answer(run, position, pending)
        return [first, *(self._after(run, position + 1) if first.kind in kinds.CAUSES else [])]

    def pick(self, options: Sequence[T]) -> T:
        """One of some."""
        return self._draw(st.sampled_from(options))  # type: ignore[arg-type,return-value]

    def _entry(self, run: int, position: int, kind: str, **fields: object) -> Entry:
        return Entry(run, position, kind, self._at, **fields)  # type: ignore[arg-type]

    def _answer(self, run: int, position: int, pending: Pending) -> Entry:
        about = {"command": pending.command, "name": pending.name}
        if pending.kind in (kinds.WAIT_HOOK, kinds.WAIT_UNTIL):
            return self._message(run, position, pending.hook, "go")
        if pending.kind == kinds.STEP:
            if pending.retrying:
                return self._entry(run, position, kinds.STEP_STARTED, attempt=pending.attempt, **about)
            kind = self.pick([kinds.STEP_COMPLETED, kinds.STEP_COMPLETED, kinds.STEP_FAILED, kinds.STEP_RETRYING])
            body = FAILURE if kind != kinds.STEP_COMPLETED else self._draw(bodies)
            due = self._at + 30 if kind == kinds.STEP_RETRYING else None
            return self._entry(run, position, kind, attempt=pending.attempt, body=body, due=due, **about)
        kind = {
            kinds.SLEEP: [kinds.TIMER_FIRED],
            kinds.WAIT_EVENT: [kinds.EVENT_RECEIVED, kinds.WAIT_TIMED_OUT],
            kinds.WAIT_SIGNAL: [kinds.SIGNAL_RECEIVED, kinds.WAIT_TIMED_OUT],
            kinds.HOOK: [kinds.HOOK_RECEIVED, kinds.HOOK_REFUSED],
            kinds.CHILD: [kinds.CHILD_STARTED, kinds.CHILD_COMPLETED, kinds.CHILD_FAILED],
            kinds.CHILD_RESULT: [kinds.CHILD_COMPLETED, kinds.CHILD_CANCELLED],
        }[pending.kind]
        return self._entry(run, position, self.pick(kind), body=self._draw(bodies), **about)

    def _after(self, run: int, position: int) -> list[Entry]:
        ending = self.pick(
            [None, None, None, None, kinds.COMPLETED, kinds.FAILED, kinds.CANCELLED, kinds.RETRYING, kinds.CONTINUED]
        )
        if ending is None:
            return self._commands(run, position)
        if ending == kinds.CONTINUED:
            return [self._entry(run, position, ending, body="{}", detail=json.dumps({"run_id": f"r{run}+2"}))]
        due = self._at + 40 if ending == kinds.RETRYING else None
        return [self._entry(run, position, ending, body=FAILURE, due=due)]

    def _message(self, run: int, position: int, hook: str, name: str) -> Entry:
        kind = kinds.HOOK_RECEIVED if hook else kinds.SIGNAL_RECEIVED
        return self._entry(run, position, kind, command=hook, name=name, body=self._draw(bodies))

    def _note(self, run: int, position: int, row: RunRow) -> Entry:
        steps = [pending.command for pending in row.pending.values() if pending.kind == kinds.STEP] or ["0/1"]
        kind = self.pick([kinds.STEP_HEARTBEAT, kinds.STREAM_WRITTEN, kinds.STREAM_CLOSED, kinds.UPGRADED])
        name = "" if kind in (kinds.STEP_HEARTBEAT, kinds.UPGRADED) else self.pick(["logs", "é"])
        detail: dict[str, object] = {}
        if kind == kinds.STREAM_WRITTEN:
            detail = {"offset": row.streams.get(name, [0])[0]}
        elif kind == kinds.UPGRADED:
            detail = {"definition": "d2", "version": self.pick(["1", "2"])}
        command = "" if kind == kinds.UPGRADED else self.pick(steps)
        return self._entry(
            run, position, kind, command=command, name=name, body=self._draw(bodies),
            detail=json.dumps(detail) if detail else None,
        )  # fmt: skip

    def _commands(self, run: int, position: int) -> list[Entry]:
        return [self._command(run, position + number) for number in range(self.pick([0, 1, 1, 2]))]

    def _command(self, run: int, position: int) -> Entry:
        kind = self.pick(sorted(kinds.COMMANDS - {kinds.DROPPED}))
        due = None if kind in kinds.UNANSWERED else self.pick([None, self._at + 10, self._at + 20])
        detail: dict[str, object] = {}
        if kind == kinds.HOOK:
            detail = {"token": self.pick(["t1", "tö"])}
        elif kind in (kinds.WAIT_HOOK, kinds.HOOK_CLOSED):
            detail = {"hook": f"0/{self.pick([1, 2, 3, 4])}", "once": self.pick([True, False])}
        if kind == kinds.WAIT_EVENT:
            detail = {"type": self.pick(["paid", "shipped"]), "match": self._draw(matches)}
        elif kind.startswith("child"):
            detail = {"workflow": "shop", "run_id": f"r{self.pick([1, 2, 3, 99])}", "mode": "invoke"}
        attempt = 1 if kind == kinds.STEP else 0
        return self._entry(
            run, position, kind, command=f"0/{position}", name=self._draw(names), attempt=attempt, due=due,
            body="[]" if kind == kinds.STEP else None, detail=json.dumps(detail) if detail else None,
        )  # fmt: skip
