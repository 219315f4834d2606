"""A body under a debugger: replayed up to a place, where a person looks at its variables and steps on.

The debugger is pdb, or any class made of it. It stops only in the author's code, and its stack has only the author's
frames. What is typed runs outside of the sandbox's watch, but no step is ever called: what a step did is recorded.

Knows pdb and the machine. Must not know ledgers, nor how results are shown.
"""

from __future__ import annotations

import contextlib
import dis
import inspect
import pdb
import sys
from collections.abc import Callable, Iterator
from types import FrameType, TracebackType
from typing import Any, NoReturn

from perdure.core.places import Place
from perdure.core.waiting import Waiting
from perdure.declare.step import refusal, steps_refused
from perdure.replay.stop import Replayed, Stop, Walk, stacks_of, stop_of
from perdure.sandbox import activation, frames, fuel, watchdog
from perdure.storage import entries as kinds
from perdure.storage.entries import Entry

Base = type[pdb.Pdb]


class Debugged(Replayed):
    """A machine that hands its body over to a debugger when it comes to a place, and when it diverges."""

    def __init__(self, walk: Walk, target: Entry | None) -> None:
        super().__init__(walk)
        self.debugger: BodyDebugger | None = None
        self.looking = False
        self._target = target

    @property
    def living(self) -> bool:
        """False: a debugged body only replays. While a person looks, asking for anything is refused."""
        if self.looking:
            raise refusal("`step` asks for work")
        return False

    def replayed(self, name: str, body: str | None, shape: str | None) -> Entry | None:
        self._arrive()
        return super().replayed(name, body, shape)

    def ask(
        self,
        kind: str,
        name: str,
        body: str | None = None,
        shape: str | None = None,
        *,
        due: int | None = None,
        detail: Callable[[str], str | None] | None = None,
        call: Any = None,
        timer: bool = False,
    ) -> Waiting:
        self._arrive()
        return super().ask(kind, name, body, shape, due=due, detail=detail, call=call, timer=timer)

    def _arrive(self) -> None:
        """Stop if the body is about to ask for the target."""
        target, expected = self._target, self._expected
        if target is None or not expected or self._divergence is not None:
            return
        branch = self.branch()
        recorded = expected.get(f"{branch.path}/{branch.commands}")
        if recorded is not None and recorded.position == target.position:
            self._stop()

    def _stop(self, why: str = "") -> None:
        self._target = None
        if self.debugger is not None:
            self.debugger.stop_in_body(why)

    def _deliver(self, cause: Entry) -> None:
        target = self._target
        if target is not None and self.debugger is not None and cause.position == target.position:
            self._target = None
            self.debugger.stop_soon()
        super()._deliver(cause)

    def _diverge(self, recorded: Entry | None, replayed: Entry) -> NoReturn:
        try:
            super()._diverge(recorded, replayed)
        finally:
            if self._divergence is not None:
                self._stop(self._divergence.message)


