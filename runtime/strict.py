"""The same names as `perdure`, strict: every finding of the policy is an error, at import, all at once.

from perdure.strict import workflow, step
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import perdure
from perdure.declare.workflow import strict_workflow

if TYPE_CHECKING:
    # One by one, because type checkers take a star import for private.
    from perdure import (  # isort: skip
        BlobDamaged as BlobDamaged,
        BlobInfo as BlobInfo,
        BlockingRunEvents as BlockingRunEvents,
        BlockingRunHandle as BlockingRunHandle,
        BlockingRunStream as BlockingRunStream,
        BlockingRuntime as BlockingRuntime,
        BudgetExceeded as BudgetExceeded,
        ChildCancelled as ChildCancelled,
        ChildFailed as ChildFailed,
        Chunk as Chunk,
        CodeName as CodeName,
        Collection as Collection,
        Context as Context,
        CurrentStep as CurrentStep,
        Database as Database,
        DbChange as DbChange,
        DeadLetter as DeadLetter,
        DefinitionError as DefinitionError,
        DeterminismWarning as DeterminismWarning,
        Divergence as Divergence,
        DuplicateDocument as DuplicateDocument,
        DuplicateStepName as DuplicateStepName,
        Event as Event,
        EventReceipt as EventReceipt,
        FatalError as FatalError,
        FsspecStorage as FsspecStorage,
        HistoryEntry as HistoryEntry,
        Hook as Hook,
        HookRefused as HookRefused,
        InternalError as InternalError,
        InvalidInput as InvalidInput,
        KvChange as KvChange,
        LedgerCorrupt as LedgerCorrupt,
        LedgerError as LedgerError,
        LedgerFull as LedgerFull,
        LedgerLocked as LedgerLocked,
        LedgerReadOnly as LedgerReadOnly,
        LedgerTooNew as LedgerTooNew,
        MemoryLedger as MemoryLedger,
        Message as Message,
        MessageLost as MessageLost,
        NeverAwaited as NeverAwaited,
        NotSerializable as NotSerializable,
        PerdureError as PerdureError,
        PolicyViolation as PolicyViolation,
        PostgresDatabase as PostgresDatabase,
        Queue as Queue,
        QueueStatus as QueueStatus,
        Rate as Rate,
        ReceivedEvent as ReceivedEvent,
        RedisKv as RedisKv,
        RedisQueue as RedisQueue,
        RetryPolicy as RetryPolicy,
        RetryableError as RetryableError,
        RunCancelled as RunCancelled,
        RunEvent as RunEvent,
        RunEvents as RunEvents,
        RunFailed as RunFailed,
        RunHandle as RunHandle,
        RunState as RunState,
        RunStatus as RunStatus,
        RunStream as RunStream,
        RunTimeout as RunTimeout,
        Runtime as Runtime,
        SandboxViolation as SandboxViolation,
        Schedule as Schedule,
        ScheduleStatus as ScheduleStatus,
        ScheduledInput as ScheduledInput,
        ServiceFailed as ServiceFailed,
        SignalRefused as SignalRefused,
        StepContext as StepContext,
        StepFailed as StepFailed,
        StepInterrupted as StepInterrupted,
        StepTimeout as StepTimeout,
        Stream as Stream,
        UnknownBlob as UnknownBlob,
        UnknownRun as UnknownRun,
        UnknownWorkflow as UnknownWorkflow,
        UpdateResult as UpdateResult,
        Upgrade as Upgrade,
        ValueTooLarge as ValueTooLarge,
        ValueUnreadable as ValueUnreadable,
        Verdict as Verdict,
        WorkflowError as WorkflowError,
        WriteConflict as WriteConflict,
        allow as allow,
        current_step as current_step,
        on_db_change as on_db_change,
        on_event as on_event,
        on_kv_change as on_kv_change,
        step as step,
    )

workflow = strict_workflow

__all__ = [name for name in perdure.__all__ if not name.startswith("_")]


if not TYPE_CHECKING:  # a checker that saw it would take a misspelt name for Any

    def __getattr__(name: str) -> Any:
        if name.startswith("__") or name not in __all__:
            raise AttributeError(f"module 'perdure.strict' has no attribute {name!r}")
        return getattr(perdure, name)
