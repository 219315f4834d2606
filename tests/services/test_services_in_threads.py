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
            in_step = await (await runtime.start("lists")).result(timeout="20s")

            def from_outside(number: int) -> int:
                return len(runtime.kv.list(f"{number}", limit=1))  # type: ignore[arg-type]  # in a thread it is done

            outside = await asyncio.gather(*[asyncio.to_thread(from_outside, number) for number in range(THREADS)])
            return in_step, outside

    assert asyncio.run(main()) == ([1] * THREADS, [1] * THREADS)


@step(retries=0)
async def reads_then_writes() -> None:
    kv = current_step().kv
    count = await kv.get("n", 0)
    await asyncio.sleep(0)
    await kv.put("n", count + 1)


@workflow(id="reads-then-writes")
async def reads_then_writes_once(input: int) -> None:
    await reads_then_writes()


def test_of_many_steps_that_read_and_write_one_key_none_fails_and_none_is_lost() -> None:
    async def main() -> int:
        async with asyncio.timeout(30), Runtime(MemoryLedger(), workflows=[reads_then_writes_once]) as runtime:
            for run in [await runtime.start("reads-then-writes", number) for number in range(20)]:
                await run.result(timeout="20s")
            return int(await runtime.kv.get("n"))

    assert asyncio.run(main()) == 20
