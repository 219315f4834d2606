"""The documented views: what `sql()` and people with a DuckDB shell see. Stable; columns are only ever added.

All times are TIMESTAMP in UTC. VARIANT columns take a path: `SELECT result.amount FROM steps WHERE name = 'charge'`.

runs         one row per run
    run_id, workflow, version, status, attempt, created_at, updated_at, finished_at, error, tags (MAP), idempotency_key,
    parent_run_id, waiting_until (when the clock next moves it), timeout_at, cancel_requested, entries (how many),
    definition (digest), run (its number, in order of creation), verdict (of its newest verification: whether it
    replayed), forked_from (run_id of the run that it was forked from), continued_as (run_id of its successor),
    continued_from (run_id of the run that it continues), queue, queue_key, priority (within the queue), began_at
steps        one row per step that a run asked for, in each attempt of the run
    run_id, workflow, name, command (identity), status (running, retrying, completed, failed, dropped; abandoned when
    the run ended or started over without it), attempts, scheduled_at, completed_at (also of a failure), arguments
    (VARIANT), result (VARIANT), error (VARIANT: type, message, traceback), run, position (of the step's entry)
entries      one row per entry
    run_id, position, kind, at, command, name, attempt, due, value (VARIANT: the body), body (JSON text, exact), shape,
    detail (JSON text), digest (hexadecimal), run
events       one row per event that a run received
    run_id, workflow, name (of the wait), type, payload (VARIANT), received_at, run, position
verdicts     one row per verification of a run that has ended
    run_id, workflow, version, ok (whether it replayed), cause, message, report (of its divergence, else NULL),
    definition (digest that it was replayed against), python, perdure (versions that replayed it), verified_at,
    diverged_at (position of the entry where it diverged), run, position (of the verdict's own entry)
messages     one row per signal, and per payload of a hook, that a run received
    run_id, workflow, kind (signal or hook), name (the signal's, or the token), payload (VARIANT), received_at, run,
    position
emitted      one row per event that a run emitted
    run_id, workflow, type, payload (VARIANT), emitted_at, run, position
streams      one row per chunk that steps wrote
    run_id, workflow, namespace, offset (0, 1, 2, … within run and namespace), chunk (VARIANT), command, attempt (of
    the step that wrote it), written_at, run, position
triggered    one row per run that a schedule, an event or a change started
    run_id, workflow, version, status, error, kind (schedule, event or change), source (the schedule's id, the event's
    type, or what changed), tick (of a schedule), cause (JSON text: all of it), input (VARIANT), started_at, run
definitions  one row per definition
    digest, workflow, version, python, source (JSON text), registered_at

cells        one row per cell, which changes: what services and schedules keep; expired ones until they are forgotten
    space (such as kv/default), key, value (VARIANT: the body), version, written_at, due, expires_at, body (JSON text,
    exact), shape, data (BLOB)
kv           one row per value that has not expired
    namespace, key, value (VARIANT), version, written_at, expires_at
documents    one row per document
    collection, id, document (VARIANT), version, written_at
blobs        one row per blob
    bucket, name, size (bytes), content_type, metadata (JSON text), sha256, created_at, updated_at, version
queued       one row per message on a queue, in sight or not, that has not expired
    queue, id, message (VARIANT), visible_at, deliveries (so far), sent_at, expires_at, version
dead_letters one row per message that a queue gave up
    queue, id, message (VARIANT), reason, deliveries, sent_at, died_at, version
schedules    one row per schedule that has come into force
    id, cron, timezone, next_at, paused, last_at, last_run_id (both of the newest tick that started a run), done_until

`value`, `document`, `message`, `arguments`, `result` and `payload` are for queries: VARIANT sorts keys and turns
integers beyond 128 bits into doubles, and is NULL for what it can't hold. `body` is exact.
"""

from __future__ import annotations

from typing import Final

#: What is pending of the step `s`, as the list in `runs.pending` (see tables.py), or NULL.
_PENDING: Final = (
    """list_filter(CAST(CAST(r.pending AS JSON) AS JSON[]), lambda p: (p ->> 3)::INTEGER = s."position")[1]"""
)


#: What is known of a message beside its payload: JSON in the bytes of its cell. What is no text is replaced, because
#: DuckDB decodes once for all columns, outside of their TRY.
_FACTS: Final = """
    TRY((decode(data, 'replace') ->> '$.deliveries')::INTEGER) AS deliveries,
    TRY(make_timestamp((decode(data, 'replace') ->> '$.sent_at')::BIGINT)) AS sent_at
"""


