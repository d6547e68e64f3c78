"""One wave: all its samples drawn at once, given out as they finish, none left running."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Mapping
from typing import Protocol

from executors.resampling.errors import SampleMisplaced
from executors.resampling.types import Drawn


class Draw(Protocol):
    """Performs one sample. Cancelling it must abort the sample in the engine."""

    async def __call__(self, index: int) -> Drawn:
        """Draw sample `index` with the seed that belongs to it."""
        ...


async def run_wave(
    draw: Draw, wave: range, stored: Mapping[int, Drawn]
) -> AsyncGenerator[tuple[int, Drawn], None]:
    """Yield the samples of a wave as they finish, stored ones first.

    When one fails, its error is raised as it is, after the others were cancelled and awaited; of
    several that fail at once it is the one of the lowest index. Closing the generator, or
    cancelling the task that reads it, ends the others in the same way.
    """
    tasks: dict[asyncio.Future[Drawn], int] = {}
    try:
        for index in wave:
            if index not in stored:
                tasks[asyncio.ensure_future(draw(index))] = index
        for index in wave:
            if index in stored:
                yield index, _placed(index, stored[index])
        running = set(tasks)
        while running:
            done, running = await asyncio.wait(running, return_when=asyncio.FIRST_COMPLETED)
            for task in sorted(done, key=tasks.__getitem__):
                yield tasks[task], _placed(tasks[task], task.result())
    finally:
        await _stop(set(tasks))


async def _stop(tasks: set[asyncio.Future[Drawn]]) -> None:
    """Cancel what still runs and wait until it has ended, even if cancelled again meanwhile."""
    interrupted = False
    while running := {task for task in tasks if not task.done()}:
        for task in running:
            task.cancel()
        try:
            await asyncio.wait(running)
        except asyncio.CancelledError:
            interrupted = True
    for task in tasks:
        if not task.cancelled():
            # Looked at, so that asyncio does not log a failure that came second as never retrieved.
            task.exception()
    if interrupted:
        raise asyncio.CancelledError


def _placed(index: int, drawn: Drawn) -> Drawn:
    if drawn.index != index:
        raise SampleMisplaced(
            f"sample {index} was asked for and sample {drawn.index} came",
            suggested_action="report this as a defect of the caller of the loop",
            details={"asked": index, "came": drawn.index},
        )
    return drawn
