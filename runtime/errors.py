"""Every exception of Perdure, in one tree.

    PerdureError
    ├── WorkflowError                     your workflow
    │   ├── DefinitionError      DEF101   a bad option, a duplicate id, a wrong signature
    │   ├── PolicyViolation      BOX101   the policy refuses the body; `.findings` has all of them
    │   ├── SandboxViolation     BOX201   refused while the body ran
    │   ├── BudgetExceeded       BOX301   too many operations between two waits
    │   ├── UnknownWorkflow      RUN101   nobody registered that id or version
    │   ├── InvalidInput         RUN102   the input does not fit the workflow's annotation
    │   ├── UnknownRun           RUN103   the ledger has no such run
    │   ├── SignalRefused        RUN104   the run has ended, or the payload does not fit what it waits for
    │   ├── NotSerializable      VAL101   a value without a lossless encoding, with its path
    │   ├── ValueUnreadable      VAL102   a recorded value whose class is gone or has changed too much
    │   ├── ValueTooLarge        VAL103   a value is larger than a service takes
    │   ├── DuplicateStepName    STEP101  step.run used one name twice in a run
    │   ├── NeverAwaited         STEP102  the body asked for something and nobody awaited it
    │   ├── StepFailed           STEP201  the step's own exception could not be rebuilt
    │   ├── StepTimeout          STEP202  an attempt took longer than its timeout
    │   ├── StepInterrupted      STEP203  an at-most-once step was cut off by a crash
    │   ├── ChildFailed          CHILD201 a child run failed
    │   ├── ChildCancelled       CHILD202 a child run was cancelled
    │   ├── FatalError           STEP301  raised by a step: do not retry
    │   ├── RetryableError       STEP302  raised by a step: retry, after `delay`
    │   ├── RunFailed            RUN201   the run ended with an error
    │   ├── RunCancelled         RUN202   the run was cancelled
    │   ├── RunTimeout           RUN203   the run, or the caller's patience, ran out of time
    │   ├── WriteConflict        SVC201   somebody else wrote what a step had read; it is tried again (a RetryableError)
    │   ├── ServiceFailed        SVC202   what stands behind a service can't be reached, or refused
    │   ├── DuplicateDocument    SVC203   a document with that `_id` is there already
    │   ├── MessageLost          SVC206   a message is not this receiver's any more (a RetryableError)
    │   ├── UnknownBlob          SVC204   the storage has no blob of that name
    │   ├── BlobDamaged          SVC205   a blob is cut off, or not what was written
    │   ├── HookRefused          HOOK201  the payload does not fit, or the token is not waiting
    │   └── Divergence           REPLAY201 the body asks for something else than the ledger has
    ├── LedgerError                       the ledger
    │   ├── LedgerLocked         LEDGER101 another process owns the file
    │   ├── LedgerCorrupt        LEDGER102 the file was cut off or altered
    │   ├── LedgerTooNew         LEDGER103 written by a newer release
    │   ├── LedgerFull           LEDGER104 no room on the disk
    │   └── LedgerReadOnly       LEDGER105 the file or its folder can't be written
    └── InternalError            BUG101   ours

    DeterminismWarning (a UserWarning)    BOX102   a suspicion, outside strict mode

This file is a leaf: everyone may import it, and it imports nothing of ours.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar


class PerdureError(Exception):
    """The root of the tree. `str(error)` is the whole message; its first line stands alone in a log.

    Attributes:
        code: stable identifier, a heading in `docs/errors.md`.
        message: the first line without its code.
        where, why, fix: the labelled lines; empty when there is nothing to say.
        details: further labelled lines in order, such as `recorded` and `replayed`.
    """

    code: ClassVar[str] = "PERDURE"

    def __init__(
        self,
        message: str,
        *,
        where: str = "",
        why: str = "",
        fix: str = "",
        details: Sequence[tuple[str, str]] = (),
    ) -> None:
        super().__init__(message)
        self.message = message
        self.where = where
        self.why = why
        self.fix = fix
        self.details = tuple(details)

    def __str__(self) -> str:
        lines = [f"{type(self).__name__} [{self.code}]: {self.message}"]
        labelled = [("where", self.where), *self.details, ("why", self.why), ("fix", self.fix)]
        for label, text in labelled:
            if text:
                lines.append(f"  {label:<9} {_indented(text)}")
        return "\n".join(lines)

    def __reduce__(self) -> tuple[Any, ...]:
        # Keyword-only arguments and subclass attributes both travel in __dict__.
        return _rebuild, (type(self), self.args, self.__dict__)


def _indented(text: str) -> str:
    return text.replace("\n", "\n" + " " * 12)


def _rebuild(cls: type[PerdureError], args: tuple[Any, ...], state: dict[str, Any]) -> PerdureError:
    error = cls.__new__(cls, *args)
    error.args = args
    error.__dict__.update(state)
    return error


# ── your workflow ────────────────────────────────────────────────────────────────────────────────


class WorkflowError(PerdureError):
    """What the author or the caller of a workflow can mend."""


class DefinitionError(WorkflowError):
    """A workflow or step is declared wrongly: a bad option, a duplicate id, a wrong signature."""

    code = "DEF101"


class PolicyViolation(WorkflowError):
    """The policy refuses a body or a helper that it reaches.

    Attributes:
        findings: every finding at once, in line order; each has `file`, `line`, `column`, `rule`, `message`, `fix`.
    """

    code = "BOX101"

    def __init__(self, message: str, *, findings: Sequence[Any] = (), **labels: Any) -> None:
        super().__init__(message, **labels)
        self.findings = tuple(findings)

    def __str__(self) -> str:
        # A block per finding, and the first line of each holds file.py:LINE:COL, so that editors can jump.
        blocks = [str(finding) for finding in self.findings]
        return "\n".join([super().__str__(), *blocks])


class DeterminismWarning(UserWarning):
    """A suspicion about a body's determinism, reported by the lenient import; strict mode makes it an error."""


