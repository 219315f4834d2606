"""A search through a collection, a page at a time, so that neither memory nor the event loop has to bear all of it.

Knows pages and filters. Must not know what is done with what is found.
"""

from __future__ import annotations

from functools import partial
from typing import Final

from perdure.services.backing import Loop
from perdure.services.document import Document, matching
from perdure.services.documents import Documents, Page
from perdure.services.filters import Filter

_FIRST: Final = 64  # documents in the first page: often it has what is wanted
_LARGEST: Final = 16_384  # in a later one; the ledger goes through the whole collection for each page
_PAGE_CHARACTERS: Final = 16 << 20  # that a page may have, by those of the page before it
_IN_A_THREAD: Final = 128  # documents from which on they are not looked through on the loop


class Search:
    """The documents of a collection that match, in order of their ids.

    Args:
        after: only those whose id is greater.
    """

    def __init__(
        self, documents: Documents, collection: str, wanted: Filter, loop: Loop, after: str | None = None
    ) -> None:
        self._documents = documents
        self._collection = collection
        self._wanted = wanted
        self._loop = loop
        self._after = after
        self._size = _FIRST
        self._is_over = False

    async def keys(self) -> list[str] | None:
        """The ids of the next page, which may be none; None at the end. Those that the filter names are not read."""
        if self._is_over:
            return None
        if self._wanted.ids is not None:
            self._is_over = True
            return self._named()
        if self._wanted.wants_all:
            return [key for key, _ in (await self._next()).found]
        return [key for key, _ in await self._chosen(await self._next())]

    async def page(self) -> list[tuple[str, Document]] | None:
        """The next page of what matches, which may be none of it; None at the end.

        It counts as read: if somebody else changes one of these before this transaction does, that is a conflict.
        """
        if self._is_over:
            return None
        if self._wanted.ids is not None:
            self._is_over = True
            read = [(key, await self._documents.read(self._collection, key)) for key in self._named()]
            return matching([(key, each) for key, each in read if each is not None], self._wanted)
        page = await self._next()
        chosen = await self._chosen(page)
        self._documents.depend_on(self._collection, {key: page.versions[key] for key, _ in chosen})
        return chosen

    async def _next(self) -> Page:
        page = await self._documents.page(self._collection, self._after, self._size, self._wanted.needles)
        self._is_over = page.last is None
        self._after, self._size = page.last, _next_size(page)
        return page

    async def _chosen(self, page: Page) -> list[tuple[str, Document]]:
        if len(page.found) < _IN_A_THREAD:
            return matching(page.found, self._wanted)
        return await self._loop.offload(partial(matching, page.found, self._wanted))

    def _named(self) -> list[str]:
        return sorted(key for key in self._wanted.ids or () if self._after is None or key > self._after)


def _next_size(page: Page) -> int:
    """Grow quickly, but by no more than memory allows if the next documents are as large as these."""
    count = max(1, len(page.found))
    characters = sum(len(encoded.body) for _, encoded in page.found) // count + 1
    return max(1, min(count * 16, _LARGEST, _PAGE_CHARACTERS // characters))
