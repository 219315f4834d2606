"""Fan-out and fan-in: count the words of many files at once, a step each, and add up what they found.

`step.map` keeps the order of its items whatever finishes first, and at most `concurrency` of the steps are at work.
What each found is recorded, so that a restart counts only the files that were not done.
"""

from __future__ import annotations

from collections import Counter
from pathlib import Path

from perdure.strict import Runtime, StepContext, step, workflow


@step
def list_texts(folder: str) -> list[str]:
    """The files of a folder. A step, because what a folder holds may differ the next time."""
    return sorted(str(path) for path in Path(folder).glob("*.txt"))


@step
def count_words(file: str) -> dict[str, int]:
    """How often each word of a file occurs. All of them: one that leads in no file may lead in all together."""
    return Counter(Path(file).read_text(encoding="utf-8").lower().split())


@workflow(id="count-folder")
async def count_folder(input: str, step: StepContext) -> str:
    """Count the words of all texts in a folder."""
    files = await list_texts(input)
    total: Counter[str] = Counter()
    for counted in await step.map("count", count_words, files, concurrency=4):
        total.update(counted)
    favourite = max(total, key=lambda word: (total[word], word), default="-")
    return f"{total.total()} words in {len(files)} files; the favourite is {favourite!r}"


def write_texts(folder: Path, count: int) -> None:
    """Make something to count."""
    folder.mkdir(exist_ok=True)
    for number in range(count):
        (folder / f"{number:02}.txt").write_text("durable " * (number % 3 + 2) + "and simple\n" * number)


def main() -> None:
    """Count twelve files."""
    write_texts(Path("texts"), 12)
    with Runtime("fan_out.duckdb", workflows=[count_folder]) as runtime:
        print(runtime.start(count_folder, "texts").result(timeout="30s"))


if __name__ == "__main__":
    main()
