"""A limited number of places, given to waiting requests by priority and then by arrival."""

from __future__ import annotations

import asyncio
import heapq
import itertools
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from executors.errors import ExecutorError


class Places:
    """As many places as an engine runs requests at once. Used on one event loop.

    `peak` is the most that were ever taken at the same time.
    """

    def __init__(self, count: int) -> None:
        self._free = count
        self._count = count
        self._arrival = itertools.count()
        self._waiting: list[tuple[int, int, asyncio.Future[None]]] = []
        self.peak = 0

    @asynccontextmanager
    async def one(
        self, *, priority: int, fate: asyncio.Future[ExecutorError]
    ) -> AsyncIterator[None]:
        """Hold a place; stop waiting for it when `fate` is decided, and raise that."""
        await self._take(priority, fate)
        try:
            yield
        finally:
            self._give()

    async def _take(self, priority: int, fate: asyncio.Future[ExecutorError]) -> None:
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        heapq.heappush(self._waiting, (priority, next(self._arrival), turn))
        self._hand_out()
        try:
            await asyncio.wait((turn, fate), return_when=asyncio.FIRST_COMPLETED)
            if fate.done():
                raise fate.result()
        except BaseException:
            if turn.done():
                self._give()
            turn.cancel()
            raise

    def _give(self) -> None:
        self._free += 1
        self._hand_out()

    def _hand_out(self) -> None:
        while self._free and self._waiting:
            _, _, turn = heapq.heappop(self._waiting)
            if not turn.done():
                self._free -= 1
                self.peak = max(self.peak, self._count - self._free)
                turn.set_result(None)
