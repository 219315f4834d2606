"""The second line: what slips through to a real function is stopped while a body runs, and only then."""

from __future__ import annotations

import contextlib
import decimal
import gc
import os
import socket
import subprocess
import sys
import threading
import time

import pytest

from perdure.errors import SandboxViolation
from perdure.sandbox import activation
from perdure.sandbox.fixed import FixedEnvironment


@pytest.fixture
def environment():
    """Make a small world to run in."""
    return FixedEnvironment("audit")


def _read_this_file() -> None:
    with open(__file__) as file:
        file.readline()


def _import_new() -> None:
    import antigravity  # noqa: F401


ACTIONS = {
    "opening a file": lambda: open(__file__).close(),
    "listing a folder": lambda: os.listdir("."),
    "making a folder": lambda: os.mkdir("/nowhere/at/all"),
    "removing a file": lambda: os.remove("/nowhere/at/all"),
    "changing the environment": lambda: os.putenv("PERDURE_TEST", "1"),
    "opening a socket": lambda: socket.socket().close(),
    "looking up a host": lambda: socket.getaddrinfo("localhost", 1),
    "starting a process": lambda: subprocess.Popen(["true"]),
    "a shell": lambda: os.system("true"),
    "evaluating text": lambda: eval("1"),
    "executing text": lambda: exec("pass"),
    "compiling text": lambda: compile("1", "x", "eval"),
    "importing a new module": _import_new,
}


@pytest.mark.parametrize("action", ACTIONS)
def test_input_and_output_are_stopped_while_a_body_runs(action, environment):
    with pytest.raises(SandboxViolation) as caught, activation.activation(environment):
        ACTIONS[action]()
    assert "while a body ran" in caught.value.message
    assert caught.value.fix
    assert "test_audit.py" in caught.value.where or action == "importing a new module"


@pytest.mark.skipif(sys.version_info < (3, 12), reason="CPython reports thread starts from 3.12 on")
def test_threads_are_stopped_while_a_body_runs(environment):
    with pytest.raises(SandboxViolation), activation.activation(environment):
        threading.Thread(target=print).start()


def test_a_swallowed_violation_is_raised_again_when_the_body_is_left(environment):
    with (
        pytest.raises(SandboxViolation, match="file was opened"),
        activation.activation(environment),
        contextlib.suppress(SandboxViolation),
    ):
        _read_this_file()
    activation.enter(environment)
    activation.leave()  # the next activation begins clean


def test_the_same_calls_work_outside_of_bodies_and_when_suspended(environment):
    activation.enter(environment)
    activation.leave()
    open(__file__).close()
    with activation.activation(environment), activation.suspended():
        assert activation.current() is None
        open(__file__).close()
        assert eval("1") == 1


def test_suspension_ends_with_its_block(environment):
    activation.enter(environment)
    with activation.suspended():
        _read_this_file()
    assert activation.current() is environment
    with pytest.raises(SandboxViolation):
        _read_this_file()
    with pytest.raises(SandboxViolation):
        activation.leave()


def test_another_threads_files_are_its_own_affair(environment):
    opened: list[str] = []
    entered, finished = threading.Event(), threading.Event()

    def work() -> None:
        assert entered.wait(10)
        with open(__file__) as file:
            opened.append(file.readline())
        assert activation.current() is None
        finished.set()

    thread = threading.Thread(target=work)
    thread.start()
    with activation.activation(environment):
        entered.set()
        assert finished.wait(10)
    thread.join()
    assert opened


def test_bodies_run_in_one_thread_at_a_time(environment):
    inside: list[int] = []
    most: list[int] = []

    def work() -> None:
        for _ in range(50):
            with activation.activation(environment):
                inside.append(1)
                most.append(len(inside))
                inside.pop()

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert max(most) == 1


def test_activations_nest_and_the_innermost_is_current(environment):
    other = FixedEnvironment("other")
    with activation.activation(environment):
        with activation.activation(environment):
            assert activation.current() is environment
        with activation.activation(other):
            assert activation.current() is other
        assert activation.current() is environment
    assert activation.current() is None


def test_decimals_and_the_collector_are_put_back(environment):
    decimal.getcontext().prec = 9
    try:
        with activation.activation(environment):
            assert decimal.getcontext().prec == 28
            assert not gc.isenabled()
            decimal.getcontext().prec = 5
        with activation.activation(environment):
            assert decimal.getcontext().prec == 28
        assert decimal.getcontext().prec == 9
        assert gc.isenabled()
    finally:
        decimal.getcontext().prec = 28


def test_an_error_in_a_body_leaves_nothing_behind(environment):
    with pytest.raises(ZeroDivisionError), activation.activation(environment):
        raise ZeroDivisionError
    assert activation.current() is None
    assert gc.isenabled()


def test_lazily_imported_parts_of_the_standard_library_do_not_trip_the_hook(environment):
    import dataclasses
    from collections import namedtuple
    from datetime import datetime

    with activation.activation(environment):
        assert datetime.strptime("2024-05-06", "%Y-%m-%d").year == 2024
        assert "ä".encode("idna")
        assert "ä".encode("cp1125", "replace")
        assert namedtuple("P", "x")(1).x == 1
        assert dataclasses.dataclass(type("D", (), {"__annotations__": {"x": int}}))(1).x == 1


def test_outside_of_bodies_the_hook_costs_little():
    def spent() -> float:
        began = time.perf_counter()
        for _ in range(20_000):
            id(began)  # an audited event
        return time.perf_counter() - began

    assert min(spent() for _ in range(5)) / 20_000 < 5e-6
