"""Who begins next: the decision alone, against a plain reading of the same rules."""

from __future__ import annotations

import random

from perdure.core.flow import Flow, Ticket
from perdure.declare.queues import Queue, Rate

MINUTE = 60_000_000


def ticket(run: int, key: str = "", priority: int = 0, *, at: int = 0, due: int | None = None, child: bool = False,
           successor: bool = False, queue: str = "q") -> Ticket:  # fmt: skip
    return Ticket(run, f"run-{run}", "w", "1", queue, key, priority, at, due, child=child, successor=successor)


def flow(*tickets: Ticket, at_most: int | None = None, **limits: object) -> Flow:
    made = Flow({"q": Queue("q", **limits)}, at_most)  # type: ignore[arg-type]
    for each in tickets:
        made.wait(each)
    return made


def order(made: Flow, now: int = 0) -> list[int]:
    """Who begins now, one after the other, while each ends at once."""
    found = []
    while (following := made.next(now)) is not None:
        made.began(following.run, now)
        made.over(following.run)
        found.append(following.run)
    return found


def test_within_a_key_the_order_is_that_of_the_starts() -> None:
    assert order(flow(*[ticket(run) for run in (3, 1, 2)])) == [1, 2, 3]


def test_smaller_priorities_come_first_also_behind_a_key_that_has_to_wait() -> None:
    assert order(flow(ticket(1, "a", 5), ticket(2, "b"), ticket(3, "a", -5))) == [3, 2, 1]


def test_keys_take_turns() -> None:
    assert order(flow(*[ticket(run, key) for run, key in enumerate("aaabbc")])) == [0, 3, 5, 1, 4, 2]


def test_a_delayed_run_waits_for_its_time_and_then_keeps_the_place_of_its_start() -> None:
    made = flow(ticket(1, due=MINUTE), ticket(2), ticket(3))
    following = made.next(0)
    assert following is not None
    assert (following.run, made.wake_at(0)) == (2, MINUTE)
    assert order(made, MINUTE) == [1, 2, 3]


def test_what_time_alone_holds_back_is_looked_at_again_when_it_may_begin() -> None:
    made = flow(*[ticket(run) for run in range(3)], rate=Rate(2, per="1m"))
    assert order(made, 10) == [0, 1]
    assert made.wake_at(10) == 10 + MINUTE
    assert order(made, 9 + MINUTE) == []
    assert order(made, 10 + MINUTE) == [2]


def test_a_key_held_back_by_its_rate_is_looked_at_again_in_time() -> None:
    made = flow(ticket(1, "a"), ticket(2, "a"), rate_per_key=Rate(1, per="1m"))
    assert order(made, 5) == [1]
    assert made.wake_at(5) == 5 + MINUTE
    assert order(made, 5 + MINUTE) == [2]


def test_a_clock_that_is_set_back_lets_nobody_begin_too_early() -> None:
    made = flow(ticket(1), ticket(2), rate=Rate(1, per="1m"))
    assert order(made, MINUTE) == [1]
    assert order(made, 0) == []
    assert made.wake_at(0) == 2 * MINUTE


def test_a_successor_takes_the_place_of_the_run_that_it_goes_on_with() -> None:
    made = flow(ticket(1), ticket(2), max_concurrent_runs=1, rate=Rate(1, per="1m"))
    made.began(1, 0)
    made.over(1)
    made.wait(ticket(3, successor=True))
    following = made.next(0)
    assert following is not None
    assert following.run == 3


def test_a_child_begins_when_only_started_runs_are_too_many() -> None:
    made = flow(ticket(1), ticket(2), ticket(3, child=True), at_most=1)
    made.began(1, 0)
    following = made.next(0)
    assert following is not None
    assert following.run == 3
    made.began(3, 0)
    assert made.next(0) is None


def test_a_child_waits_for_its_time_and_for_its_key_also_when_runs_are_too_many() -> None:
    made = flow(
        ticket(1), ticket(2, "a", child=True), ticket(3, "a", child=True), ticket(4, child=True, due=9),
        at_most=1, max_concurrent_runs_per_key=1,
    )  # fmt: skip
    for run in (1, 2):
        made.began(run, 0)
    assert made.next(0) is None
    made.over(2)
    following = made.next(0)
    assert following is not None
    assert following.run == 3


def test_a_queue_that_nobody_gave_lets_nobody_begin() -> None:
    made = flow(ticket(1, queue="other"))
    assert (made.next(0), made.wake_at(0), made.line("other").waiting) == (None, None, 1)


def test_nothing_is_left_of_keys_whose_runs_have_ended() -> None:
    made = flow(rate_per_key=Rate(1, per="1m"))
    for run in range(100):
        made.wait(ticket(run, f"key {run}"))
    order(made, 0)
    made.wait(ticket(100, "last"))
    order(made, 2 * MINUTE)
    line = made.lines["q"]
    assert (set(line._keys), set(line._begins_of), line.tickets) == (set(), {"last"}, {})


def test_whatever_happens_limits_hold_and_everybody_gets_a_turn() -> None:
    """Against counts of its own: waits, begins, ends, puts off and sets aside at random."""
    for seed in range(300):
        draw = random.Random(seed)
        limit, per_key = draw.choice([None, 1, 2, 3]), draw.choice([None, 1, 2])
        made = flow(max_concurrent_runs=limit, max_concurrent_runs_per_key=per_key)
        waiting: dict[int, Ticket] = {}
        running: dict[int, Ticket] = {}
        now = 0
        for run in range(60):
            now += draw.randrange(3)
            what = draw.random()
            if what < 0.6:
                due = now + draw.randrange(5) if draw.random() < 0.2 else None
                waiting[run] = each = ticket(run, draw.choice("abc"), draw.choice([0, 0, 1]), at=now, due=due)
                made.wait(each)
            elif what < 0.7 and waiting:
                gone = draw.choice(list(waiting))
                made.over(gone)
                del waiting[gone]
            elif running:
                gone = draw.choice(list(running))
                made.over(gone)
                del running[gone]
            while (following := made.next(now)) is not None:
                assert following.run in waiting, f"seed {seed}: it has begun or gone"
                earlier = [each for each in waiting.values() if each.key == following.key and each.due is None]
                assert min((each.priority, each.run) for each in earlier) == (following.priority, following.run)
                running[following.run] = waiting.pop(following.run)
                made.began(following.run, now)
                assert limit is None or len(running) <= limit
                alike = sum(each.key == following.key for each in running.values())
                assert per_key is None or alike <= per_key
            able = [each for each in waiting.values() if each.due is None]
            if limit is None or len(running) < limit:  # then whoever is able waits because of its key
                full = {each.key for each in able}
                assert all(sum(each.key == key for each in running.values()) == per_key for key in full)
        while running or waiting:
            wake_at = made.wake_at(now)
            now = max(now, wake_at) if wake_at is not None else now
            for run in list(running):
                made.over(run)
                del running[run]
            while (following := made.next(now)) is not None:
                running[following.run] = waiting.pop(following.run)
                made.began(following.run, now)
            assert running or not waiting or made.wake_at(now) is not None, f"seed {seed}: nobody begins any more"
