"""Report building: gather figures from all regions at once, compare with the month before, write and file the report.

What is gathered is recorded, so the report is the same however often its writing is tried again, also when the
warehouse has changed meanwhile. One month is one run: who asks for it again gets the report that is there.
"""

from __future__ import annotations

import asyncio
import hashlib
from pathlib import Path

import sales
from pydantic import BaseModel, Field

from perdure.strict import Runtime, StepContext, step, workflow

WAREHOUSE = Path("sales.sqlite")
ARCHIVE = Path("reports")


class Month(BaseModel):
    month: str = Field(pattern=r"^\d{4}-(0[1-9]|1[0-2])$")

    def before(self) -> str:
        """The month before."""
        year, number = (int(part) for part in self.month.split("-"))
        return f"{year - (number == 1)}-{(number - 2) % 12 + 1:02}"


class Figures(BaseModel):
    region: str
    sales: int
    cents: int


class Filed(BaseModel):
    file: str
    sha256: str
    cents: int


@step(retries=5)
def gather(of: tuple[str, str]) -> Figures:
    """Ask the warehouse for one month and region."""
    month, region = of
    count, cents = sales.of_month(WAREHOUSE, month, region)
    return Figures(region=region, sales=count, cents=cents)


@step
def file_report(month: str, text: str) -> tuple[str, str]:
    """Write the report whole or not at all; give its path and digest."""
    ARCHIVE.mkdir(exist_ok=True)
    draft, final = ARCHIVE / f"{month}.draft", ARCHIVE / f"{month}.md"
    draft.write_text(text, encoding="utf-8")
    draft.replace(final)
    return str(final), hashlib.sha256(text.encode()).hexdigest()


def euros(cents: int) -> str:
    """An amount, as people write it."""
    return f"{cents / 100:,.2f} €"


def render(month: str, now: list[Figures], then: list[Figures]) -> str:
    """Lay out the report. It computes from its arguments alone, so the body may call it as it is."""
    lines = [f"# Sales in {month}", "", "| region | sales | sum | change |", "|---|---|---|---|"]
    for figures, earlier in zip(now, then, strict=True):
        change = f"{(figures.cents / earlier.cents - 1):+.1%}" if earlier.cents else "new"
        lines.append(f"| {figures.region} | {figures.sales:,} | {euros(figures.cents)} | {change} |")
    best = max(now, key=lambda figures: figures.cents)
    total = sum(figures.cents for figures in now)
    lines += ["", f"Together {euros(total)}; {best.region} is ahead."]
    return "\n".join(lines) + "\n"


@workflow(id="build-report", idempotency_key="report-{month}")
async def build_report(input: Month, step: StepContext) -> Filed:
    """Build the report of one month."""
    now, then = await asyncio.gather(
        step.map("now", gather, [(input.month, region) for region in sales.REGIONS]),
        step.map("before", gather, [(input.before(), region) for region in sales.REGIONS]),
    )
    await step.emit("gathered", {"regions": len(now)})
    text = render(input.month, now, then)
    file, sha256 = await file_report(input.month, text)
    return Filed(file=file, sha256=sha256, cents=sum(figures.cents for figures in now))


def main() -> None:
    """Build a report, and ask for it again."""
    sales.fill(WAREHOUSE)
    with Runtime("report.duckdb", workflows=[build_report]) as runtime:
        filed = runtime.start(build_report, Month(month="2030-03")).result(timeout="30s")
        print(Path(filed.file).read_text(encoding="utf-8"))
        again = runtime.start(build_report, Month(month="2030-03")).result(timeout="30s")
        print("asked for again, it is the same:", again == filed)


if __name__ == "__main__":
    main()
