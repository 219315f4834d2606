"""A run's row follows from its entries: status, what is pending, times, error."""

from __future__ import annotations

import json

import pytest
from ledger_histories import FAILURE, created, verdict

from perdure.errors import InternalError
from perdure.storage import entries as kinds
from perdure.storage.entries import KINDS, Entry
from perdure.storage.fold import _FOLDS, copied, fold, fold_all
from perdure.storage.ledger import HOOK_TYPE, RunRow
from perdure.storage.resumption import resumption
from perdure.storage.waits import waits_of


def history(*steps: tuple[str, dict[str, object]], due: int | None = None, **facts: object) -> list[Entry]:
    """CREATED, and then these kinds one microsecond apart."""
    entries = [created(1, 100, due=due, **facts)]
    for position, (kind, fields) in enumerate(steps, 1):
        if "detail" in fields:
            fields = {**fields, "detail": json.dumps(fields["detail"])}
        entries.append(Entry(1, position, kind, 100 + position, **fields))  # type: ignore[arg-type]
    return entries


def row(*steps: tuple[str, dict[str, object]], **facts: object) -> RunRow:
    return fold_all(None, history(*steps, **facts))  # type: ignore[arg-type]


STEP = (kinds.STEP, {"command": "0/0", "name": "charge", "attempt": 1})
SLEEP = (kinds.SLEEP, {"command": "0/1", "due": 500})
WAIT = (kinds.WAIT_EVENT, {"command": "0/2", "due": 900, "detail": {"type": "paid", "match": {"b": 1.0, "a": True}}})
CHILD = (kinds.CHILD, {"command": "0/3", "detail": {"run_id": "c1", "mode": "invoke"}})
RETRY = (kinds.STEP_RETRYING, {"command": "0/0", "attempt": 1, "due": 300, "body": FAILURE})
GO = (kinds.WAIT_SIGNAL, {"command": "0/4", "name": "go", "due": 600})
HOOK = (kinds.HOOK, {"command": "0/5", "detail": {"token": "t1"}})
TAKE = (kinds.WAIT_HOOK, {"command": "0/6", "detail": {"hook": "0/5", "once": True}})
PAYLOAD = (kinds.HOOK_RECEIVED, {"command": "0/5", "name": "t1"})
AGAIN = (kinds.STEP_STARTED, {"command": "0/0", "attempt": 2})


def answer(kind: str, command: str) -> tuple[str, dict[str, object]]:
    return kind, {"command": command}


def test_every_kind_but_created_has_its_fold() -> None:
    assert set(_FOLDS) == KINDS - {kinds.CREATED}


@pytest.mark.parametrize(
    ("steps", "status"),
    [
        ([], "running"),
        ([STEP], "running"),
        ([SLEEP], "sleeping"),
        ([SLEEP, STEP], "running"),
        ([SLEEP, WAIT], "waiting_event"),
        ([WAIT, STEP], "running"),
        ([WAIT, CHILD], "running"),
        ([STEP, RETRY], "awaiting_retry"),
        ([STEP, RETRY, SLEEP], "awaiting_retry"),
        ([STEP, RETRY, WAIT], "waiting_event"),
        ([STEP, RETRY, AGAIN], "running"),
        ([STEP, SLEEP, answer(kinds.STEP_COMPLETED, "0/0")], "sleeping"),
        ([STEP, SLEEP, answer(kinds.DROPPED, "0/0")], "sleeping"),
        ([CHILD, answer(kinds.CHILD_STARTED, "0/3"), SLEEP], "sleeping"),
        ([SLEEP, (kinds.DIVERGED, {"detail": {"message": "no\nmore"}})], "diverged"),
        ([SLEEP, (kinds.DIVERGED, {}), answer(kinds.TIMER_FIRED, "0/1")], "diverged"),
        ([SLEEP, (kinds.DIVERGED, {}), (kinds.RECOVERED, {})], "sleeping"),
        ([STEP, (kinds.RETRYING, {"due": 400, "body": FAILURE})], "awaiting_retry"),
        ([STEP, (kinds.RETRYING, {"due": 400, "body": FAILURE}), (kinds.RESTARTED, {"attempt": 2})], "running"),
        ([STEP, (kinds.COMPLETED, {"body": "1"})], "completed"),
        ([(kinds.CONTINUED, {"body": "1", "detail": {"run_id": "r1+2"}})], "completed"),
        ([GO], "waiting_event"),
        ([(kinds.SIGNAL_RECEIVED, {"name": "go"}), GO], "running"),
        ([HOOK], "running"),
        ([HOOK, SLEEP], "sleeping"),
        ([HOOK, TAKE], "waiting_event"),
        ([SLEEP, (kinds.WAIT_UNTIL, {"command": "0/6"})], "waiting_event"),
        ([SLEEP, (kinds.EMIT, {"command": "0/6"}), (kinds.PATCHED, {"command": "patched/x"})], "sleeping"),
        ([(kinds.FAILED, {"body": FAILURE})], "failed"),
        ([(kinds.CANCEL_REQUESTED, {"name": "cancel"}), (kinds.CANCELLED, {})], "cancelled"),
    ],
)  # fmt: skip
def test_the_status_follows_from_what_is_pending(steps: list[tuple[str, dict[str, object]]], status: str) -> None:
    assert row(*steps).status == status


