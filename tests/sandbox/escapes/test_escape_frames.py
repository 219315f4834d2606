"""Escapes through frames: generators, coroutines, tracebacks, tasks and functions know where they run."""

import pytest

PAYLOADS = {
    "generator frame": "(x for x in ()).gi_frame",
    "generator code": "(x for x in ()).gi_code",
    "walk back from a generator": """
def attack():
    def steps():
        yield generator.gi_frame.f_back
    generator = steps()
    return next(generator)
""",
    "walk to the globals": "(x for x in ()).gi_frame.f_globals",
    "walk to the builtins": "(x for x in ()).gi_frame.f_builtins",
    "coroutine frame": """
async def nothing(): pass
def attack():
    coroutine = nothing()
    try:
        return coroutine.cr_frame
    finally:
        coroutine.close()
""",
    "coroutine code": """
async def nothing(): pass
def attack():
    coroutine = nothing()
    try:
        return coroutine.cr_code
    finally:
        coroutine.close()
""",
    "async generator frame": """
async def steps():
    yield 1
def attack():
    return steps().ag_frame
""",
    "async generator code": """
async def steps():
    yield 1
def attack():
    return steps().ag_code
""",
    "traceback of an exception": """
def attack():
    try:
        1 / 0
    except ZeroDivisionError as error:
        return error.__traceback__.tb_next or error.__traceback__.tb_frame.f_code
""",
    "frame of a traceback": """
def attack():
    try:
        1 / 0
    except ZeroDivisionError as error:
        return error.__traceback__.tb_frame
""",
    "traceback through getattr": """
def attack():
    try:
        1 / 0
    except ZeroDivisionError as error:
        return getattr(getattr(error, "__trace" + "back__"), "tb_" + "frame")
""",
    "traceback through the context manager's arguments": """
class Manager:
    def __enter__(self): return self
    def __exit__(self, kind, error, traceback):
        self.loot = getattr(traceback, "tb_" + "frame")
        return True
def attack():
    manager = Manager()
    with manager:
        1 / 0
    return manager.loot
""",
    "frame through the context manager's arguments": """
class Manager:
    def __enter__(self): return self
    def __exit__(self, kind, error, traceback):
        self.loot = traceback.tb_frame.f_back
        return True
def attack():
    manager = Manager()
    with manager:
        1 / 0
    return manager.loot
""",
    "code of a function": "(lambda: 0).__code__",
    "globals of a function": "(lambda: 0).__globals__",
    "builtins of a function": "(lambda: 0).__builtins__",
    "closure of a function": """
def attack():
    x = 1
    return (lambda: x).__closure__
""",
    "globals of a library function": """
import json
def attack():
    return json.dumps.__globals__
""",
    "function behind a method": """
import json
def attack():
    return json.JSONDecoder().decode.__func__.__globals__
""",
    "code of a task's coroutine": """
import asyncio
async def nothing(): pass
async def attack():
    task = asyncio.create_task(nothing())
    await task
    return task.get_coro().cr_code
""",
    "stack of a task": """
import asyncio
async def attack():
    return asyncio.current_task().get_stack()
""",
    "frame of the caller": """
import sys
def attack():
    return sys._getframe()
""",
    "exception's frame through ExitStack": """
import contextlib
def attack():
    loot = []
    with contextlib.ExitStack() as stack:
        def take(kind, error, traceback):
            loot.append(getattr(traceback, "tb_" + "frame"))
            return True
        stack.push(take)
        1 / 0
    return loot
""",
}


@pytest.mark.parametrize("name", PAYLOADS)
def test_frames_stay_out_of_reach(name, contained, finds_loot_natively):
    assert finds_loot_natively(PAYLOADS[name]), "the payload does not work in plain Python; it proves nothing"
    assert contained(PAYLOADS[name]) in ("PolicyViolation", "SandboxViolation", "ordinary", "harmless")