def _of(prefix: str) -> str:
    """The condition on cells of the spaces that begin so, but for those that expired by the database's clock."""
    return f"starts_with(space, '{prefix}') AND (expires_us IS NULL OR expires_us > epoch_us(now()))"


def _after(prefix: str) -> str:
    """The rest of a space's name, which a user chose."""
    return f"space[{len(prefix) + 1}:]"


VIEWS: Final = {
    "runs": """
        SELECT run_id, workflow, version, status, attempt, make_timestamp(created_us) AS created_at,
            make_timestamp(updated_us) AS updated_at, make_timestamp(finished_us) AS finished_at, error, tags,
            idempotency_key, parent_run_id, make_timestamp(next_due_us) AS waiting_until,
            make_timestamp(timeout_us) AS timeout_at, cancel_requested, length AS entries, definition, run,
            verdict, forked_from, continued_as, continued_from, queue, queue_key, priority,
            make_timestamp(began_us) AS began_at
        FROM _ledger.runs
    """,
    "steps": f"""
        SELECT r.run_id, r.workflow, s.name, s.command,
            CASE a.kind WHEN 'step_completed' THEN 'completed' WHEN 'step_failed' THEN 'failed' WHEN 'dropped' THEN
                'dropped' ELSE CASE {_PENDING} ->> 6 WHEN 'true' THEN 'retrying' WHEN 'false' THEN 'running'
                ELSE 'abandoned' END END AS status,
            CASE WHEN a.attempt > 0 THEN a.attempt ELSE coalesce(({_PENDING} ->> 5)::INTEGER, 1) END AS attempts,
            make_timestamp(s.at_us) AS scheduled_at, make_timestamp(a.at_us) AS completed_at, s.value AS arguments,
            CASE WHEN a.kind = 'step_completed' THEN a.value END AS result,
            CASE WHEN a.kind = 'step_failed' THEN a.value END AS error, s.run, s."position"
        FROM (FROM _ledger.entries WHERE kind = 'step') AS s
        JOIN _ledger.runs AS r ON r.run = s.run
        LEFT JOIN (FROM _ledger.entries WHERE kind IN ('step_completed', 'step_failed', 'dropped')) AS a
            ON a.run = s.run AND a.asked = s."position"
    """,
    "entries": """
        SELECT r.run_id, e."position", e.kind, make_timestamp(e.at_us) AS "at", e.command, e.name, e.attempt,
            make_timestamp(e.due_us) AS due, e.value, e.body, e.shape, e.detail, lower(hex(e.digest)) AS digest, e.run
        FROM _ledger.entries AS e JOIN _ledger.runs AS r ON r.run = e.run
    """,
    "events": """
        SELECT r.run_id, r.workflow, w.name, w.detail ->> '$.type' AS "type", e.value AS payload,
            make_timestamp(e.at_us) AS received_at, e.run, e."position"
        FROM (FROM _ledger.entries WHERE kind = 'event_received') AS e
        JOIN _ledger.runs AS r ON r.run = e.run
        LEFT JOIN (FROM _ledger.entries WHERE kind = 'wait_event') AS w ON w.run = e.run AND w."position" = e.asked
    """,
    "verdicts": """
        SELECT r.run_id, r.workflow, r.version, (e.detail ->> '$.ok')::BOOLEAN AS ok, e.detail ->> '$.cause' AS cause,
            e.detail ->> '$.message' AS message, e.detail ->> '$.report' AS report,
            e.detail ->> '$.definition' AS definition, e.detail ->> '$.python' AS python,
            e.detail ->> '$.perdure' AS perdure, make_timestamp(e.at_us) AS verified_at,
            (e.detail ->> '$.position')::INTEGER AS diverged_at, e.run, e."position"
        FROM (FROM _ledger.entries WHERE kind = 'verified') AS e
        JOIN _ledger.runs AS r ON r.run = e.run
    """,
    "messages": """
        SELECT r.run_id, r.workflow, CASE e.kind WHEN 'signal_received' THEN 'signal' ELSE 'hook' END AS kind, e.name,
            e.value AS payload, make_timestamp(e.at_us) AS received_at, e.run, e."position"
        FROM (FROM _ledger.entries WHERE kind IN ('signal_received', 'hook_received')) AS e
        JOIN _ledger.runs AS r ON r.run = e.run
    """,
    "emitted": """
        SELECT r.run_id, r.workflow, e.name AS "type", e.value AS payload, make_timestamp(e.at_us) AS emitted_at, e.run,
            e."position"
        FROM (FROM _ledger.entries WHERE kind = 'emit') AS e
        JOIN _ledger.runs AS r ON r.run = e.run
    """,
    "streams": """
        SELECT r.run_id, r.workflow, e.name AS namespace, (e.detail ->> '$.offset')::BIGINT AS "offset",
            e.value AS chunk, e.command, e.attempt, make_timestamp(e.at_us) AS written_at, e.run, e."position"
        FROM (FROM _ledger.entries WHERE kind = 'stream_written') AS e
        JOIN _ledger.runs AS r ON r.run = e.run
    """,
    "triggered": """
        SELECT r.run_id, r.workflow, r.version, r.status, r.error, e.detail ->> '$.cause.kind' AS kind,
            coalesce(e.detail ->> '$.cause.schedule', e.detail ->> '$.cause.type',
                concat_ws(' ', e.detail ->> '$.cause.service', e.detail ->> '$.cause.op',
                    concat(e.detail ->> '$.cause.place', '/', e.detail ->> '$.cause.key'))) AS source,
            make_timestamp((e.detail ->> '$.cause.tick')::BIGINT) AS tick, e.detail ->> '$.cause' AS cause,
            e.value AS input, make_timestamp(e.at_us) AS started_at, e.run
        FROM (FROM _ledger.entries WHERE kind = 'created' AND contains(detail, '"cause"')) AS e
        JOIN _ledger.runs AS r ON r.run = e.run
        WHERE e.detail ->> '$.cause.kind' IS NOT NULL
    """,
    "definitions": """
        SELECT digest, workflow, version, python, source, make_timestamp(at_us) AS registered_at
        FROM _ledger.definitions
    """,
    "cells": """
        SELECT space, "key", value, version, make_timestamp(at_us) AS written_at, make_timestamp(due_us) AS due,
            make_timestamp(expires_us) AS expires_at, body, shape, data
        FROM _ledger.cells
    """,
    "kv": f"""
        SELECT {_after("kv/")} AS namespace, "key", value, version, make_timestamp(at_us) AS written_at,
            make_timestamp(expires_us) AS expires_at
        FROM _ledger.cells WHERE {_of("kv/")}
    """,
    "documents": f"""
        SELECT {_after("db/")} AS collection, "key" AS id, value AS document, version,
            make_timestamp(at_us) AS written_at
        FROM _ledger.cells WHERE {_of("db/")}
    """,
    "blobs": f"""
        SELECT {_after("blob/")} AS bucket, "key" AS name, (body ->> '$.size')::BIGINT AS size,
            body ->> '$.content_type' AS content_type, body ->> '$.metadata' AS metadata, body ->> '$.sha256' AS sha256,
            make_timestamp((body ->> '$.created_at')::BIGINT) AS created_at,
            make_timestamp((body ->> '$.updated_at')::BIGINT) AS updated_at, version
        FROM _ledger.cells WHERE {_of("blob/")}
    """,
    "queued": f"""
        SELECT {_after("queue/")} AS queue, "key" AS id, value AS message, make_timestamp(due_us) AS visible_at,
            {_FACTS}, make_timestamp(expires_us) AS expires_at, version
        FROM _ledger.cells WHERE {_of("queue/")}
    """,
    "dead_letters": f"""
        SELECT {_after("queue.dead/")} AS queue, "key" AS id, value AS message,
            TRY(decode(data, 'replace') ->> '$.reason') AS reason, {_FACTS}, make_timestamp(at_us) AS died_at, version
        FROM _ledger.cells WHERE {_of("queue.dead/")}
    """,
    "schedules": f"""
        SELECT "key" AS id, body ->> '$.cron' AS cron, body ->> '$.timezone' AS timezone,
            make_timestamp(due_us) AS next_at, (body ->> '$.paused')::BOOLEAN AS paused,
            make_timestamp((body ->> '$.last_tick')::BIGINT) AS last_at, body ->> '$.last_run_id' AS last_run_id,
            make_timestamp((body ->> '$.done_until')::BIGINT) AS done_until
        FROM _ledger.cells WHERE {_of("schedule/")}
    """,
}
