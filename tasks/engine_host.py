"""The engine of a worker and the loop it lives on: slots become coroutines beside one executor.

Everything on the loop thread begins here: admission, runs, the cancel flag, the engine's health.
Celery's side of it is `tasks/pool.py`. Nothing here blocks the loop: what may block goes through
the finisher.
"""

from __future__ import annotations

import asyncio
import gc
import itertools
import logging
import random
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from typing import Any

import uvloop

import executors
from executors import Completion, EngineConfig, Executor, LoadProgress
from ledger import Attention
from monitoring import log_context, log_words
from monitoring.log_context import JobContext
from tasks import narration
from tasks.admission import Admission
from tasks.client import Client
from tasks.evidence import Issuer
from tasks.finisher import Finisher
from tasks.keeper import Keeper
from tasks.places import Places
from tasks.runner import Ending, Runner
from tasks.scribe import Scribe
from tasks.slots import Slot
from tasks.stream import EventSink, EventWriter
from tasks.token_meter import TokenMeter
from tasks.watches import Watches

logger = logging.getLogger(__name__)

OVERBOOKING = 1.25
RESERVE_S = 0.5
"""As many messages are kept in hand as jobs ended in this time."""


class EngineHost:
    """Runs one executor on a loop of its own and every claimed job beside it.

    `on_engine_lost` is called once, from any thread, when the engine died or went silent; `on_free`
    whenever a slot has become free; `on_flawed` with a message that names no job, why, and details.
    """

    def __init__(
        self,
        *,
        config: EngineConfig,
        client: Client,
        scribe: Scribe,
        keeper: Keeper,
        writer: EventWriter,
        issuer: Issuer,
        queues: Sequence[str],
        on_engine_lost: Callable[[str], None],
        on_flawed: Callable[[Any, str, str], None],
        on_free: Callable[[], None],
        has_backlog: Callable[[], bool],
        tokens: TokenMeter,
    ) -> None:
        self._config = config
        self._client = client
        self._scribe = scribe
        self._keeper = keeper
        self._writer = writer
        self._issuer = issuer
        self._on_engine_lost = on_engine_lost
        self.on_free = on_free
        self._has_backlog = has_backlog
        self._tokens = tokens
        self._loop = uvloop.new_event_loop()
        self._thread = threading.Thread(target=self._turn, name="engine-loop", daemon=True)
        self._pids = itertools.count(1)
        self._watches = Watches(self, client=client, keeper=keeper, queues=queues)
        self.engine_lost = False
        self.finisher = Finisher(client=client, scribe=scribe, on_ended=self._forget)
        self.slots: dict[int, Slot] = {}
        self.executor: Executor[Completion] = executors.create(config)
        self.places = Places(total=max(1, int(config.max_num_seqs * OVERBOOKING)))
        self.admission = Admission(
            client=client,
            scribe=scribe,
            keeper=keeper,
            finisher=self.finisher,
            places=self.places,
            on_flawed=on_flawed,
        )
        self.typical_wave = 3
        self.urgent = 0
        self._ended: deque[float] = deque(maxlen=self.places.total)
        self._runner: Runner | None = None

    def start(self, on_progress: Callable[[LoadProgress], None]) -> None:
        """Start the loop and the engine; returns when the engine can answer.

        Raises:
            executors.ExecutorError: the engine did not start; nothing is left running.
        """
        self._thread.start()
        self.finisher.start()
        try:
            self.call(self.executor.load(on_progress)).result()
        except BaseException:
            self.finisher.stop()
            self._end_loop()
            raise
        # What an engine's libraries have made stays: the collector need not look at it again.
        gc.collect()
        gc.freeze()
        self._runner = Runner(
            executor=self.executor,
            places=self.places,
            scribe=self._scribe,
            catalogue=self._client.catalogue,
            issuer=self._issuer,
            sink=lambda job_id: EventSink(job_id, self._writer),
            jitter=random.random,
            on_tokens=self._tokens.add,
        )
        self.call(self._watches.start()).result()

    def admit(self, slot: Slot) -> None:
        """Take a message from Celery; the job is claimed when its first wave fits."""
        self.slots[slot.pid] = slot
        self.admission.waiting.add(slot.pid)
        self.urgent = max(0, self.urgent - 1)
        self._loop.call_soon_threadsafe(self._spawn, slot)

    def next_pid(self) -> int:
        """A number of our own for `terminate_job`."""
        return next(self._pids)

    @property
    def room(self) -> int:
        """How many more messages are worth taking from the queue now.

        As many as can start at once. While there is a backlog, as many again as ended lately: an
        engine whose jobs end by the dozen would run half empty while their successors are fetched
        one by one. Without one another worker could begin sooner what is kept here.
        """
        can_start = -(-self.places.free // max(1, self.typical_wave)) if self.admission.open else 0
        since = time.monotonic() - RESERVE_S
        while self._ended and self._ended[0] < since:
            self._ended.popleft()
        reserve = len(self._ended) if self._has_backlog() else 0
        return max(0, can_start + reserve - len(self.admission.waiting), self.urgent)

    def stop_all(self, reason: str) -> None:
        """Stop every job: `drain` hands them back, `lost` and `engine` leave the ledger alone.

        What a lost session has not claimed yet is claimed under the next one.
        """

        def stop() -> None:
            for slot in tuple(self.slots.values()):
                if slot.claimed or reason != "lost":
                    self.stop_slot(slot.pid, reason)

        self._loop.call_soon_threadsafe(stop)

    def attend(self, seen: Attention) -> None:
        """Act on what the ledger says of this session's jobs. From any thread."""
        self._loop.call_soon_threadsafe(self._watches.attend, seen)

    def return_unclaimed(self) -> None:
        """Put messages that were not claimed yet back into their queues, for other workers."""

        def put_back() -> None:
            for slot in tuple(self.slots.values()):
                if not slot.claimed:
                    self.stop_slot(slot.pid, "return")

        self._loop.call_soon_threadsafe(put_back)

    def drop_unclaimed(self) -> None:
        """Forget messages that were not claimed yet: they will come again."""

        def drop() -> None:
            for slot in tuple(self.slots.values()):
                if not slot.claimed and slot.task is not None:
                    slot.task.cancel()

        self._loop.call_soon_threadsafe(drop)

    def stop(self) -> None:
        """Stop the engine, then the loop; leaves no process behind. Idempotent."""
        if not self._thread.is_alive():
            return
        self.finisher.stop()
        try:
            self.call(self.executor.unload()).result(timeout=60)
        finally:
            self._end_loop()

    def call(self, coroutine: Any) -> Future[Any]:
        """Run a coroutine on the loop from another thread."""
        return asyncio.run_coroutine_threadsafe(coroutine, self._loop)

    def _turn(self) -> None:
        asyncio.set_event_loop(self._loop)
        self._loop.run_forever()

    def _end_loop(self) -> None:
        async def cancel_rest() -> None:
            rest = [task for task in asyncio.all_tasks() if task is not asyncio.current_task()]
            for task in rest:
                task.cancel()
            await asyncio.gather(*rest, return_exceptions=True)

        self.call(cancel_rest()).result(timeout=30)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(timeout=10)

    def _spawn(self, slot: Slot) -> None:
        slot.task = self._loop.create_task(self._live(slot))

    async def _live(self, slot: Slot) -> None:
        """A message's life: wait for places, claim, run, finish."""
        log_context.bind(JobContext(job_id=slot.job_id))
        ending: Ending | None = None
        try:
            ending = await self._claim_and_run(slot)
        except asyncio.CancelledError:
            if slot.hold.stopping == "cancel" and not slot.claimed:
                self.finisher.submit(slot.drop)
            if slot.hold.stopping == "return" and not slot.claimed:
                self.finisher.submit(slot.put_back)
        except Exception:
            logger.exception("job %s: the run ended in an unexpected way", slot.job_id)
        finally:
            self.admission.give_places(slot)
            self._ended.append(time.monotonic())
            if ending is None:
                self._forget([slot])
            else:
                slot.ended = True
                self.finisher.finish(slot, ending)

    async def _claim_and_run(self, slot: Slot) -> Ending | None:
        async with self.admission.claimed(slot) as claim:
            if claim is None:
                return None
            self.typical_wave = slot.hold.prepaid
            narration.bind(claim.job)
            self.finisher.submit(slot.accept)
            assert self._runner is not None
            ending = await self._runner.run(claim, slot.hold)
        if ending.state == "engine_dead":
            self.lose_engine(str((ending.error or {}).get("message", "the engine died")))
        return ending

    def _forget(self, slots: Sequence[Slot]) -> None:
        """Free the slots of what has ended. From any thread."""
        for slot in slots:
            self.slots.pop(slot.pid, None)
            self.admission.waiting.discard(slot.pid)
        self.on_free()

    def stop_slot(self, pid: int, reason: str) -> None:
        """Stop one job; the reason decides what becomes of it. On the loop."""
        slot = self.slots.get(pid)
        if slot is None or slot.task is None or slot.hold.stopping is not None:
            return
        slot.hold.stopping = reason
        slot.task.cancel()

    def lose_engine(self, reason: str) -> None:
        """Take the engine for lost: stop every job, and say so once. On the loop."""
        if self.engine_lost:
            return
        self.engine_lost = True
        # An engine's last words may quote a prompt; they are in the event that is written of it.
        logger.critical("the engine is lost; it said %s", log_words.digested(reason))
        for pid in tuple(self.slots):
            self.stop_slot(pid, "engine")
        self._on_engine_lost(reason)
