"""Services are for steps: a body that reaches for one is refused, at import where it shows, else while it runs."""

from __future__ import annotations

import linecache
from types import ModuleType
from typing import Any

import pytest

from perdure import MemoryLedger, PolicyViolation, RunFailed, Runtime, SandboxViolation

MODULE = """
import perdure
from {home} import Runtime, current_step, step, workflow

async def helper(ctx):
    return await ctx.kv.get("k", "read")

@workflow(id="w")
async def w(input: None, step, ctx):
{body}
"""
SHOWN = {
    "called": 'return await ctx.kv.get("k")',
    "under another name": 'store = ctx.kv; return await store.get("k")',
    "sent": 'await ctx.queue.send("jobs", 1)',
    "all of them": "return ctx.platform",
}
HIDDEN = {
    "in a helper": "return await helper(ctx)",
    "by getattr": 'return await getattr(ctx, "kv").get("k")',
    "of another ctx": 'c = ctx; return await c.kv.get("k")',
}
IN_STEPS = {
    "in a lambda": 'return await step.run("a", lambda: ctx.kv.get("k", "read"))',
    "under another name": 'return await step.run("a", lambda: (lambda kv: kv.get("k", "read"))(ctx.kv))',
    "in a helper": 'return await step.run("a", lambda: helper(ctx))',
    "of the current step": 'return await step.run("a", lambda: current_step().kv.get("k", "read"))',
    "of the package": 'return await step.run("a", lambda: perdure.current_step().kv.get("k", "read"))',
    "in a local function": (
        'async def work():\n        await ctx.kv.put("k", "read")\n        return await ctx.kv.get("k")\n'
        '    return await step.run("a", work)'
    ),
}
OF_STEPS = {
    "called": 'return await current_step().kv.get("k")',
    "of the package": 'return await perdure.current_step().kv.get("k")',
    "for an argument": 'return await step.run("a", current_step().kv.get, "k")',
    "the application's": 'return Runtime("other.duckdb")',
}
homes = pytest.mark.parametrize("home", ["perdure", "perdure.strict"])


def declared(home: str, body: str) -> Any:
    """The workflow with this body."""
    module, source = ModuleType("w_module"), MODULE.format(home=home, body=f"    {body}")
    name = f"<{home} {body}>"
    linecache.cache[name] = (len(source), None, source.splitlines(keepends=True), name)
    exec(compile(source, name, "exec", dont_inherit=True), module.__dict__)
    return module.__dict__["w"]


async def lived(definition: Any) -> Any:
    """What a run of it gives."""
    async with Runtime(MemoryLedger(), workflows=[definition]) as runtime:
        return await (await runtime.start("w")).result(timeout="30s")


@homes
@pytest.mark.parametrize("shape", SHOWN)
def test_a_body_that_shows_it_is_refused_at_import_with_the_fix(home: str, shape: str) -> None:
    with pytest.raises(PolicyViolation) as refused:
        declared(home, SHOWN[shape]).link()
    [finding] = refused.value.findings
    assert (finding.rule, finding.line) == ("service-in-body", 10)
    assert "await step.run(" in finding.fix


@homes
@pytest.mark.parametrize("shape", OF_STEPS)
def test_what_belongs_to_steps_or_applications_is_refused_at_import_with_where_to_take_it(
    home: str, shape: str
) -> None:
    with pytest.raises(PolicyViolation) as refused:
        declared(home, OF_STEPS[shape]).link()
    [finding] = refused.value.findings
    assert (finding.rule, finding.line) == ("refused", 10)
    assert "step." in finding.fix
    assert "allow(" not in finding.fix, "who vouches for it is refused while it runs"


@homes
@pytest.mark.parametrize("shape", HIDDEN)
async def test_a_body_that_hides_it_is_refused_while_it_runs(home: str, shape: str) -> None:
    with pytest.raises(RunFailed) as failed:
        await lived(declared(home, HIDDEN[shape]))
    assert isinstance(failed.value.__cause__, SandboxViolation)
    assert "ctx.kv is for steps, not for bodies" in str(failed.value.__cause__)


@homes
@pytest.mark.parametrize("shape", IN_STEPS)
async def test_a_step_of_the_body_may_use_it(home: str, shape: str) -> None:
    assert await lived(declared(home, IN_STEPS[shape])) == "read"
