"""Perdure: durable workflows whose determinism is enforced, with a ledger in DuckDB and a replay verifier.

The public names are resolved on first use, so that importing a leaf such as `perdure.errors` does not import the
engine, and `import perdure` stays quick. `perdure.strict` has the same names; there every finding is an error.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from perdure.version import __version__

if TYPE_CHECKING:
    from perdure.client.blocking import BlockingRunHandle as BlockingRunHandle
    from perdure.client.blocking import BlockingRuntime as BlockingRuntime
    from perdure.client.events import BlockingRunEvents as BlockingRunEvents
    from perdure.client.events import RunEvent as RunEvent
    from perdure.client.events import RunEvents as RunEvents
    from perdure.client.handle import RunHandle as RunHandle
    from perdure.client.runtime import Runtime as Runtime
    from perdure.client.status import HistoryEntry as HistoryEntry
    from perdure.client.status import RunStatus as RunStatus
    from perdure.client.streams import BlockingRunStream as BlockingRunStream
    from perdure.client.streams import Chunk as Chunk
    from perdure.client.streams import RunStream as RunStream
    from perdure.client.triggering import ScheduleStatus as ScheduleStatus
    from perdure.core.context import Context as Context
    from perdure.core.hook import Hook as Hook
    from perdure.core.state import RunState as RunState
    from perdure.core.step import StepContext as StepContext
    from perdure.core.stream import Stream as Stream
    from perdure.declare.options import RetryPolicy as RetryPolicy
    from perdure.declare.queues import Queue as Queue
    from perdure.declare.queues import Rate as Rate
    from perdure.declare.reactions import on_db_change as on_db_change
    from perdure.declare.reactions import on_event as on_event
    from perdure.declare.reactions import on_kv_change as on_kv_change
    from perdure.declare.step import step as step
    from perdure.declare.workflow import workflow as workflow
    from perdure.engine.current_step import CurrentStep as CurrentStep
    from perdure.engine.current_step import current_step as current_step
    from perdure.engine.queues import QueueStatus as QueueStatus
    from perdure.engine.reactions import EventReceipt as EventReceipt
    from perdure.errors import (
        BlobDamaged as BlobDamaged,
    )
    from perdure.errors import (
        BudgetExceeded as BudgetExceeded,
    )
    from perdure.errors import (
        ChildCancelled as ChildCancelled,
    )
    from perdure.errors import (
        ChildFailed as ChildFailed,
    )
    from perdure.errors import (
        DefinitionError as DefinitionError,
    )
    from perdure.errors import (
        DeterminismWarning as DeterminismWarning,
    )
    from perdure.errors import (
        Divergence as Divergence,
    )
    from perdure.errors import (
        DuplicateDocument as DuplicateDocument,
    )
    from perdure.errors import (
        DuplicateStepName as DuplicateStepName,
    )
    from perdure.errors import (
        FatalError as FatalError,
    )
    from perdure.errors import (
        HookRefused as HookRefused,
    )
    from perdure.errors import (
        InternalError as InternalError,
    )
    from perdure.errors import (
        InvalidInput as InvalidInput,
    )
    from perdure.errors import (
        LedgerCorrupt as LedgerCorrupt,
    )
    from perdure.errors import (
        LedgerError as LedgerError,
    )
    from perdure.errors import (
        LedgerFull as LedgerFull,
    )
    from perdure.errors import (
        LedgerLocked as LedgerLocked,
    )
    from perdure.errors import (
        LedgerReadOnly as LedgerReadOnly,
    )
    from perdure.errors import (
        LedgerTooNew as LedgerTooNew,
    )
    from perdure.errors import (
        MessageLost as MessageLost,
    )
    from perdure.errors import (
        NeverAwaited as NeverAwaited,
    )
    from perdure.errors import (
        NotSerializable as NotSerializable,
    )
    from perdure.errors import (
        PerdureError as PerdureError,
    )
    from perdure.errors import (
        PolicyViolation as PolicyViolation,
    )
    from perdure.errors import (
        RetryableError as RetryableError,
    )
    from perdure.errors import (
        RunCancelled as RunCancelled,
    )
    from perdure.errors import (
        RunFailed as RunFailed,
    )
    from perdure.errors import (
        RunTimeout as RunTimeout,
    )
    from perdure.errors import (
        SandboxViolation as SandboxViolation,
    )
    from perdure.errors import (
        ServiceFailed as ServiceFailed,
    )
    from perdure.errors import (
        SignalRefused as SignalRefused,
    )
    from perdure.errors import (
        StepFailed as StepFailed,
    )
    from perdure.errors import (
        StepInterrupted as StepInterrupted,
    )
    from perdure.errors import (
        StepTimeout as StepTimeout,
    )
    from perdure.errors import (
        UnknownBlob as UnknownBlob,
    )
    from perdure.errors import (
        UnknownRun as UnknownRun,
    )
    from perdure.errors import (
        UnknownWorkflow as UnknownWorkflow,
    )
    from perdure.errors import (
        ValueTooLarge as ValueTooLarge,
    )
    from perdure.errors import (
        ValueUnreadable as ValueUnreadable,
    )
    from perdure.errors import (
        WorkflowError as WorkflowError,
    )
    from perdure.errors import (
        WriteConflict as WriteConflict,
    )
    from perdure.replay.check import Verdict as Verdict
    from perdure.replay.upgrade import CodeName as CodeName
    from perdure.replay.upgrade import Upgrade as Upgrade
    from perdure.sandbox import allow as allow
    from perdure.services.blobs import BlobInfo as BlobInfo
    from perdure.services.database import Collection as Collection
    from perdure.services.database import Database as Database
    from perdure.services.database import UpdateResult as UpdateResult
    from perdure.services.fsspec_storage import FsspecStorage as FsspecStorage
    from perdure.services.message import DeadLetter as DeadLetter
    from perdure.services.message import Message as Message
    from perdure.services.postgres import PostgresDatabase as PostgresDatabase
    from perdure.services.redis import RedisKv as RedisKv
    from perdure.services.redis import RedisQueue as RedisQueue
    from perdure.storage.memory_ledger import MemoryLedger as MemoryLedger
    from perdure.triggers.changes import DbChange as DbChange
    from perdure.triggers.changes import KvChange as KvChange
    from perdure.triggers.event import Event as Event
    from perdure.triggers.event import ReceivedEvent as ReceivedEvent
    from perdure.triggers.schedule import Schedule as Schedule
    from perdure.triggers.schedule import ScheduledInput as ScheduledInput

_ERRORS = (
    "BlobDamaged", "BudgetExceeded", "ChildCancelled", "ChildFailed", "DefinitionError", "DeterminismWarning",
    "Divergence", "DuplicateDocument", "DuplicateStepName", "FatalError", "HookRefused", "InternalError",
    "InvalidInput", "LedgerCorrupt", "LedgerError", "LedgerFull", "LedgerLocked", "LedgerReadOnly", "LedgerTooNew",
    "MessageLost", "NeverAwaited", "NotSerializable", "PerdureError", "PolicyViolation", "RetryableError",
    "RunCancelled", "RunFailed", "RunTimeout", "SandboxViolation", "ServiceFailed", "SignalRefused", "StepFailed",
    "StepInterrupted", "StepTimeout", "UnknownBlob", "UnknownRun", "UnknownWorkflow", "ValueTooLarge",
    "ValueUnreadable", "WorkflowError", "WriteConflict",
)  # fmt: skip

_HOMES = {
    "BlockingRunHandle": "perdure.client.blocking",
    "BlockingRuntime": "perdure.client.blocking",
    "BlockingRunEvents": "perdure.client.events",
    "RunEvent": "perdure.client.events",
    "RunEvents": "perdure.client.events",
    "RunHandle": "perdure.client.handle",
    "Runtime": "perdure.client.runtime",
    "HistoryEntry": "perdure.client.status",
    "RunStatus": "perdure.client.status",
    "BlockingRunStream": "perdure.client.streams",
    "Chunk": "perdure.client.streams",
    "RunStream": "perdure.client.streams",
    "ScheduleStatus": "perdure.client.triggering",
    "Context": "perdure.core.context",
    "Hook": "perdure.core.hook",
    "RunState": "perdure.core.state",
    "StepContext": "perdure.core.step",
    "Stream": "perdure.core.stream",
    "RetryPolicy": "perdure.declare.options",
    "Queue": "perdure.declare.queues",
    "Rate": "perdure.declare.queues",
    "QueueStatus": "perdure.engine.queues",
    "EventReceipt": "perdure.engine.reactions",
    "on_db_change": "perdure.declare.reactions",
    "on_event": "perdure.declare.reactions",
    "on_kv_change": "perdure.declare.reactions",
    "step": "perdure.declare.step",
    "workflow": "perdure.declare.workflow",
    "CurrentStep": "perdure.engine.current_step",
    "current_step": "perdure.engine.current_step",
    "Verdict": "perdure.replay.check",
    "CodeName": "perdure.replay.upgrade",
    "Upgrade": "perdure.replay.upgrade",
    "allow": "perdure.sandbox",
    "BlobInfo": "perdure.services.blobs",
    "Collection": "perdure.services.database",
    "Database": "perdure.services.database",
    "UpdateResult": "perdure.services.database",
    "FsspecStorage": "perdure.services.fsspec_storage",
    "DeadLetter": "perdure.services.message",
    "Message": "perdure.services.message",
    "PostgresDatabase": "perdure.services.postgres",
    "RedisKv": "perdure.services.redis",
    "RedisQueue": "perdure.services.redis",
    "MemoryLedger": "perdure.storage.memory_ledger",
    "DbChange": "perdure.triggers.changes",
    "KvChange": "perdure.triggers.changes",
    "Event": "perdure.triggers.event",
    "ReceivedEvent": "perdure.triggers.event",
    "Schedule": "perdure.triggers.schedule",
    "ScheduledInput": "perdure.triggers.schedule",
    **dict.fromkeys(_ERRORS, "perdure.errors"),
}

__all__ = [*sorted(_HOMES), "__version__"]  # every one of them is a text


if not TYPE_CHECKING:  # a checker that saw it would take a misspelt name for Any

    def __getattr__(name: str) -> Any:
        home = _HOMES.get(name)
        if home is None:
            raise AttributeError(f"module 'perdure' has no attribute {name!r}")
        value = getattr(importlib.import_module(home), name)
        globals()[name] = value
        return value


def __dir__() -> list[str]:
    return sorted({*globals(), *_HOMES})