def test_a_queued_run_waits_for_its_time_and_begins() -> None:
    queued = row(due=700)
    assert (queued.status, queued.next_due) == ("queued", 700)
    began = row((kinds.BEGAN, {}), due=700)
    assert (began.status, began.next_due) == ("running", None)


def test_pending_commands_say_what_they_wait_for() -> None:
    pending = row(STEP, SLEEP, WAIT, CHILD).pending
    assert pending["0/0"].attempt == 1
    assert pending["0/0"].due is None
    assert pending["0/1"].due == 500
    assert (pending["0/2"].event_type, pending["0/2"].match) == ("paid", '{"a":true,"b":1}')
    assert pending["0/3"].child_run_id == "c1"
    assert [each.position for each in pending.values()] == [1, 2, 3, 4]


def test_a_step_between_attempts_waits_for_the_next_one() -> None:
    step = row(STEP, RETRY).pending["0/0"]
    assert (step.attempt, step.retrying, step.due) == (2, True, 300)
    step = row(STEP, RETRY, AGAIN).pending["0/0"]
    assert (step.attempt, step.retrying, step.due) == (2, False, None)


def test_the_earliest_of_timers_retries_and_the_deadline_is_due_next() -> None:
    assert row(SLEEP, WAIT).next_due == 500
    assert row(SLEEP, STEP, RETRY).next_due == 300
    assert row(SLEEP, timeout_at=200).next_due == 200
    assert row((kinds.STEP, {"command": "0/0", "due": 5})).next_due is None


def test_a_deadline_that_asked_for_cancellation_is_not_due_again() -> None:
    assert row((kinds.CANCEL_REQUESTED, {"name": "timeout"}), timeout_at=100).next_due is None
    assert row((kinds.CANCEL_REQUESTED, {"name": "timeout"}), SLEEP, timeout_at=100).next_due == 500


def test_nothing_is_due_of_ended_and_diverged_runs() -> None:
    assert row(SLEEP, (kinds.DIVERGED, {}), timeout_at=200).next_due is None
    assert row(SLEEP, (kinds.COMPLETED, {"body": "1"}), timeout_at=200).next_due is None


def test_the_error_is_the_first_line_of_the_latest_failure() -> None:
    assert row((kinds.FAILED, {"body": FAILURE})).error == "ValueError: no"
    assert row((kinds.RETRYING, {"body": FAILURE, "due": 1})).error == "ValueError: no"
    assert row((kinds.RETRYING, {"body": FAILURE, "due": 1}), (kinds.RESTARTED, {"attempt": 2})).error is None
    assert row((kinds.DIVERGED, {"detail": {"message": "step 7 asked\nfor"}})).error == "step 7 asked"


@pytest.mark.parametrize("ending", [kinds.RETRYING, kinds.COMPLETED, kinds.FAILED, kinds.CANCELLED, kinds.RESTARTED])
def test_nothing_is_pending_once_an_attempt_is_over(ending: str) -> None:
    assert row(STEP, SLEEP, WAIT, (ending, {"body": FAILURE, "due": 400})).pending == {}


def test_a_run_that_ended_can_be_restarted() -> None:
    again = row(
        SLEEP,
        (kinds.CANCEL_REQUESTED, {"name": "cancel"}),
        (kinds.CANCELLED, {}),
        (kinds.RESTARTED, {"attempt": 2, "detail": {"timeout_at": 9000}}),
        timeout_at=200,
    )
    assert (again.status, again.attempt, again.finished_at, again.cancel_requested) == ("running", 2, None, False)
    assert again.timeout_at == 9000


