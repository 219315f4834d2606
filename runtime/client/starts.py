"""Many starts at once: every input is looked at before any run begins, then they are started a few a batch.

What is written down once (the options, the validated inputs) is not worked out again by the engine. Knows inputs and
batches. Must not know how a run begins.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any, Final

from perdure.client.bulk import Progress
from perdure.client.given import check_id, checked_tags
from perdure.declare.queues import check_priority
from perdure.durations import Duration, duration_us
from perdure.engine.batch import Batch
from perdure.engine.engine import Engine
from perdure.engine.starting import Start
from perdure.errors import DefinitionError, WorkflowError
from perdure.storage.encoding import Encoded

if TYPE_CHECKING:
    from perdure.client.runtime import Runtime
    from perdure.declare.registry import Definition

#: Runs in one batch: others wait for about so many starts, and the disk is asked to sync once for all of them.
RUNS_PER_BATCH: Final = 250


def start_of(
    definition: Definition,
    value: object,
    *,
    run_id: str | None = None,
    idempotency_key: str | None = None,
    delay: Duration | None = None,
    tags: Mapping[str, str] | None = None,
    queue: str | None = None,
    key: str | None = None,
    priority: int | None = None,
) -> Start:
    """Check what the caller gave beside the input, and say what is to be started."""
    check_id("run_id", run_id)
    check_id("idempotency_key", idempotency_key)
    check_id("queue", queue)
    check_id("key", key)
    if priority is not None:
        check_priority(priority)
    return Start(
        definition,
        value,
        run_id=run_id,
        idempotency_key=idempotency_key,
        delay_us=0 if delay is None else duration_us(delay, "delay"),
        tags=checked_tags(tags),
        queue=queue,
        key=key,
        priority=priority,
    )


class Starts:
    """Starts that differ in their inputs, their run_ids and their idempotency keys.

    Args:
        usual: what they have in common.
        inputs, run_ids, idempotency_keys: one each for every run; ids and keys may be left out.

    Raises:
        DefinitionError: there are not as many of one as of the other, or an id can't be used.
    """

    def __init__(
        self,
        usual: Start,
        inputs: Iterable[object],
        run_ids: Iterable[str | None] | None = None,
        idempotency_keys: Iterable[str | None] | None = None,
    ) -> None:
        self._usual = usual
        self.inputs = _listed("inputs", inputs)
        self._run_ids = self._one_each("run_ids", "run_id", run_ids)
        self._keys = self._one_each("idempotency_keys", "idempotency_key", idempotency_keys)
        self._encoded: list[Encoded] = []

    def __len__(self) -> int:
        return len(self.inputs)

    def _one_each(self, what: str, each: str, given: Iterable[str | None] | None) -> Sequence[str | None] | None:
        if given is None:
            return None
        texts = _listed(what, given)
        if len(texts) != len(self.inputs):
            raise DefinitionError(
                f"{what} has {len(texts):,} for {len(self.inputs):,} inputs.", fix="give one for each input, in order"
            )
        for text in texts:
            check_id(each, text)
        return texts

    def validate(self, start: int, stop: int) -> None:
        """Validate some inputs, which come next in order, and write them down.

        Raises:
            InvalidInput, NotSerializable: one can't be started with; its index is named.
        """
        definition = self._usual.definition
        options = definition.options
        for index in range(start, min(stop, len(self.inputs))):
            value = self.inputs[index]
            try:
                self._encoded.append(definition.encode_input(value))
                if options.key is not None or options.idempotency_key is not None:
                    validated = definition.validated_input(value)
                    definition.run_key(validated)
                    definition.queue_key(validated)
            except WorkflowError as error:
                raise named(error, index) from None

    def wanted(self, start: int, stop: int) -> list[Start]:
        """Say what some of them start; they are validated."""
        return [
            replace(
                self._usual,
                value=self.inputs[index],
                encoded=self._encoded[index],
                run_id=None if self._run_ids is None else self._run_ids[index],
                idempotency_key=None if self._keys is None else self._keys[index],
            )
            for index in range(start, min(stop, len(self.inputs)))
        ]


def _listed(what: str, given: Iterable[Any]) -> list[Any]:
    if isinstance(given, (str, bytes, Mapping)) or not isinstance(given, Iterable):
        raise DefinitionError(
            f"{what}={given!r:.80} is not a list.",
            fix=f"give one for each run, {what}=[…], or start one run by start()",
        )
    return list(given)


def named(error: WorkflowError, index: int) -> WorkflowError:
    """Say which of the inputs an error is about."""
    error.message = f"inputs[{index}]: {error.message}"
    error.args = (error.message,)
    return error.with_traceback(None)


async def start_all(runtime: Runtime, starts: Starts, progress: Progress | None) -> list[str]:
    """Validate all inputs, start their runs, and give their run_ids in order."""
    for start in range(0, len(starts), RUNS_PER_BATCH):
        starts.validate(start, start + RUNS_PER_BATCH)
        await asyncio.sleep(0)  # others on this loop have their turn
    run_ids: list[str] = []
    for start in range(0, len(starts), RUNS_PER_BATCH):
        wanted = starts.wanted(start, start + RUNS_PER_BATCH)
        run_ids += await runtime.ask(partial(start_each, wanted=wanted, first=start))
        if progress is not None:
            progress(len(run_ids), len(starts))
    return run_ids


def start_each(engine: Engine, batch: Batch, wanted: Sequence[Start], first: int = 0) -> list[str]:
    """Start runs in one batch; `first` is the index of the first one's input.

    Raises:
        WorkflowError: of an id that can't be had. What came before it in the batch is started.
    """
    run_ids: list[str] = []
    for each in wanted:
        try:
            run_ids.append(engine.starting.start(each, batch))
        except WorkflowError as error:
            raise named(error, first + len(run_ids)) from None
        engine.families.settle(batch)
    return run_ids
