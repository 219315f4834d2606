"""Document approval: all reviewers at once; the first "no" sends it back, and the next draft goes round again.

Every reviewer has a hook of their own, and the body waits for all of them together. One rejection decides, so the
other hooks are closed: who still clicks an old link is told that it is over.
"""

from __future__ import annotations

import asyncio
from pathlib import Path

from pydantic import BaseModel, Field

from perdure.strict import HookRefused, Runtime, StepContext, step, workflow

SHELF = "published"  # the folder where approved documents end up


class Document(BaseModel):
    title: str
    text: str
    reviewers: list[str] = Field(min_length=1)


class Review(BaseModel):
    by: str
    approved: bool
    comment: str = ""


class Outcome(BaseModel):
    published: bool
    drafts: int
    reviews: list[Review]


@step
def publish(document: Document) -> str:
    """Put the document on the shelf, under its title: doing it again changes nothing."""
    folder = Path(SHELF)
    folder.mkdir(exist_ok=True)
    file = folder / f"{document.title}.txt"
    file.write_text(document.text, encoding="utf-8")
    return str(file)


async def review_round(document: Document, draft: int, step: StepContext) -> list[Review]:
    """Have everybody review a draft; the first rejection ends the round."""
    hooks = [step.hook(f"review:{document.title}:{draft}:{name}", schema=Review) for name in document.reviewers]
    await step.emit("to-review", [hook.token for hook in hooks])

    async def answer(index: int) -> Review:
        review: Review = await hooks[index]
        return review

    reviews: list[Review] = []
    waiting = [asyncio.create_task(answer(index)) for index in range(len(hooks))]
    for task in asyncio.as_completed(waiting):
        reviews.append(await task)
        if not reviews[-1].approved:
            break
    for task, hook in zip(waiting, hooks, strict=True):
        task.cancel()
        hook.dispose()
    return reviews


@workflow(id="approve-document", timeout="90d")
async def approve_document(input: Document, step: StepContext) -> Outcome:
    """Take a document through as many drafts as it needs."""
    reviews: list[Review] = []
    draft = 1
    while True:
        latest = await review_round(input, draft, step)
        reviews += latest
        if latest[-1].approved:
            await publish(input)
            return Outcome(published=True, drafts=draft, reviews=reviews)
        revised = await step.wait_for_signal("revised", timeout="30d", schema=Document)
        if revised is None:
            return Outcome(published=False, drafts=draft, reviews=reviews)
        input = revised
        draft += 1


def main() -> None:
    """Play a document whose second draft is approved."""
    with Runtime("document_approval.duckdb", workflows=[approve_document]) as runtime:
        handbook = Document(title="handbook", text="Be kind.", reviewers=["ann", "bob", "cy"])
        run = runtime.start(approve_document, handbook)
        news = iter(run.events())

        ann, bob, cy = next(news).payload
        runtime.resume_hook(ann, Review(by="ann", approved=True))
        runtime.resume_hook(bob, Review(by="bob", approved=False, comment="and on time"))
        runtime.idle()
        try:
            runtime.resume_hook(cy, Review(by="cy", approved=True))
        except HookRefused as refused:
            print("cy is too late:", refused.message)

        run.signal("revised", handbook.model_copy(update={"text": "Be kind, and on time."}))
        for token in next(news).payload:
            runtime.resume_hook(token, Review(by=token.rpartition(":")[2], approved=True))
        outcome = run.result(timeout="10s")
        print(f"published after {outcome.drafts} drafts and {len(outcome.reviews)} reviews:")
        print(Path(SHELF, "handbook.txt").read_text(encoding="utf-8"))


if __name__ == "__main__":
    main()