def test_a_verdict_after_the_end_changes_neither_status_nor_end() -> None:
    ended = history((kinds.FAILED, {"body": FAILURE}))
    before = fold_all(None, ended)
    noted = Entry(1, 2, kinds.VERIFIED, 5000, detail=verdict(True))
    after = fold_all(None, [*ended, noted])
    assert (after.status, after.error, after.finished_at) == (before.status, before.error, before.finished_at)
    assert (before.verdict, after.verdict) == (None, True)
    assert fold(copied(after), Entry(1, 3, kinds.VERIFIED, 5001, detail=verdict(False))).verdict is False
    assert fold(after, Entry(1, 3, kinds.RESTARTED, 6000, attempt=2)).verdict is None


def test_an_open_run_gets_no_verdict() -> None:
    with pytest.raises(InternalError, match="verified"):
        row(STEP, (kinds.VERIFIED, {"detail": {"ok": True}}))


def test_times_length_and_facts_are_kept() -> None:
    done = row(STEP, (kinds.COMPLETED, {"body": "1"}), tags={"a": "b"}, parent_run_id="p", idempotency_key="k")
    assert (done.created_at, done.updated_at, done.finished_at, done.length) == (100, 102, 102, 3)
    assert (done.tags, done.parent_run_id, done.idempotency_key) == ({"a": "b"}, "p", "k")


def test_folding_one_by_one_gives_what_folding_all_gives() -> None:
    entries = history(STEP, SLEEP, RETRY, AGAIN, WAIT, answer(kinds.STEP_COMPLETED, "0/0"))
    one_by_one = None
    for entry in entries:
        one_by_one = fold(one_by_one, entry)
    assert one_by_one == fold_all(None, entries)


def test_folding_into_a_copy_leaves_the_original_alone() -> None:
    entries = history(STEP, SLEEP, RETRY)
    original = fold_all(None, entries[:3])
    before = repr(original)
    fold_all(copied(original), entries[3:])
    assert repr(original) == before


@pytest.mark.parametrize(
    "wrong",
    [
        Entry(1, 5, kinds.STEP, 200, "0/1"),
        Entry(1, 1, kinds.STEP, 200, "0/1"),
        Entry(2, 2, kinds.STEP, 200, "0/1"),
        Entry(1, 2, kinds.CREATED, 200),
        Entry(1, 2, "stepp", 200),
        Entry(1, 2, kinds.STEP, 50),
        Entry(1, 2, kinds.WAIT_EVENT, 200, "0/1", detail="{}"),
        Entry(1, 2, kinds.WAIT_EVENT, 200, "0/1", detail="[]"),
        Entry(1, 2, kinds.CHILD, 200, "0/1", detail="{"),
    ],
)
def test_an_entry_that_does_not_continue_the_run_is_our_bug(wrong: Entry) -> None:
    with pytest.raises(InternalError, match="does not fit the ledger"):
        fold(fold_all(None, history(STEP)), wrong)


def test_a_run_must_begin_with_created() -> None:
    with pytest.raises(InternalError, match="does not fit"):
        fold(None, Entry(1, 0, kinds.STEP, 1))


def test_a_signal_answers_the_earliest_wait_for_it_and_others_are_kept() -> None:
    signal = (kinds.SIGNAL_RECEIVED, {"name": "go"})
    other = (kinds.WAIT_SIGNAL, {"command": "1/0", "name": "go"})
    stop = (kinds.SIGNAL_RECEIVED, {"name": "stop"})
    assert list(row(GO, other, stop, signal).pending) == ["1/0"]
    kept = row(stop, signal, signal, GO)
    assert kept.pending == {}
    assert kept.boxes == {"signal:stop": [1, 0], "signal:go": [2, 1]}


def test_a_wait_for_a_signal_that_timed_out_takes_nothing() -> None:
    after = row(GO, answer(kinds.WAIT_TIMED_OUT, "0/4"), (kinds.SIGNAL_RECEIVED, {"name": "go"}))
    assert (after.pending, after.boxes) == ({}, {"signal:go": [1, 0]})


