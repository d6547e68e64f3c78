"""What a worker looks at again and again while its engine runs, on the engine's loop."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Awaitable, Callable, Sequence
from typing import TYPE_CHECKING

import redis

from executors import HealthState
from ledger import Attention
from routing import INGEST, list_keys
from tasks import backlog, ledger_id
from tasks.client import Client
from tasks.keeper import ENGINE_LOOP, Keeper

if TYPE_CHECKING:
    from tasks.engine_host import EngineHost

logger = logging.getLogger(__name__)


class Watches:
    """The coroutines that watch an engine host; each begins again if it goes wrong."""

    def __init__(
        self, host: EngineHost, *, client: Client, keeper: Keeper, queues: Sequence[str]
    ) -> None:
        self._host = host
        self._broker = ledger_id.connect(client.settings)
        self._keeper = keeper
        self._keys = [list_keys(queue)[0] for queue in queues if queue != INGEST]
        self._timing = client.settings.timing
        self._running: list[asyncio.Task[None]] = []
        self._orphans: set[tuple[str, int]] = set()

    async def start(self) -> None:
        """Start watching; ends with the loop."""
        watches = (self._tick, self._watch_urgent, self._watch_engine)
        self._running = [asyncio.create_task(_go_on(watch)) for watch in watches]

    async def _tick(self) -> None:
        while True:
            self._keeper.tick(ENGINE_LOOP)
            await asyncio.sleep(1.0)

    def attend(self, seen: Attention) -> None:
        """Stop what is called off, and give back what this session holds and nobody runs."""
        # Of one job several messages may be here, of which one was claimed.
        slots = tuple(self._host.slots.values())
        for slot in slots:
            if slot.claimed and slot.job_id in seen.cancel:
                self._host.stop_slot(slot.pid, "cancel")
        # Twice in a row: what was claimed between the two looks is not an orphan.
        here = {slot.job_id for slot in slots}
        nobodys = {held for held in seen.running.items() if held[0] not in here}
        for job_id, fence in nobodys & self._orphans:
            # A lost engine's jobs go back with its session, which counts the crash.
            if not self._host.engine_lost:
                logger.error("job %s is held by this worker, and nothing runs it", job_id)
                self._host.admission.hand_back(job_id, fence)
        self._orphans = nobodys - self._orphans

    async def _watch_urgent(self) -> None:
        """Count the interactive jobs in the broker while only the places kept for them are free."""
        while True:
            await asyncio.sleep(self._timing.attention_s)
            urgent, places = 0, self._host.places
            if 0 < places.free <= places.kept:
                with contextlib.suppress(redis.RedisError, OSError):
                    urgent = min(
                        await asyncio.to_thread(backlog.length, self._broker, self._keys),
                        places.free,
                    )
            self._host.urgent = urgent
            if urgent:
                self._host.on_free()

    async def _watch_engine(self) -> None:
        while True:
            await asyncio.sleep(self._timing.engine_check_s)
            health = self._host.executor.health()
            if health.state in (HealthState.DEAD, HealthState.STUCK):
                self._host.lose_engine(health.reason or f"the engine is {health.state}")
                return


async def _go_on(watch: Callable[[], Awaitable[None]]) -> None:
    """Keep a watch going, whatever goes wrong in it; one that returns has done its work."""
    while True:
        try:
            await watch()
        except Exception:
            logger.exception("%s went wrong and begins again", watch)
            await asyncio.sleep(1.0)
        else:
            return