class SandboxViolation(WorkflowError):
    """A body did something at run time that the sandbox refuses; the fix is nearly always a step."""

    code = "BOX201"


class BudgetExceeded(WorkflowError):
    """A body used up `max_ops` operations between two waits, or the watchdog's time."""

    code = "BOX301"


class UnknownWorkflow(WorkflowError):
    """No registered workflow has that id, or that version of it."""

    code = "RUN101"


class InvalidInput(WorkflowError):
    """The input does not validate against the workflow's annotation; nothing was started."""

    code = "RUN102"


class UnknownRun(WorkflowError):
    """The ledger has no run with that `run_id`."""

    code = "RUN103"


class SignalRefused(WorkflowError):
    """A signal was sent to a run that has ended, or its payload does not fit what the run waits for."""

    code = "RUN104"


class NotSerializable(WorkflowError):
    """A value has no lossless encoding.

    Attributes:
        path: where in the value it sits, such as `$.items[2].callback`.
    """

    code = "VAL101"

    def __init__(self, message: str, *, path: str = "$", **labels: Any) -> None:
        super().__init__(message, **labels)
        self.path = path


class ValueUnreadable(WorkflowError):
    """A recorded value can't be read back: its class is gone, moved, or lost the shape that it had.

    Attributes:
        path: where in the value it sits, such as `$.items[2]`.
        recorded_type: the class that the ledger names, as `module:qualname`; empty when the text itself is broken.
    """

    code = "VAL102"

    def __init__(self, message: str, *, path: str = "$", recorded_type: str = "", **labels: Any) -> None:
        super().__init__(message, **labels)
        self.path = path
        self.recorded_type = recorded_type


class ValueTooLarge(WorkflowError):
    """A value is larger than the service takes; nothing was written. The message says the size and the limit."""

    code = "VAL103"


class DuplicateStepName(WorkflowError):
    """`step.run` used one name twice in a run; names find results again, so they must differ."""

    code = "STEP101"


class NeverAwaited(WorkflowError):
    """The body returned, and something that it had asked for was never awaited: it would have been lost in silence."""

    code = "STEP102"


class StepFailed(WorkflowError):
    """A step used up its attempts and its own exception class could not be rebuilt.

    Attributes:
        step_name, attempts, traceback_text: what was recorded; rebuilt exceptions carry the same three.
        error_type: the original class, as `module:qualname`.
    """

    code = "STEP201"
    step_name: str = ""
    attempts: int = 0
    traceback_text: str = ""
    error_type: str = ""


class StepTimeout(WorkflowError):
    """One attempt of a step took longer than its `timeout`."""

    code = "STEP202"


class StepInterrupted(WorkflowError):
    """An at-most-once step had started when the process died, so nobody knows whether it happened."""

    code = "STEP203"


class ChildFailed(WorkflowError):
    """A child run failed. `child_run_id` names it; `error_type` and the message are the child's."""

    code = "CHILD201"
    child_run_id: str = ""
    error_type: str = ""


class ChildCancelled(WorkflowError):
    """A child run was cancelled. `child_run_id` names it."""

    code = "CHILD202"
    child_run_id: str = ""


class FatalError(WorkflowError):
    """Raise it in a step to end the step at once, whatever its retries say; in a body it ends the run likewise."""

    code = "STEP301"


class RetryableError(WorkflowError):
    """Raise it in a step (or a body) to ask for another attempt.

    Args:
        delay: how long to wait first, as a duration (`"10s"`, seconds, a timedelta); None leaves it to the policy.
    """

    code = "STEP302"

    def __init__(self, message: str = "try again", *, delay: Any = None, **labels: Any) -> None:
        super().__init__(message, **labels)
        self.delay = delay


