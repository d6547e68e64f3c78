"""The places of an engine: how many samples may be in flight, and who is served next.

A weighted semaphore for one event loop. Waiters are served by rank, then in order of arrival; the
first waiter is never overtaken by a smaller one behind it, so nobody starves.
"""

from __future__ import annotations

import asyncio
import heapq
import itertools

LATER_WAVE = 0
NEW_JOB = 1


class Places:
    """`total` places of one engine; `kept` of them only for interactive work."""

    def __init__(self, *, total: int, kept: int = 2) -> None:
        self.total = total
        self.kept = kept if total > 4 * kept else 0
        self.free = total
        self._order = itertools.count()
        self._waiting: list[tuple[int, int, int, int, asyncio.Future[None]]] = []
        self._waking = 0

    async def take(self, count: int, *, kind: int = NEW_JOB, priority: int = 3) -> None:
        """Wait until `count` places are free and take them."""
        # Whoever was served and has not woken up yet is still ahead of whoever comes now.
        if not (self._waiting or self._waking) and self._fits(count, kind, priority):
            self.free -= count
            return
        ready: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        heapq.heappush(self._waiting, (kind, priority, next(self._order), count, ready))
        if not self._waking:
            self._serve()
        try:
            await ready
            self._woke()
        except asyncio.CancelledError:
            if ready.done() and not ready.cancelled():
                self._woke()
                self.give(count)
            else:
                ready.cancel()
                self._serve()
            raise

    def give(self, count: int) -> None:
        """Give places back."""
        self.free += count
        self._serve()

    def _woke(self) -> None:
        self._waking -= 1
        self._serve()

    def _serve(self) -> None:
        while self._waiting:
            kind, priority, _, count, ready = self._waiting[0]
            if ready.cancelled():
                heapq.heappop(self._waiting)
                continue
            if not self._fits(count, kind, priority):
                return
            heapq.heappop(self._waiting)
            self.free -= count
            self._waking += 1
            ready.set_result(None)

    def _fits(self, count: int, kind: int, priority: int) -> bool:
        kept = 0 if kind == LATER_WAVE or priority == 0 else self.kept
        return self.free - kept >= min(count, self.total - kept)
