"""Progress and logs: a step writes streams while it works, and anybody reads along, also after losing the connection.

Chunks are durable in their order. A reader that comes back says how many it has seen and misses nothing. A step that
is tried again writes again, so its chunks say which attempt they are of; the heartbeat tells the new attempt where to
go on.
"""

from __future__ import annotations

import asyncio
import logging

from pydantic import BaseModel

from perdure.strict import Chunk, Context, RetryPolicy, RunHandle, Runtime, StepContext, current_step, step, workflow


class Video(BaseModel):
    name: str
    frames: int


class Progress(BaseModel):
    done: int
    of: int


@step(retries=RetryPolicy(max_attempts=3, base_delay="100ms"), heartbeat_timeout="30s")
async def encode(video: Video) -> int:
    """Encode a video; its graphics card gives up once, half-way."""
    me = current_step()
    progress, log = me.stream("progress"), me.stream("log")
    begin = me.last_heartbeat or 0
    await log.write(f"attempt {me.attempt} begins with frame {begin}")
    for frame in range(begin, video.frames):
        if frame == video.frames // 2 and me.attempt == 1:
            await log.write("the graphics card gave up")
            raise RuntimeError("the graphics card gave up")
        await asyncio.sleep(0)  # here the work is done
        me.heartbeat(frame + 1)
        if (frame + 1) % 25 == 0:
            await progress.write(Progress(done=frame + 1, of=video.frames))
    await log.write("done")
    progress.close()
    log.close()
    return video.frames


@workflow(id="publish-video")
async def publish_video(input: Video, step: StepContext, ctx: Context) -> str:
    """Encode and publish one video."""
    frames = await encode(input)
    ctx.log.info("encoded", video=input.name, frames=frames)  # once, also when the run is replayed
    return f"{input.name}: {frames} frames"


async def read_twice(run: RunHandle) -> None:
    """Read the log, lose the connection after two lines, and come back for the rest."""
    seen = 0
    async for line in run.stream("log"):
        print("log     ", line)
        seen += 1
        if seen == 2:
            break
    print("log      … reconnected")
    async for line in run.stream("log", start=seen):
        print("log     ", line)


async def main() -> None:
    """Encode one video, and read along."""
    async with Runtime("progress.duckdb", workflows=[publish_video]) as runtime:
        run = await runtime.start(publish_video, Video(name="holiday", frames=100))
        reading = asyncio.create_task(read_twice(run))
        chunk: Chunk
        async for chunk in run.stream("progress").chunks():
            print(f"progress {chunk.value.done} of {chunk.value.of}, attempt {chunk.attempt}")
        await reading
        print(await run.result(timeout="30s"))


if __name__ == "__main__":
    logging.basicConfig(level=logging.INFO, format="%(name)s: %(message)s")
    asyncio.run(main())
