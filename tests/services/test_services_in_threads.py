"""Services used from many threads at once, all of which the loop itself could want."""

from __future__ import annotations

import asyncio

from perdure import MemoryLedger, Runtime
from perdure.strict import current_step, step, workflow

THREADS = 40  # more than the default pool of any event loop has


@step(retries=0)
async def lists_from_threads() -> list[int]:
    kv = current_step().blocking.kv

    def work(number: int) -> int:
        kv.put(f"{number}", number)
        return len(kv.list(f"{number}", limit=1))

    return await asyncio.gather(*[asyncio.to_thread(work, number) for number in range(THREADS)])


@workflow(id="lists")
async def lists(input: None) -> list[int]:
    return await lists_from_threads()


def test_operations_that_read_go_on_while_all_threads_of_the_loop_wait_for_one() -> None:
    async def main() -> tuple[list[int], list[int]]:
        async with asyncio.timeout(20), Runtime(MemoryLedger(), workflows=[lists], drain="1s") as runtime:
            in_step = await (await runtime.start("lists")).result(timeout="10s")

            def from_outside(number: int) -> int:
                return len(runtime.kv.list(f"{number}", limit=1))  # type: ignore[arg-type]  # in a thread it is done

            outside = await asyncio.gather(*[asyncio.to_thread(from_outside, number) for number in range(THREADS)])
            return in_step, outside

    assert asyncio.run(main()) == ([1] * THREADS, [1] * THREADS)
