"""Where services are: on `current_step()` and `ctx` in steps, on runtimes, not in bodies; and how they are typed."""

from __future__ import annotations

import asyncio
import linecache
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import perdure
import perdure.sandbox
import perdure.storage
from perdure import MemoryLedger, PolicyViolation, RunFailed, Runtime, SandboxViolation
from perdure.strict import current_step, step, workflow

SERVICES = ["kv", "database", "storage", "queue", "workflows", "platform"]
HERE = Path(__file__).parent


def result(definition: Any, input: Any = None) -> Any:
    async def run() -> Any:
        async with Runtime(MemoryLedger(), workflows=[definition, other]) as runtime:
            return await (await runtime.start(definition, input)).result(timeout="20s")

    return asyncio.run(run())


@workflow(id="other")
async def other(input: int) -> int:
    return input


@step
async def kinds() -> list[str]:
    now = current_step()
    return [type(getattr(now, name)).__name__ for name in SERVICES]


@step
def blocking_kinds() -> list[str]:
    now = current_step().blocking
    return [type(getattr(now, name)).__name__ for name in SERVICES]


@workflow(id="looks")
async def looks(input: None, step, ctx) -> Any:
    from_ctx = await step.run(
        "ctx",
        lambda: [
            type(each).__name__ for each in (ctx.kv, ctx.database, ctx.storage, ctx.queue, ctx.workflows, ctx.platform)
        ],
    )
    return [await kinds(), from_ctx, await blocking_kinds()]


def test_a_step_has_all_of_them_on_current_step_and_on_ctx() -> None:
    asynchronous, from_ctx, blocking = result(looks)
    assert asynchronous == from_ctx == ["Kv", "Database", "Storage", "MessageQueues", "Workflows", "Services"]
    assert blocking == [f"Blocking{name}" for name in asynchronous]


def test_a_runtime_has_all_of_them_and_so_has_a_blocking_one() -> None:
    async def of_a_runtime() -> list[str]:
        async with Runtime(MemoryLedger()) as runtime:
            return [type(getattr(runtime, name)).__name__ for name in SERVICES]

    asynchronous = asyncio.run(of_a_runtime())
    with Runtime(MemoryLedger()) as runtime:
        assert [type(getattr(runtime, name)).__name__ for name in SERVICES] == [f"Blocking{n}" for n in asynchronous]


@pytest.mark.parametrize("name", SERVICES)
def test_a_service_in_a_body_is_refused_when_it_is_declared(name: str) -> None:
    source = f"""
from perdure.strict import workflow

@workflow(id="wrong")
async def wrong(input: None, step, ctx):
    return await ctx.{name}.get("a")
"""
    path = HERE / "body.py"
    code = compile(source, str(path), "exec")
    linecache.cache[str(path)] = (len(source), None, source.splitlines(True), str(path))
    try:
        with pytest.raises(PolicyViolation) as refused:
            exec(code, {"__name__": "body"})
    finally:
        del linecache.cache[str(path)]
    [finding] = refused.value.findings
    assert finding.line == 6
    assert f"ctx.{name}" in str(refused.value)
    assert "step" in finding.fix


@pytest.mark.parametrize("name", SERVICES)
def test_a_service_that_a_body_gets_at_run_time_is_refused_with_the_fix(name: str) -> None:
    @workflow(id="tries")
    async def tries(input: str, step, ctx) -> Any:
        return getattr(ctx, input)

    with pytest.raises(RunFailed) as failed:
        result(tries, name)
    refused = failed.value.__cause__
    assert isinstance(refused, SandboxViolation)
    assert f"ctx.{name} is for steps, not for bodies" in str(refused)
    assert "step.run" in refused.fix


def test_ctx_is_no_way_to_services_outside_of_steps() -> None:
    kept: list[Any] = []

    @step
    async def keeps(value: int) -> int:
        return value

    @workflow(id="keeps")
    async def keeping(input: None, step, ctx) -> Any:
        await step.run("keep", lambda: kept.append(ctx))
        return None

    result(keeping)
    with pytest.raises(SandboxViolation, match=r"ctx\.kv is for steps"):
        kept[0].kv  # noqa: B018


PROGRAM = """
from collections.abc import AsyncIterator

from perdure import BlockingRuntime, Runtime
from perdure.services.blobs import BlobInfo
from perdure.services.services import BlockingServices, Services
from perdure.strict import current_step, step


@step
async def asynchronous() -> int:
    now = current_step()
    written: bool = await now.kv.put("a", 1, ttl="1h")
    info: BlobInfo = await now.storage.put("a", b"b")
    async for data in now.storage.stream("a"):
        print(len(data), written)
    listed: list[BlobInfo] = await now.storage.bucket("b").list()
    run_id: str = await now.workflows.start("other", {"n": 1}, delay="1m")
    await now.workflows.signal(run_id, "go", None)
    await handed(now.platform)
    return info.size + len(listed)


async def handed(platform: Services) -> None:
    await platform.workflows.send_event("paid", {"order": 1})


@step
def plain() -> int:
    now = current_step().blocking
    info: BlobInfo = now.storage.put("a", (b"b" for _ in range(3)))
    run_id: str = now.workflows.start("other", 3)
    written: bool = now.kv.put("a", run_id)
    for data in now.storage.stream("a"):
        print(len(data), written)
    blocked(now.platform)
    return info.size


def blocked(platform: BlockingServices) -> None:
    content: bytes = platform.storage.get("a")
    print(content)


async def outside(runtime: Runtime) -> bytes:
    await runtime.storage.put("a", "text")
    await handed(runtime.platform)
    return await runtime.storage.get("a")


def outside_blocking(runtime: BlockingRuntime) -> bytes:
    runtime.storage.put("a", "text")
    blocked(runtime.platform)
    return runtime.storage.get("a")
"""

WRONG = """
from perdure.strict import current_step, step


@step
def plain() -> int:
    return current_step().blocking.storage.get("a")  # bytes


@step
async def forgets() -> None:
    size: int = await current_step().storage.get("a")
    run_id: int = current_step().blocking.workflows.start("other")
"""


def found_by_mypy(source: str, folder: Path) -> list[str]:
    """The errors that mypy finds in a program, in order."""
    pytest.importorskip("mypy", reason="mypy comes with the extra `check`")
    tree = folder / "packages" / "perdure"  # an editable install has its folders elsewhere, where mypy does not follow
    if not tree.exists():
        for package, place in (
            (perdure, tree),
            (perdure.sandbox, tree / "sandbox"),
            (perdure.storage, tree / "storage"),
        ):
            shutil.copytree(Path(str(package.__file__)).parent, place, dirs_exist_ok=True)
    program = folder / "program.py"
    program.write_text(source)
    command = [sys.executable, "-m", "mypy", "--strict", "--follow-imports=silent", "--no-error-summary", str(program)]
    environment = {**os.environ, "MYPYPATH": str(tree.parent), "MYPY_CACHE_DIR": str(folder / "cache")}
    found = subprocess.run(command, capture_output=True, text=True, env=environment, cwd=folder, check=False)
    assert not found.stderr
    return [line for line in found.stdout.splitlines() if ": error:" in line]


@pytest.mark.soak
def test_types_say_what_operations_give_in_both_kinds_of_steps(tmp_path: Path) -> None:
    assert found_by_mypy(PROGRAM, tmp_path) == []
    found = found_by_mypy(WRONG, tmp_path)
    assert [line.split(":")[1] for line in found] == ["7", "12", "13"], found
