"""What a step or a workflow may be told: frozen options, checked where they are written.

Knows values and their limits. Must not know how a step is run or a workflow walked.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Final, Literal, TypeAlias

from perdure.declare.queues import Queue, check_priority, check_queue_name
from perdure.declare.templates import check_template
from perdure.declare.triggers import triggers_of
from perdure.durations import Duration, duration_us
from perdure.errors import DefinitionError
from perdure.misfit import fitting_methods
from perdure.triggers.event import Event
from perdure.triggers.schedule import Schedule

Backoff: TypeAlias = Literal["exponential", "fixed"]
Delivery: TypeAlias = Literal["at_least_once", "at_most_once"]


@fitting_methods
@dataclass(frozen=True)
class RetryPolicy:
    """How often and when to try again.

    Attributes:
        max_attempts: all attempts, the first included; at least 1.
        backoff: `"exponential"` multiplies the delay by `factor` after each attempt, `"fixed"` does not.
        base_delay: before the second attempt, a duration.
        factor: at least 1; only for exponential backoff.
        max_delay: no delay grows longer than this, jitter included; a longer `base_delay` stays as it is.
        jitter: from 0 to 1, the part of the delay that is random (0.1 means ±10 %). It is drawn by run, command
            and attempt, so it is the same whenever it is asked for.

    Raises:
        DefinitionError: a value is out of its range.
    """

    max_attempts: int = 3
    backoff: Backoff = "exponential"
    base_delay: Duration = "1s"
    factor: float = 2
    max_delay: Duration = "1m"
    jitter: float = 0.1

    def __post_init__(self) -> None:
        whole = isinstance(self.max_attempts, int) and not isinstance(self.max_attempts, bool)
        if not whole or self.max_attempts < 1:
            raise _bad("max_attempts", self.max_attempts, "a whole number of at least 1; 1 means no retry")
        if self.backoff not in ("exponential", "fixed"):
            raise _bad("backoff", self.backoff, '"exponential" or "fixed"')
        if not _is_number(self.factor) or not 1 <= self.factor < math.inf:
            raise _bad("factor", self.factor, "a number of at least 1")
        if not _is_number(self.jitter) or not 0 <= self.jitter <= 1:
            raise _bad("jitter", self.jitter, "a number from 0 to 1")
        duration_us(self.base_delay, "base_delay")
        duration_us(self.max_delay, "max_delay")

    def delay_us(self, attempt: int, draw: float) -> int:
        """How long to wait after `attempt` (1 is the first) failed; `draw` in [0, 1) decides the jitter."""
        delay = float(duration_us(self.base_delay))
        longest = float(duration_us(self.max_delay))
        if delay > longest:  # who asks for an hour must not get the minute that is the default
            longest = delay * (1 + self.jitter)
        if self.backoff == "exponential":
            # Bounded, because 2.0 ** 5000 overflows long before anyone waits for it.
            growth = min(attempt - 1, 64) * math.log10(self.factor)
            delay *= self.factor ** min(attempt - 1, 64) if growth < _GROWTH_MAX else 10.0**_GROWTH_MAX
        delay *= 1 + self.jitter * (2 * draw - 1)
        return int(min(delay, longest))


#: Powers of ten by which a delay may grow, far beyond any `max_delay`.
_GROWTH_MAX = 200

#: What `retries=` takes: further attempts after the first, or a whole policy.
Retries: TypeAlias = int | RetryPolicy

STEP_RETRIES = 2
#: What one run may write, and what its body may do between two waits, unless its workflow says otherwise.
MAX_ENTRIES: Final = 1_000_000
MAX_OPS: Final = 10_000_000


def retry_policy(retries: Retries) -> RetryPolicy:
    """Turn `retries=` into a policy; an int counts the attempts after the first."""
    if isinstance(retries, RetryPolicy):
        return retries
    if isinstance(retries, bool) or not isinstance(retries, int) or retries < 0:
        raise _bad("retries", retries, "a whole number of at least 0 (attempts after the first), or a RetryPolicy")
    return RetryPolicy(max_attempts=retries + 1)


@dataclass(frozen=True)
class StepOptions:
    """How one step is run. `timeout_us` limits one attempt, `heartbeat_timeout_us` its silence; None is no limit."""

    policy: RetryPolicy = field(default_factory=lambda: retry_policy(STEP_RETRIES))
    timeout_us: int | None = None
    delivery: Delivery = "at_least_once"
    on_error: Callable[[BaseException], object] | None = None
    heartbeat_timeout_us: int | None = None

    @property
    def is_limited(self) -> bool:
        """Whether time may end an attempt."""
        return self.timeout_us is not None or self.heartbeat_timeout_us is not None

    def overridden(
        self,
        retries: Retries | None,
        timeout: Duration | None,
        delivery: Delivery | None,
        on_error: Callable[[BaseException], object] | None,
        heartbeat_timeout: Duration | None = None,
    ) -> StepOptions:
        """The same options but for those that are given."""
        if (retries, timeout, delivery, on_error, heartbeat_timeout) == (None,) * 5:
            return self
        policy = self.policy if retries is None else retry_policy(retries)
        if delivery == "at_most_once" and retries is None and self.delivery == "at_least_once":
            policy = retry_policy(0)  # once means once, unless somebody asks for more
        return replace(
            self,
            policy=policy,
            timeout_us=self.timeout_us if timeout is None else _positive_us(timeout),
            delivery=self.delivery if delivery is None else _delivery(delivery),
            on_error=self.on_error if on_error is None else on_error,
            heartbeat_timeout_us=self.heartbeat_timeout_us
            if heartbeat_timeout is None
            else _positive_us(heartbeat_timeout, "heartbeat_timeout"),
        )


@dataclass(frozen=True)
class WorkflowOptions:
    """How a workflow's runs are walked.

    Attributes:
        policy: of whole-run retries; `max_attempts` 1 is none.
        timeout_us: wall clock for the whole run, None is no limit.
        max_entries: ledger entries of one run, a circuit breaker.
        max_ops: operations of the body between two waits, a circuit breaker.
        idempotency_key: template over the input's fields, such as `"order-{order_id}"`, or None.
        queue: where its runs wait for their turn, by name or as it is; None is nowhere.
        key: template over the input's fields, what limits per key and turns go by, or None.
        priority: within the queue; smaller ones come first.
        triggers: what starts runs by itself: schedules, and events.
    """

    policy: RetryPolicy = field(default_factory=lambda: retry_policy(0))
    timeout_us: int | None = None
    max_entries: int = MAX_ENTRIES
    max_ops: int = MAX_OPS
    idempotency_key: str | None = None
    queue: str | Queue | None = None
    key: str | None = None
    priority: int = 0
    triggers: tuple[Schedule | Event, ...] = ()

    @property
    def queue_name(self) -> str | None:
        """Its queue by name."""
        return self.queue.name if isinstance(self.queue, Queue) else self.queue


def workflow_options(
    *,
    retries: Retries = 0,
    timeout: Duration | None = None,
    max_entries: int = MAX_ENTRIES,
    max_ops: int = MAX_OPS,
    idempotency_key: str | None = None,
    queue: str | Queue | None = None,
    key: str | None = None,
    priority: int = 0,
    trigger: Schedule | Event | Sequence[Schedule | Event] | None = None,
) -> WorkflowOptions:
    """Check what `@workflow` was told and freeze it."""
    for option, template in (("idempotency_key", idempotency_key), ("key", key)):
        if template is not None:
            check_template(option, template)
    _check_queue(queue, key, priority)
    for name, value in (("max_entries", max_entries), ("max_ops", max_ops)):
        if isinstance(value, bool) or not isinstance(value, int) or value < 1:
            raise _bad(name, value, "a whole number of at least 1")
    return WorkflowOptions(
        policy=retry_policy(retries),
        timeout_us=None if timeout is None else _positive_us(timeout),
        max_entries=max_entries,
        max_ops=max_ops,
        idempotency_key=idempotency_key,
        queue=queue,
        key=key,
        priority=priority,
        triggers=triggers_of(trigger),
    )


def _check_queue(queue: str | Queue | None, key: str | None, priority: int) -> None:
    check_priority(priority)
    if queue is not None and not isinstance(queue, Queue):
        check_queue_name(queue)
    if queue is None and (key is not None or priority):
        option, value = ("key", key) if key is not None else ("priority", priority)
        raise DefinitionError(
            f"{option}={value!r} is given without a queue.",
            why="keys and priorities say who is next on a queue",
            fix='give queue=Queue("emails", …) too, or leave it out',
        )


def _positive_us(timeout: Duration, name: str = "timeout") -> int:
    micros = duration_us(timeout, name)
    if micros == 0:
        raise _bad(name, timeout, "longer than zero; leave it out for no limit")
    return micros


def _delivery(delivery: Delivery) -> Delivery:
    if delivery not in ("at_least_once", "at_most_once"):
        raise _bad("delivery", delivery, '"at_least_once" or "at_most_once"')
    return delivery


def _is_number(value: object) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def _bad(name: str, value: object, wanted: str) -> DefinitionError:
    return DefinitionError(f"{name}={value!r} can't be used.", fix=f"give {wanted}")