class WriteConflict(RetryableError):
    """Somebody else wrote what this attempt had read, or holds what it wants to write while waiting for it.

    The attempt has written nothing. Raised in a step and not caught, it has the step tried again soon.
    """

    code = "SVC201"

    def __init__(self, message: str, *, delay: Any = "20ms", **labels: Any) -> None:
        super().__init__(message, delay=delay, **labels)


class ServiceFailed(WorkflowError):
    """What stands behind a service (a Redis, a database, a file system) can't be reached, or refused.

    Nothing of the attempt was written. Raised in a step and not caught, it has the step tried again as its policy says.
    """

    code = "SVC202"


class DuplicateDocument(WorkflowError):
    """A document was to be inserted under an `_id` that another one of the collection has; nothing was written."""

    code = "SVC203"


class MessageLost(RetryableError):
    """A message is not this receiver's any more: its visibility timeout passed, or it was acknowledged already.

    Nothing was written. Raised in a step and not caught, it has the step tried again.
    """

    code = "SVC206"


class UnknownBlob(WorkflowError):
    """There is no blob of that name in the bucket, or none any more."""

    code = "SVC204"


class BlobDamaged(WorkflowError):
    """A blob is cut off: fewer or more bytes came than were announced, or what is kept is not what was written.

    Nothing of a blob that is cut off on its way in can be seen.
    """

    code = "SVC205"


class RunFailed(WorkflowError):
    """The run ended with an error. `__cause__` is the body's exception where it can be rebuilt.

    Attributes:
        run_id, error_type, traceback_text: what the ledger recorded.
    """

    code = "RUN201"
    run_id: str = ""
    error_type: str = ""
    traceback_text: str = ""


class RunCancelled(WorkflowError):
    """The run was cancelled; its compensation has finished."""

    code = "RUN202"
    run_id: str = ""


class RunTimeout(WorkflowError, TimeoutError):
    """The run passed its `timeout`, or `result(timeout=…)` ran out while the run goes on."""

    code = "RUN203"
    run_id: str = ""


class HookRefused(WorkflowError):
    """A payload does not fit the hook's schema, or nobody waits under that token."""

    code = "HOOK201"


class Divergence(WorkflowError):
    """The first place where a replay asks for something else than its ledger says.

    Attributes:
        run_id, position: where in the ledger.
        recorded, replayed: the two sides, one line each.
        recorded_site, replayed_site: the source lines that asked, as `file.py:12`; empty when not known.
        cause: the likely cause, one of the names in `docs/errors.md`.
        evidence: what the cause was concluded from.
        inspect: the command that looks further.
    """

    code = "REPLAY201"
    recorded_site: str = ""
    replayed_site: str = ""

    def __init__(
        self,
        message: str,
        *,
        run_id: str = "",
        position: int = 0,
        recorded: str = "",
        replayed: str = "",
        cause: str = "",
        evidence: str = "",
        inspect: str = "",
        **labels: Any,
    ) -> None:
        super().__init__(message, details=[("recorded", recorded), ("replayed", replayed)], **labels)
        self.run_id = run_id
        self.position = position
        self.recorded = recorded
        self.replayed = replayed
        self.cause = cause
        self.evidence = evidence
        self.inspect = inspect

    def __str__(self) -> str:
        return super().__str__() + (f"\n  {'inspect':<9} {self.inspect}" if self.inspect else "")


# ── the ledger ───────────────────────────────────────────────────────────────────────────────────


class LedgerError(PerdureError):
    """The ledger can't be opened, read or written; nothing acknowledged was lost."""


class LedgerLocked(LedgerError):
    """Another process owns the file. `owner_pid` is its process id, or None when it could not be read."""

    code = "LEDGER101"

    def __init__(self, message: str, *, owner_pid: int | None = None, **labels: Any) -> None:
        super().__init__(message, **labels)
        self.owner_pid = owner_pid


class LedgerCorrupt(LedgerError):
    """The file was cut off or altered; the message says at which run and position."""

    code = "LEDGER102"


class LedgerTooNew(LedgerError):
    """A newer release of Perdure wrote this file."""

    code = "LEDGER103"


class LedgerFull(LedgerError):
    """The disk has no room; what was acknowledged is safe, and the ledger goes on once there is room."""

    code = "LEDGER104"


class LedgerReadOnly(LedgerError):
    """The file or its folder can't be written by this process."""

    code = "LEDGER105"


# ── ours ─────────────────────────────────────────────────────────────────────────────────────────


class InternalError(PerdureError):
    """A bug of Perdure, not of your workflow; the message says what to send us."""

    code = "BUG101"
