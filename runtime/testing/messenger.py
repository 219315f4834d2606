"""Who sends events, signals and payloads of hooks in an experiment: whenever a run waits for one, it comes, or never.

Knows waits and payloads. Must not know why anybody wants to see what follows.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from fnmatch import fnmatchcase
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from perdure.errors import DefinitionError, HookRefused, SignalRefused
from perdure.storage import entries as kinds
from perdure.storage.boxes import hook_box, signal_box
from perdure.storage.encoding import encode
from perdure.storage.ledger import ENDED, Pending, RunRow
from perdure.testing.outside import is_function

if TYPE_CHECKING:
    from perdure.engine.batch import Batch
    from perdure.engine.engine import Engine
    from perdure.testing.simulated_run import SimulatedRun
    from perdure.testing.simulation import Simulation

#: How many messages one experiment gets, so that a run that waits for the next one for ever comes to rest.
EVENTS_MAX: Final = 100

#: In place of a payload: this event does not come.
SILENCE: Final = object()

Payload = Callable[[str, Pending], Any]  # of a run's wait: what comes, or SILENCE
Numbered = Callable[[str, str, int], Any]  # of a run, a box and a number: what comes to the box as its n-th message
_NOTHING: Final[Mapping[str, Any]] = MappingProxyType({})


class Post(NamedTuple):
    """What comes to whoever waits for it; waits for anything else are left alone.

    Attributes:
        events: by type. signals: by name. hooks: by token, or a pattern of tokens ("approval:*", "*").
    """

    events: Mapping[str, Payload] = _NOTHING
    signals: Mapping[str, Numbered] = _NOTHING
    hooks: Mapping[str, Numbered] = _NOTHING


class Messenger:
    """Sends to every wait what the post has for it, once."""

    def __init__(self, post: Post) -> None:
        self._post = post
        self._answered: set[tuple[str, str]] = set()
        self._messages = 0

    def send(self, simulation: Simulation) -> bool:
        """Send one message that somebody waits for; False when there is none to send."""
        if len(self._answered) + self._messages >= EVENTS_MAX:
            return False
        return self._send_event(simulation) or self._send_to_box(simulation)

    def _send_to_box(self, simulation: Simulation) -> bool:
        for run in simulation.runs():
            row = run.row()
            for pending in sorted(row.pending.values(), key=lambda each: each.position):
                if pending.kind == kinds.WAIT_SIGNAL:
                    payload_of = self._post.signals.get(pending.name)
                    box = signal_box(pending.name)
                elif pending.kind == kinds.WAIT_HOOK:
                    payload_of = _of_token(self._post.hooks, pending.name)
                    box = hook_box(pending.hook)
                else:
                    continue
                if payload_of is not None:
                    self._messages += 1
                    number = _received(row, box)
                    _hand_over(simulation, run, pending, box, payload_of(run.run_id, box, number))
                    return True
        return False

    def _send_event(self, simulation: Simulation) -> bool:
        for run in simulation.runs():
            row = run.row()
            if row.status in ENDED:
                continue
            for pending in list(row.pending.values()):
                place = (run.run_id, pending.command)
                if pending.kind != kinds.WAIT_EVENT or place in self._answered:
                    continue
                payload_of = self._post.events.get(pending.event_type)
                if payload_of is None:
                    continue
                self._answered.add(place)
                payload = payload_of(run.run_id, pending)
                if payload is SILENCE:
                    continue
                simulation.send_event(pending.event_type, payload)
                _check_arrived(simulation, run.run_id, pending, payload)
                return True
        return False


def given(what: Any) -> Payload:
    """Make a payload of what `events=` says: a value, or a function of what the wait must match."""

    def payload(run_id: str, pending: Pending) -> Any:
        wanted = wanted_by(pending)
        return fitting(what(wanted) if is_function(what) else what, wanted)

    return payload


def numbered(what: Any) -> Numbered:
    """Make a payload of what `signals=` or `hooks=` says: a value, or a function of the message's number."""
    return lambda run_id, box, number: what(number) if is_function(what) else what


def post_of(
    events: Mapping[str, Any] | None, signals: Mapping[str, Any] | None, hooks: Mapping[str, Any] | None
) -> Post:
    """Make the post of what an author gives as `events=`, `signals=` and `hooks=`."""
    return Post(
        {name: given(what) for name, what in (events or {}).items()},
        {name: numbered(what) for name, what in (signals or {}).items()},
        {name: numbered(what) for name, what in (hooks or {}).items()},
    )


def wanted_by(pending: Pending) -> dict[str, Any]:
    """The `match` of a wait."""
    wanted: dict[str, Any] = json.loads(pending.match or "{}")
    return wanted


def fitting(payload: Any, wanted: Mapping[str, Any]) -> Any:
    """Make a payload match: what the wait compares is filled in, if the payload has keys at all."""
    if payload is None and wanted:
        return dict(wanted)
    return {**payload, **wanted} if isinstance(payload, dict) else payload


def _of_token(hooks: Mapping[str, Numbered], token: str) -> Numbered | None:
    return hooks.get(token) or next((what for key, what in hooks.items() if fnmatchcase(token, key)), None)


def _received(row: RunRow, box: str) -> int:
    return row.boxes.get(box, [0, 0])[0]


def _hand_over(simulation: Simulation, run: SimulatedRun, pending: Pending, box: str, payload: Any) -> None:
    """Send one message, and again after a crash unless the ledger has it: one that came twice would be another world.

    Raises:
        DefinitionError: the run refuses it.
    """
    run_id, name, encoded = run.run_id, pending.name, encode(payload)
    before = _received(run.row(), box)
    signal = pending.kind == kinds.WAIT_SIGNAL
    simulation.story.add("signal" if signal else "hook", lambda: f"{run_id} {name} {payload!r}")

    def hand(engine: Engine, batch: Batch) -> None:
        row = engine.ledger.run(run_id)
        if row is None or row.status in ENDED or _received(row, box) > before:
            return
        if signal:
            engine.messages.signal(run_id, name, encoded, batch)
        else:
            engine.messages.resume_hook(name, encoded, batch)

    try:
        simulation.ask(hand)
    except (SignalRefused, HookRefused) as refused:
        what = "signals" if signal else "hooks"
        raise DefinitionError(
            f"{what}={{{name!r}: …}} gives what the run refuses: {payload!r}.",
            why=refused.message,
            fix="give what fits the wait's schema, or a function of the message's number (0 for the first)",
        ) from None


def _check_arrived(simulation: Simulation, run_id: str, pending: Pending, payload: Any) -> None:
    row = simulation.handle(run_id).row()
    waits = row.pending.get(pending.command)
    if waits is not None and waits.position == pending.position and row.status not in ENDED:
        raise DefinitionError(
            f"events={{{pending.event_type!r}: …}} gives what the wait {pending.name!r} does not match: {payload!r}.",
            why=f"it waits for {pending.match}",
            fix="give a dictionary, or a function of what the wait must match",
        )
