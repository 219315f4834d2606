"""What the page on code changes says of each change is so: its blocks are deployed under an open run."""

from __future__ import annotations

import re
import textwrap
from pathlib import Path

import pytest
from deployed import ORDER, OUTCOME, Deploys

PAGE = (Path(__file__).parents[2] / "docs" / "living-with-code-changes.md").read_text(encoding="utf-8")
IMPORTS = "from typing import ClassVar\nfrom pydantic import BaseModel\nfrom perdure.strict import step, workflow\n\n"
ROW = re.compile(r"^\| \[([^\]]+)\]\(#([\w-]+)\) \| ([^|]+) \| ([^|]+) \| ([^|]+) \|$", re.MULTILINE)
CASES = {found[1]: (found[2], found[3].strip(), found[4].strip()) for found in ROW.finditer(PAGE)}
SECTIONS = {part.splitlines()[0].strip(): part for part in re.split(r"^#{2,3} ", PAGE, flags=re.MULTILINE)[1:]}


def code_of(anchor: str) -> str:
    """The Python of the section that a link leads to; empty when it has none."""
    (section,) = (text for title, text in SECTIONS.items() if title.lower().replace(" ", "-") == anchor)
    return "\n".join(re.findall(r"```python\n(.*?)```", section, re.DOTALL))


def parts(code: str) -> dict[str, str]:
    """Its classes, steps and workflows by name."""
    found = {}
    for part in re.split(r"\n\n(?=@|class |from )", code.strip()):
        name = re.search(r"(?:class|def) (\w+)", part)
        found[name[1] if name else ""] = part
    return found


BASE = parts(re.findall(r"```python\n(.*?)```", SECTIONS["What a change does"], re.DOTALL)[0])


def release_of(case: str) -> str:
    """The base module with what a section shows in place of its own."""
    shown = parts(code_of(CASES[case][0]))
    if case == "the workflow deleted":
        return "\n\n".join(part for name, part in BASE.items() if name != "checkout")
    if case == "the function renamed":
        return "\n\n".join([*(part for name, part in BASE.items() if name != "checkout"), shown["check_out"]])
    return "\n\n".join({**BASE, **shown}.values())


def test_the_table_and_the_sections_name_the_same_changes() -> None:
    assert len(CASES) == 13
    assert list(BASE) == ["Order", "reserve", "charge", "checkout"]
    titles = [title.lower().replace(" ", "-") for title in SECTIONS]
    start, stop = titles.index("what-a-change-does"), titles.index("ctx.patched")
    assert [anchor for anchor, _, _ in CASES.values()] == titles[start + 1 : stop]


async def begin(deploys: Deploys) -> None:
    await deploys.begin("\n\n".join(BASE.values()), head=IMPORTS)


def deploy(deploys: Deploys, case: str) -> list[object]:
    if case == "the module moved":
        deploys.remove()
        text = "\n\n".join(BASE.values())
        return [deploys.release(text, head=IMPORTS, module="shop_orders")]
    return [deploys.release(release_of(case), head=IMPORTS)]


@pytest.mark.parametrize("case", CASES)
async def test_open_runs_do_what_the_table_says_when(case: str, deploys: Deploys) -> None:
    await begin(deploys)
    modules = deploy(deploys, case)
    if CASES[case][1] == "go on":
        assert await deploys.finish(*modules) == OUTCOME
    else:
        assert CASES[case][1] == "diverged"
        await deploys.stopped(*modules)


@pytest.mark.parametrize("case", CASES)
async def test_an_upgrade_says_what_the_table_says_when(case: str, deploys: Deploys) -> None:
    await begin(deploys)
    said = CASES[case][2]
    async with deploys.live(*deploy(deploys, case)) as runtime:
        upgrades = await runtime.upgrade()
    if said == "nothing to move":
        assert upgrades == []
        return
    (upgrade,) = upgrades
    if said == "they move":
        assert upgrade.ok
    elif said == "not checked":
        assert upgrade.error is not None
    else:
        assert upgrade.divergence is not None
        assert upgrade.divergence.cause == said


@pytest.mark.parametrize("case", ["a field without a default", "a field renamed", "the module moved"])
async def test_what_diverged_goes_on_once_it_is_as_the_page_advises(case: str, deploys: Deploys) -> None:
    await begin(deploys)
    await deploys.stopped(*deploy(deploys, case))
    if case == "the module moved":
        deploys.release(code_of("the-module-moved"), head="")
        assert await deploys.finish() == OUTCOME
        return
    mended = {
        **BASE,
        "Order": BASE["Order"] + ("\n    gift: bool = False" if "default" in case else "\n    amount: int = 0"),
    }
    assert await deploys.finish(deploys.release("\n\n".join(mended.values()), head=IMPORTS)) == OUTCOME


# ── ctx.patched ──────────────────────────────────────────────────────────────────────────────────


def patched(deploys: Deploys, text: str) -> object:
    return deploys.release("\n\n".join({**BASE, "checkout": text}.values()), head=IMPORTS)


async def test_the_life_of_a_change_behind_patched(deploys: Deploys) -> None:
    await begin(deploys)
    introduced = parts(code_of("ctx.patched"))["checkout"]
    # 1. introduce: the old run replays and moves, and takes the old way; a new one takes the new way
    async with deploys.live(patched(deploys, introduced)) as runtime:
        (upgrade,) = await runtime.upgrade(dry_run=False)
        assert upgrade.moved
        new = await runtime.start("checkout", ORDER, run_id="new")
        await new.wait("waiting_event", timeout="20s")
        query = re.search(r"`(SELECT r\.run_id.*?)`", PAGE, re.DOTALL)
        assert query is not None
        # 2. wait: the query of the page knows who is left
        assert runtime.sql(" ".join(query[1].split())).rows == (("r",),)
        assert [each.name for each in await new.history() if each.kind == "patched"] == ["audit-first"]
        await runtime.handle("r").cancel()
        await runtime.handle("r").wait(timeout="20s")
        assert runtime.sql(" ".join(query[1].split())).rows == ()
    # 3. remove: what took the new way replays without the question
    removed = introduced.replace('    if ctx.patched("audit-first"):\n        await', "    await")
    async with deploys.live(patched(deploys, removed)) as runtime:
        assert [each.moved for each in await runtime.upgrade(dry_run=False)] == [True]
        await runtime.send_event("go")
        assert await runtime.handle("new").result(timeout="20s") == OUTCOME
        assert (await runtime.handle("new").replay()).ok


async def test_versions_stand_side_by_side_and_the_last_registered_is_the_newest(deploys: Deploys) -> None:
    child = """
    @workflow(id="parent", version="1")
    async def parent(input: Order, step, ctx) -> str:
        return await step.invoke("child", "checkout", input)
    """
    today = deploys.release(release_of("a new version beside it") + textwrap.dedent(child), head=IMPORTS)
    async with deploys.live(today) as runtime:
        first = await runtime.start("checkout", ORDER, version="1")
        second = await runtime.start("checkout", ORDER)
        assert (await first.status()).version == "1"
        assert (await second.status()).version == "2"
        parent = await runtime.start("parent", ORDER)
        assert await parent.result(timeout="20s") == await second.result(timeout="20s") == OUTCOME
        (run,) = await parent.children()
        assert (await run.status()).version == "2"
        await first.wait("waiting_event", timeout="20s")
        await runtime.send_event("go")
        assert await first.result(timeout="20s") == OUTCOME
