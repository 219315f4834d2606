"""What follows a failure: another attempt, when, or the end. Pure decisions over options and counts."""

from __future__ import annotations

from hashlib import blake2b

from perdure.declare.options import RetryPolicy, StepOptions
from perdure.durations import duration_us
from perdure.errors import (
    BudgetExceeded,
    DefinitionError,
    DuplicateStepName,
    FatalError,
    InvalidInput,
    NeverAwaited,
    NotSerializable,
    PolicyViolation,
    RetryableError,
    SandboxViolation,
    StepInterrupted,
    UnknownWorkflow,
    ValueTooLarge,
    WriteConflict,
)
from perdure.storage import entries as kinds
from perdure.storage.entries import Entry
from perdure.storage.failures import encode_failure

_CONFLICTS_MAX = 50  # attempts: some twenty seconds
#: Errors that the same code would only repeat: trying again would hide them and cost time.
FINAL_ERRORS = (
    FatalError,
    BudgetExceeded,
    SandboxViolation,
    PolicyViolation,
    DuplicateStepName,
    NeverAwaited,
    NotSerializable,
    ValueTooLarge,
    DefinitionError,
    InvalidInput,
    UnknownWorkflow,
)


def retry_delay_us(policy: RetryPolicy, attempt: int, error: BaseException, seed: str) -> int | None:
    """How long to wait before the next attempt, in microseconds; None when there is none.

    Args:
        attempt: the attempt that failed, 1 is the first.
        seed: what makes the jitter of this attempt its own, and the same whenever asked: run and command.
    """
    if attempt >= policy.max_attempts or isinstance(error, FINAL_ERRORS):
        return None
    if isinstance(error, RetryableError) and error.delay is not None:
        try:
            return duration_us(error.delay, "delay")
        except DefinitionError:
            # A wrong delay must not lose the step's own error: the policy's delay stands in.
            pass
    digest = blake2b(f"{seed}\0{attempt}".encode(), digest_size=8).digest()
    return policy.delay_us(attempt, int.from_bytes(digest, "big") / 2**64)


def step_delay_us(options: StepOptions, attempt: int, error: BaseException, seed: str) -> int | None:
    """How long until a step's next attempt after this error; None when there is none."""
    delay_us = retry_delay_us(options.policy, attempt, error, seed)
    if delay_us is None and options.delivery == "at_least_once":
        return _conflict_delay_us(attempt, error, seed)
    return delay_us


def _conflict_delay_us(attempt: int, error: BaseException, seed: str) -> int | None:
    """How long to wait after a `WriteConflict` that the policy does not try again; None when it is time to give up.

    Nothing was written and somebody else got on, so it says nothing of the step: others may be quicker many times. The
    longer it lasts the farther apart they come back.
    """
    if not isinstance(error, WriteConflict) or attempt >= _CONFLICTS_MAX:
        return None
    digest = blake2b(f"{seed}\0{attempt}".encode(), digest_size=8).digest()
    widest_us = min(1_000_000, 20_000 << attempt)
    return 10_000 + int.from_bytes(digest, "big") * widest_us // 2**64


def interrupted(name: str, where: str) -> StepInterrupted:
    """What a body gets for an at-most-once step that was cut off."""
    return StepInterrupted(
        f"step {name!r} was at work when it was cut off, and may or may not have happened.",
        where=where,
        why='its delivery is "at_most_once", so it is not run again',
        fix="find out outside (its idempotency key helps), then decide in the body: except StepInterrupted",
    )


def interruption(asked: Entry) -> Entry:
    """The outcome, for a run's next attempt, of an at-most-once step that the attempt before left at work."""
    body, shape = encode_failure(interrupted(asked.name, f"an earlier attempt of the run, entry {asked.position}"))
    return Entry(
        asked.run, asked.position, kinds.STEP_FAILED, asked.at, asked.command, asked.name, 1, body=body, shape=shape
    )


def is_interruption(failed: Entry) -> bool:
    """Whether a step's failure says that nobody knows whether it happened."""
    return failed.body is not None and _INTERRUPTED in failed.body


_INTERRUPTED = f'"{StepInterrupted.__module__}:{StepInterrupted.__qualname__}"'
