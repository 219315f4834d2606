"""A worker shows what it found and what happens: to people in lines, to machines in JSON, and quietly only trouble."""

from __future__ import annotations

import io
import json
import re
import threading
from pathlib import Path
from typing import Any

import pytest

from perdure.cli.feed import Feed, WholeLines
from perdure.cli.output import table

FLOWS = """
from perdure.strict import RetryPolicy, step, workflow

class Once:
    failed = False

@step(retries=RetryPolicy(max_attempts=3, base_delay="10ms"))
def flaky(text: str) -> str:
    print("printed by a step")
    if not Once.failed:
        Once.failed = True
        raise ConnectionError("busy")
    return text

@workflow(id="works", version="1")
async def works(input: str, step, ctx) -> str:
    text = await flaky(input)
    print("printed by a body")
    ctx.log.info("is done", text=text, odd=float("nan"))
    return text

@workflow(id="fails", version="2")
async def fails(input: str, step, ctx) -> str:
    ctx.log.warning("about to fail")
    raise ValueError(input)
"""


@pytest.fixture
def busy(shop: Any) -> Any:
    """A shop with a run that is going to complete and one that is going to fail."""
    shop.module.rename(shop.folder / "workflows.py")
    (shop.folder / "workflows.py").write_text(FLOWS)
    for workflow in ("works", "fails"):
        result = shop.process(
            "perdure", "start", "x.duckdb", workflow, "--input", '"hello"', "--run-id", f"{workflow}-1"
        )
        assert result.returncode == 0, result.stderr
    return shop


def run(shop: Any, *options: str) -> tuple[list[str], str]:
    """Work until nothing is left; what was printed, without times, and what came on stderr."""
    done = shop.process("perdure", "run", "x.duckdb", "--until-idle", *options)
    assert done.returncode == 0, done.stderr
    return [re.sub(r"^\d\d:\d\d:\d\dZ  ", "", line) for line in done.stdout.splitlines()], done.stderr


def test_people_see_what_was_found_and_then_what_happens(busy: Any) -> None:
    lines, _ = run(busy)
    text = "\n".join(lines)
    assert re.match(r"perdure [\d.]+ works on x.duckdb, process \d+, with 2 workflows in workflows.py:", lines[0])
    assert re.match(r"  works +1 +[0-9a-f]{12}  workflows.py:15", lines[2])
    assert lines[4] == "The ledger has 2 queued  (2 open)."
    assert "works  works-1  began" in lines
    assert re.search(r"works  works-1  flaky failed, attempt 1, next one in 0.0\d\ds: ConnectionError: busy", text)
    assert "works  works-1  is done text='hello' odd=nan" in lines
    assert re.search(r"works  works-1  completed in \d\.\d{3}s", text)
    assert re.search(r"fails  fails-1  failed after \d\.\d{3}s: ValueError: hello", text)
    assert text.index("about to fail") < text.index("failed after")  # in the order in which it happened
    assert lines[-1] == "1 completed  1 failed  (0 open)"
    assert "\x1b" not in text  # nobody sees colours in a pipe


def test_machines_get_one_object_a_line_and_nothing_else_on_stdout(busy: Any) -> None:
    lines, stderr = run(busy, "--log", "json")
    told = [json.loads(line) for line in lines]
    assert [told[0]["event"], told[-1]["event"]] == ["worker_started", "worker_stopped"]
    assert told[-1]["counts"] == {"completed": 1, "failed": 1}
    works = [each for each in told if each.get("run_id") == "works-1"]
    assert [each["event"] for each in works] == [
        "began", "step", "step_retrying", "step_started", "step_completed", "print", "log", "completed",
    ]  # fmt: skip
    assert {each["workflow"] for each in works} == {"works"}
    retrying = works[2]
    assert (retrying["step"], retrying["attempt"], retrying["status"]) == ("flaky", 1, "awaiting_retry")
    assert retrying["error"]["message"] == "busy"
    assert "Traceback" in retrying["error"]["traceback"]
    assert retrying["duration_s"] >= 0
    printed, logged, completed = works[5:]
    assert printed["message"] == "printed by a body"
    assert (logged["level"], logged["message"]) == ("info", "is done")
    assert "hello" in str(logged["fields"])
    assert (completed["status"], completed["version"]) == ("completed", "1")
    assert all(re.match(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d+\+00:00", each["at"]) for each in told)
    assert "printed by a step" in stderr


def test_quiet_shows_only_what_goes_wrong(busy: Any) -> None:
    lines, _ = run(busy, "--quiet")
    shown = [line for line in lines if not line.startswith("printed")]
    assert shown[0] == "fails  fails-1  warning: about to fail"
    assert re.match(r"fails  fails-1  failed after \d\.\d{3}s: ValueError: hello", shown[1])
    assert len(shown) == 2
    assert run(busy, "--quiet") == ([], "")


def test_one_document_is_alone_on_stdout(busy: Any) -> None:
    done = busy.process("perdure", "run", "x.duckdb", "--until-idle", "--json")
    document = done.stdout[done.stdout.index("{") :]
    assert json.loads(document) == {"ledger": "x.duckdb", "counts": {"completed": 1, "failed": 1}}
    assert "works-1" not in done.stdout


def test_logging_that_the_user_set_up_is_left_alone(busy: Any) -> None:
    module = Path(busy.folder / "workflows.py")
    setup = "import logging, sys\nlogging.basicConfig(stream=sys.stderr, format='MINE %(message)s')\n"
    module.write_text(setup + module.read_text())
    lines, stderr = run(busy)
    assert "MINE about to fail" in stderr
    assert not any("about to fail" in line for line in lines)


def test_a_table_fits_the_terminal(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setenv("COLUMNS", "40")
    monkeypatch.setenv("TTY_COMPATIBLE", "1")
    shown = table("id", "where")
    shown.add_row("order", "a/very/long/path/to/the/folder/of/workflows.py:17")
    feed = Feed("text")
    with feed.opened():
        feed.say_table("what is there:", shown)
    lines = [re.sub(r"\x1b\[[^A-Za-z]*[A-Za-z]", "", line) for line in capsys.readouterr().out.splitlines()]
    assert any(line.startswith("  order  a/very/long") for line in lines), lines
    assert max(map(len, lines)) <= 40, lines


def test_lines_of_several_threads_stay_whole() -> None:
    out = io.StringIO()
    lines = WholeLines(out)
    lines.write("half a line, ")
    other = threading.Thread(target=lambda: print("another thread's", file=lines))
    other.start()
    other.join()
    lines.write("and its end\nthe next")
    assert out.getvalue() == "another thread's\nhalf a line, and its end\n"
    lines.flush()
    assert out.getvalue().endswith("the next")


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (("--log", "xml"), "--log 'xml' is no form"),
        (("--drain", "soon"), "--drain='soon'"),
        (("--verify", "much"), "--verify 'much' is no share"),
        (("--code", "old"), "code='old' can't be used"),
    ],
)
def test_wrong_options_start_nothing(shop: Any, options: tuple[str, ...], said: str) -> None:
    result = shop("run", "x.duckdb", "-w", "orders.py", *options)
    assert result.exit_code == 2
    assert said in result.stderr
    assert not (shop.folder / "x.duckdb").exists()