class BodyDebugger(pdb.Pdb):
    """What is special about debugging a body; mixed into a class of the user's choice by `debugger_over`."""

    machine: Debugged
    left = False  # the user has quit
    stops = 0
    _raising: FrameType | None = None  # where an exception was raised last, until a line runs

    def stop_in_body(self, why: str = "") -> None:
        """Stop now, in the innermost of the author's frames."""
        if self.left:
            return
        frame = _authors(sys._getframe(1))
        if frame is None:
            return
        if why:
            self.message(f"*** {why}")
        self._begin_from(frame)
        self.interaction(frame, None)
        if not self.left and (self.stoplineno != -1 or self.breaks):  # else: go on to the end
            self._trace()

    def stop_soon(self) -> None:
        """Stop at the next line of the author's that runs."""
        if not self.left:
            self._begin_from(sys._getframe(1))
            self.set_step()
            self._trace()

    def look_at(self, trace: TracebackType | None) -> None:
        """Stop where an exception was raised; the body is over, so there is no stepping on."""
        if not self.left:
            self.reset()
            self.interaction(None, trace)

    def _begin_from(self, frame: FrameType) -> None:
        with activation.suspended():
            self.reset()
        outer: FrameType | None = frame
        while outer is not None:
            if frames.is_authors(outer):
                outer.f_trace = self.trace_dispatch
            self.botframe = outer
            outer = outer.f_back

    def _trace(self) -> None:
        with activation.suspended():  # the body's watch refuses it, as it does not know yet who traces
            sys.settrace(self.trace_dispatch)

    # ── what pdb asks ────────────────────────────────────────────────────────────────────────────

    def stop_here(self, frame: FrameType) -> bool:
        return frames.is_authors(frame) and super().stop_here(frame)

    def dispatch_line(self, frame: FrameType) -> Any:
        self._raising = None
        return super().dispatch_line(frame)

    def dispatch_exception(self, frame: FrameType, arg: Any) -> Any:
        if arg[0] is StopIteration and frame.f_code.co_flags & inspect.CO_COROUTINE:
            return self.trace_dispatch  # how an awaited coroutine hands over its result
        self._raising = frame
        return super().dispatch_exception(frame, arg)

    def dispatch_return(self, frame: FrameType, arg: Any) -> Any:
        # pdb takes a coroutine's return for one more suspension, and `next` would wait for a frame that is gone.
        if frame is self.stopframe and self._is_over(frame, arg):
            self.set_step()
            return self.trace_dispatch
        return super().dispatch_return(frame, arg)

    def _is_over(self, frame: FrameType, arg: Any) -> bool:
        if self._raising is frame and arg is None:
            return True
        return dis.opname[frame.f_code.co_code[frame.f_lasti]] in ("RETURN_VALUE", "RETURN_CONST")

    def user_call(self, frame: FrameType, argument_list: Any) -> None:
        """Don't stop where a coroutine goes on: its next line is the place."""

    def get_stack(self, f: FrameType | None, t: TracebackType | None) -> tuple[list[tuple[FrameType, int]], int]:
        whole, index = super().get_stack(f, t)
        stack = [(frame, line) for frame, line in whole if frames.is_authors(frame)]
        current = sum(frames.is_authors(frame) for frame, _ in whole[: index + 1]) - 1
        return stack, max(current, 0)

    def interaction(self, *arguments: Any) -> None:
        self.stops += 1
        frame = arguments[0]
        shown = [frame] if frame is not None else []
        shown += [each for each, _ in self.get_stack(*arguments)[0]]
        self.machine.looking = True
        try:
            with activation.suspended(), steps_refused(), _more_names(shown):
                super().interaction(*arguments)
        finally:
            self.machine.looking = False
            fuel.refill(self.machine.max_ops)

    def set_quit(self) -> None:
        # pdb would raise BdbQuit inside the body, which may catch it. The rest is replayed unseen instead.
        self.left = True
        self.clear_all_breaks()
        self.set_continue()
        sys.settrace(None)

    def precmd(self, line: str) -> str:
        # `step` is the body's parameter and a command of pdb: with a dot it means the parameter.
        return super().precmd(f"!{line}" if line.lstrip().startswith("step.") else line)

    def do_branches(self, arg: str) -> None:
        """branches: list the branches of the body that are not over, and what each waits for."""
        for stack in stacks_of(self.machine):
            waits = f"waits for {stack.waits_for}, entry {stack.position}" if stack.waits_for else "runs, or waits"
            frame = stack.frames[-1] if stack.frames else None
            place = "" if frame is None else f"{frame.file}({frame.line}){frame.function}()"
            self.message(f"  {stack.branch:<6} {waits}  {place}".rstrip())

    def do_run(self, arg: str) -> None:
        """run: not here, leave and start the command again."""
        self.error("leave with q, and start the command again")

    do_restart = do_run


def debugger_over(base: Base) -> type[BodyDebugger]:
    """Make a body's debugger of pdb or a class derived from it, such as IPython's."""
    if base is pdb.Pdb:
        return BodyDebugger
    return type("BodyDebugger", (BodyDebugger, base), {})


def debug(walk: Walk, place: Place | None, debugger: BodyDebugger) -> Stop:
    """Replay an attempt with a debugger that stops at a place; give where the body stands at the end.

    Args:
        place: None stops where the body raises out, or diverges.

    Raises:
        Divergence: after the debugger has stopped there.
    """
    target = None if place is None else target_of(place)
    machine = Debugged(walk, target)
    machine.debugger = debugger
    debugger.machine = machine
    former = sys.gettrace()
    limit_s = watchdog.limit(0)  # a person takes longer than any body may
    try:
        try:
            machine.replay(walk.whole)
        finally:
            sys.settrace(former)
        stop = stop_of(machine, walk.whole[-1].position)
        error = machine.failure()
        if target is None and error is not None:
            debugger.look_at(error.__traceback__)
        return stop
    finally:
        sys.settrace(former)
        watchdog.limit(limit_s)
        machine.close()


def target_of(place: Place) -> Entry | None:
    """What to stop at for a place: its command, or the cause that led there; None for where the body raised out."""
    entry = place.entry
    if entry.kind in (kinds.FAILED, kinds.RETRYING):
        return None
    if entry.kind in kinds.CAUSES | kinds.COMMANDS and entry.kind not in (kinds.DROPPED, kinds.PATCHED):
        return entry
    return place.causes[0]


def _authors(frame: FrameType | None) -> FrameType | None:
    while frame is not None and not frames.is_authors(frame):
        frame = frame.f_back
    return frame


@contextlib.contextmanager
def _more_names(shown: list[FrameType]) -> Iterator[None]:
    """While a person looks, let frames have the module's classes and constants too, and steps that say they are."""
    added: list[tuple[dict[str, Any], str]] = []
    for frame in shown:
        names: dict[str, object] = dict(frames.other_names(frame))
        names |= {name: _Refused(name) for name in frames.step_functions(frame)}
        for name, value in names.items():
            if name not in frame.f_globals:
                frame.f_globals[name] = value
                added.append((frame.f_globals, name))
    try:
        yield
    finally:
        for globals_, name in added:
            globals_.pop(name, None)


class _Refused:
    """Stands for a function that the body hands to steps."""

    def __init__(self, name: str) -> None:
        self._name = name

    def __call__(self, *_: object, **__: object) -> NoReturn:
        raise refusal(f"{self._name} is handed to a step")

    def __repr__(self) -> str:
        return f"<function {self._name}, for steps>"
