"""A planted bug: what is returned depends on which branch finishes first.

Branches that fill one list fill it in the order in which their steps happen to complete. `gather` gives its results in
the order in which they were asked for.
"""

from __future__ import annotations

import asyncio

from perdure.strict import step, workflow


@step
async def quote(shop: str) -> int:
    return len(shop)


@workflow(id="order-dependence")
async def best_shop(input: str, step) -> str:
    quotes: list[tuple[str, int]] = []

    async def ask(shop: str) -> None:
        cents = await quote(shop)
        quotes.append((shop, cents))

    await asyncio.gather(ask("north"), ask("south"))
    return quotes[0][0]


@workflow(id="order-dependence-mended")
async def best_shop_mended(input: str, step) -> str:
    async def ask(shop: str) -> tuple[str, int]:
        return shop, await quote(shop)

    quotes = await asyncio.gather(ask("north"), ask("south"))
    return quotes[0][0]
