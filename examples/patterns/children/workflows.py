"""Parent and children: translate a book chapter by chapter, each one a run of its own, and mend what a child can't.

Children have their own status, history and retries. A child that fails is an exception in the parent. A parent that is
cancelled cancels them, but for the one that was started to go on alone.
"""

from __future__ import annotations

from pathlib import Path

from pydantic import BaseModel

from perdure.strict import ChildFailed, FatalError, Runtime, StepContext, step, workflow

SHELF = "translations"
WORDS = {"de": {"once": "einst", "upon": "auf", "a": "einer", "time": "Zeit"}}


class Chapter(BaseModel):
    book: str
    number: int
    text: str
    language: str


class Book(BaseModel):
    title: str
    language: str
    chapters: list[str]


class NoTranslator(FatalError):
    """Nobody here speaks the language."""


@step
def translate(chapter: Chapter) -> str:
    words = WORDS.get(chapter.language)
    if words is None:
        raise NoTranslator(f"nobody translates into {chapter.language!r}")
    unknown = [word for word in chapter.text.split() if word not in words]
    if unknown:
        raise FatalError(f"chapter {chapter.number} has words that nobody knows: {', '.join(unknown)}")
    return " ".join(words[word] for word in chapter.text.split())


@step
def shelve(title: str, chapters: list[str]) -> str:
    """Put the book on the shelf, under its title: doing it again changes nothing."""
    Path(SHELF).mkdir(exist_ok=True)
    file = Path(SHELF) / f"{title}.txt"
    file.write_text("\n".join(chapters) + "\n", encoding="utf-8")
    return str(file)


@step
def announce(title: str) -> None:
    print(f"everybody knows by now that {title!r} is being translated")


@workflow(id="translate-chapter")
async def translate_chapter(input: Chapter) -> str:
    """Translate one chapter."""
    return await translate(input)


@workflow(id="announce-book")
async def announce_book(input: str, step: StepContext) -> None:
    """Tell the press, when it is time."""
    await step.sleep("press embargo", "300ms")
    await announce(input)


@workflow(id="translate-book")
async def translate_book(input: Book, step: StepContext) -> str:
    """Translate a book: all chapters at once, those that fail are left as they were."""
    await step.spawn("announce", announce_book, input.title, on_parent_close="abandon")
    children = []
    for number, text in enumerate(input.chapters, start=1):
        chapter = Chapter(book=input.title, number=number, text=text, language=input.language)
        children.append(await step.spawn(f"chapter {number}", translate_chapter, chapter))

    translated = []
    for child, original in zip(children, input.chapters, strict=True):
        try:
            translated.append(await child.result())
        except ChildFailed as failed:
            translated.append(f"[{original}]")
            await step.emit("left-as-it-was", failed.message)
    return await shelve(input.title, translated)


def main() -> None:
    """Translate a book of three chapters, one of which has a word that nobody knows."""
    book = Book(title="tale", language="de", chapters=["once upon a time", "once a wug", "a time"])
    with Runtime("children.duckdb", workflows=[translate_book, translate_chapter, announce_book]) as runtime:
        run = runtime.start(translate_book, book)
        print(Path(run.result(timeout="30s")).read_text(encoding="utf-8"), end="")
        for child in run.children():
            status = child.wait(timeout="10s")
            print(f"  {status.workflow}: {status.status}")


if __name__ == "__main__":
    main()