def test_a_new_attempt_reads_its_boxes_from_the_start_and_keeps_its_hooks() -> None:
    again = row(
        (kinds.SIGNAL_RECEIVED, {"name": "go"}), GO, HOOK, TAKE, PAYLOAD,
        (kinds.RETRYING, {"due": 400, "body": FAILURE}), (kinds.SIGNAL_RECEIVED, {"name": "go"}),
        (kinds.RESTARTED, {"attempt": 2}),
    )  # fmt: skip
    assert again.boxes == {"signal:go": [2, 0], "hook:0/5": [1, 0]}
    assert [(each.kind, each.closed) for each in again.pending.values()] == [(kinds.HOOK, False)]


@pytest.mark.parametrize("ending", [kinds.COMPLETED, kinds.FAILED, kinds.CANCELLED, kinds.CONTINUED])
def test_the_hooks_of_a_run_end_with_it(ending: str) -> None:
    assert row(HOOK, (ending, {"body": FAILURE, "detail": {"run_id": "r1+2"}})).pending == {}


def test_a_hook_is_found_by_its_token_until_it_is_closed_and_one_answer_is_enough_for_it() -> None:
    assert list(waits_of(row(HOOK))) == [("0/5", HOOK_TYPE, '{"token":"t1"}')]
    for answered in (row(HOOK, TAKE, PAYLOAD), row(HOOK, PAYLOAD, TAKE)):
        assert [(each.kind, each.closed) for each in answered.pending.values()] == [(kinds.HOOK, True)]
    assert list(waits_of(row(HOOK, (kinds.HOOK_CLOSED, {"command": "0/7", "detail": {"hook": "0/5"}})))) == []
    assert list(waits_of(row(HOOK, (kinds.HOOK_REFUSED, {"command": "0/5"})))) == []


def test_a_run_on_a_queue_waits_without_a_time_and_its_deadline_counts_from_where_it_begins() -> None:
    facts = {"queue": {"name": "mail", "key": "ann", "priority": -1}}
    queued = row(**facts)
    assert (queued.status, queued.next_due, queued.began_at, resumption(queued)) == ("queued", None, None, None)
    assert (queued.queue, queued.queue_key, queued.priority) == ("mail", "ann", -1)
    began = row((kinds.BEGAN, {"detail": {"timeout_at": 900}}), **facts)
    assert (began.status, began.began_at, began.timeout_at) == ("running", 101, 900)


def test_a_later_start_moves_the_beginning_of_a_queued_run() -> None:
    assert row((kinds.DEBOUNCED, {"due": 800, "body": "2"}), due=700).next_due == 800


def test_heartbeats_show_on_the_step_and_outlive_its_attempt() -> None:
    beat = (kinds.STEP_HEARTBEAT, {"command": "0/0", "attempt": 1, "body": '{"done":3}'})
    for steps in ([STEP, beat], [STEP, beat, RETRY], [STEP, beat, RETRY, AGAIN]):
        step = row(*steps).pending["0/0"]
        assert (step.heartbeat, step.heartbeat_at) == ('{"done":3}', 102)
    assert row(beat).pending == {}


def test_streams_count_their_chunks() -> None:
    written = (kinds.STREAM_WRITTEN, {"name": "logs", "command": "0/0"})
    assert row(STEP, written, written, (kinds.STREAM_CLOSED, {"name": "logs"})).streams == {"logs": [2, 1]}


def test_an_upgraded_run_is_walked_on_other_code() -> None:
    upgraded = row(SLEEP, (kinds.UPGRADED, {"detail": {"definition": "d2", "version": "2"}}))
    assert (upgraded.definition, upgraded.version, upgraded.status) == ("d2", "2", "sleeping")


def test_a_continued_run_names_its_successor() -> None:
    assert row((kinds.CONTINUED, {"body": "1", "detail": {"run_id": "r1+2"}})).continued_as == "r1+2"
    assert row(continued_from={"run_id": "r0", "first_run_id": "r0"}).continued_from == "r0"


def test_a_copied_row_does_not_change_with_the_original() -> None:
    original = row((kinds.SIGNAL_RECEIVED, {"name": "go"}), (kinds.STREAM_WRITTEN, {"name": "logs"}))
    copy = copied(original)
    assert copy == original
    fold(original, Entry(1, 3, kinds.SIGNAL_RECEIVED, 200, name="go"))
    fold(original, Entry(1, 4, kinds.STREAM_WRITTEN, 200, name="logs"))
    assert (copy.boxes, copy.streams) == ({"signal:go": [1, 0]}, {"logs": [1, 0]})
