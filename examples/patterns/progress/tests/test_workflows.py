"""Readers see what was written, in order, and a new attempt goes on where the last one was."""

from workflows import Progress, Video, publish_video

from perdure.testing import RuntimeClock, RuntimeFactory, assert_replays

HOLIDAY = Video(name="holiday", frames=100)
LINES = ["attempt 1 begins with frame 0", "the graphics card gave up", "attempt 2 begins with frame 50", "done"]


def test_the_log_is_whole_and_says_where_the_second_attempt_began(
    perdure_runtime: RuntimeFactory, perdure_clock: RuntimeClock
) -> None:
    with perdure_runtime(publish_video) as runtime:
        run = runtime.start(publish_video, HOLIDAY)
        perdure_clock.advance("1s")  # what the retry waits
        assert run.result(timeout="10s") == "holiday: 100 frames"
        assert list(run.stream("log")) == LINES
        assert_replays(run)


def test_progress_is_written_once_for_each_quarter(
    perdure_runtime: RuntimeFactory, perdure_clock: RuntimeClock
) -> None:
    with perdure_runtime(publish_video) as runtime:
        run = runtime.start(publish_video, HOLIDAY)
        perdure_clock.advance("1s")
        chunks = list(run.stream("progress").chunks())
        assert [chunk.value for chunk in chunks] == [Progress(done=done, of=100) for done in (25, 50, 75, 100)]
        assert [chunk.attempt for chunk in chunks] == [1, 1, 2, 2]


def test_a_reader_that_comes_back_misses_and_repeats_nothing(
    perdure_runtime: RuntimeFactory, perdure_clock: RuntimeClock
) -> None:
    with perdure_runtime(publish_video) as runtime:
        run = runtime.start(publish_video, HOLIDAY)
        perdure_clock.advance("1s")
        assert list(run.stream("log", start=3)) == LINES[3:]
    with perdure_runtime(publish_video) as runtime:  # and after a restart
        assert list(runtime.handle(run.run_id).stream("log", start=1)) == LINES[1:]
