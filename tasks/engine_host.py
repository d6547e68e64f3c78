"""The engine of a worker and the loop it lives on: slots become coroutines beside one executor.

Everything on the loop thread is here: admission, claims, runs, the cancel flag, the engine's
health. Celery's side of it is `tasks/pool.py`. Nothing here blocks the loop: what may block goes
through the finisher.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
import gc
import itertools
import logging
import random
import threading
import time
from collections import deque
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from concurrent.futures import Future
from typing import Any

import executors
from executors import Completion, EngineConfig, Executor, LoadProgress
from ledger import (
    Attention,
    Claim,
    LedgerError,
    Refusal,
    RefusalReason,
    jobs,
)
from tasks.client import Client
from tasks.finisher import Finisher
from tasks.keeper import Keeper
from tasks.places import NEW_JOB, Places
from tasks.runner import Ending, Runner
from tasks.scribe import Scribe
from tasks.slots import Slot
from tasks.stream import EventSink, EventWriter
from tasks.watches import Watches

logger = logging.getLogger(__name__)

OVERBOOKING = 1.25
RESERVE_S = 2.0
"""A message waits about this long at most in the hands of a worker whose engine is full."""
PARKED_S = 5.0
"""After how long a suspect that waits for another one asks again, whatever it has heard."""
MOST_PARKED = 16
"""How many suspects wait in hand: what is in hand is unacked, and kombu counts that."""


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
        worker_ens: str,
        queues: Sequence[str],
        on_engine_lost: Callable[[str], None],
        on_flawed: Callable[[Any, str, str], None],
        on_free: Callable[[], None],
    ) -> None:
        self._config = config
        self._client = client
        self._scribe = scribe
        self._keeper = keeper
        self._writer = writer
        self._worker_ens = worker_ens
        self._on_engine_lost = on_engine_lost
        self._on_flawed = on_flawed
        self._suspect_ended = asyncio.Event()
        self._open = asyncio.Event()
        self._open.set()
        self._apart = asyncio.Lock()
        self.on_free = on_free
        self._timing = client.settings.timing
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._turn, name="engine-loop", daemon=True)
        self._pids = itertools.count(1)
        self._watches = Watches(self, client=client, keeper=keeper, queues=queues)
        self.engine_lost = False
        self.finisher = Finisher(client=client, scribe=scribe, on_ended=self._forget)
        self.slots: dict[int, Slot] = {}
        self._unclaimed: set[int] = set()
        self.executor: Executor[Completion] = executors.create(config)
        self.places = Places(total=max(1, int(config.max_num_seqs * OVERBOOKING)))
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
            settings=self._client.settings,
            worker_ens=self._worker_ens,
            sink=lambda job_id: EventSink(job_id, self._writer),
            jitter=random.random,
        )
        self.call(self._watches.start()).result()

    def admit(self, slot: Slot) -> None:
        """Take a message from Celery; the job is claimed when its first wave fits."""
        self.slots[slot.pid] = slot
        self._unclaimed.add(slot.pid)
        self.urgent = max(0, self.urgent - 1)
        self._loop.call_soon_threadsafe(self._spawn, slot)

    def next_pid(self) -> int:
        """A number of our own for `terminate_job`."""
        return next(self._pids)

    @property
    def room(self) -> int:
        """How many more messages are worth taking from the queue now.

        As many as can start at once, and as many again as ended lately: an engine whose jobs end by
        the dozen would run half empty while their successors are fetched one by one.
        """
        can_start = -(-self.places.free // max(1, self.typical_wave)) if self._open.is_set() else 0
        since = time.monotonic() - RESERVE_S
        while self._ended and self._ended[0] < since:
            self._ended.popleft()
        return max(0, can_start + len(self._ended) - len(self._unclaimed), self.urgent)

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
            self.places.give(slot.hold.prepaid)
            slot.hold.prepaid = 0
            self._ended.append(time.monotonic())
            if ending is None:
                self._forget([slot])
            else:
                slot.ended = True
                self.finisher.finish(slot, ending)

    async def _claim_and_run(self, slot: Slot) -> Ending | None:
        async with contextlib.AsyncExitStack() as until_the_end:
            claim = await self._claim_in_turn(slot, until_the_end)
            return None if claim is None else await self._run(slot, claim)

    async def _run(self, slot: Slot, claim: Claim) -> Ending:
        slot.claimed = True
        self._unclaimed.discard(slot.pid)
        self.typical_wave = slot.hold.prepaid
        self.finisher.submit(slot.accept)
        assert self._runner is not None
        try:
            ending = await self._runner.run(claim, slot.hold)
        finally:
            if claim.job.suspect:
                self._suspect_ended.set()
        if ending.state == "engine_dead":
            self.lose_engine(str((ending.error or {}).get("message", "the engine died")))
        return ending

    async def _claim_in_turn(
        self, slot: Slot, until_the_end: contextlib.AsyncExitStack
    ) -> Claim | None:
        """Claim the job when its first wave fits, a suspect also when no other one runs here.

        One that runs apart has the engine to itself until the end of its run.
        """
        wave = min(max(1, slot.wave), self.places.total)
        apart = False
        while True:
            if not apart:
                await self._open.wait()
            await self.places.take(wave, kind=NEW_JOB, priority=slot.priority)
            slot.hold.prepaid = wave
            answer: Claim | Refusal | None = None
            if apart or self._open.is_set():
                self._suspect_ended.clear()
                answer = await self._claim(slot)
                if answer is None or isinstance(answer, Claim):
                    return answer
            self.places.give(wave)
            slot.hold.prepaid = 0
            if answer is None:
                continue
            with self._parking(slot):
                if answer.job is not None and answer.job.apart and not apart:
                    await until_the_end.enter_async_context(self._engine_alone())
                    apart = True
                    continue
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(self._suspect_ended.wait(), PARKED_S)

    @contextlib.asynccontextmanager
    async def _engine_alone(self) -> AsyncIterator[None]:
        """The engine for one job: those that run end first, and none begins meanwhile."""
        async with self._apart:
            self._open.clear()
            try:
                await self.places.take(self.places.total, kind=NEW_JOB, priority=0)
                self.places.give(self.places.total)
                yield
            finally:
                self._open.set()

    @contextlib.contextmanager
    def _parking(self, slot: Slot) -> Iterator[None]:
        """While a suspect waits here, it is not one of those that could start."""
        slot.parked = True
        self._unclaimed.discard(slot.pid)
        try:
            yield
        finally:
            slot.parked = False
            self._unclaimed.add(slot.pid)

    async def _claim(self, slot: Slot) -> Claim | Refusal | None:
        """Claim the job, or drop the message if it is not ours to run.

        A refusal is given only of a suspect that has to wait for another one.
        """
        if slot.ledger != self._client.ledger.uuid:
            told = f"it names ledger {slot.ledger}, this worker's is {self._client.ledger.uuid}"
            self._keep(slot, "LEDGER_FOREIGN", told)
            return None
        while True:
            claim = functools.partial(
                jobs.claim, session=self._keeper.session, job_id=slot.job_id, number=slot.number
            )
            writing = self._scribe.submit(claim)
            try:
                answer = await asyncio.shield(asyncio.wrap_future(writing))
            except asyncio.CancelledError:
                if not writing.cancel():
                    writing.add_done_callback(self._give_back)
                raise
            except LedgerError as error:
                # Held unacked: the place stays taken, so no more is consumed meanwhile.
                logger.warning("job %s cannot be claimed yet: %s", slot.job_id, error)
                await asyncio.sleep(1.0)
                continue
            if isinstance(answer, Claim):
                return answer
            if answer.reason == "session_lost":
                await asyncio.sleep(self._timing.attention_s)
                continue
            if answer.reason == RefusalReason.SUSPECT_BUSY and self._may_park():
                return answer
            if answer.reason == RefusalReason.UNKNOWN:
                self._keep(slot, "JOB_UNKNOWN", f"the ledger has no job {slot.job_id}")
                return None
            logger.info("job %s is not claimed: %s", slot.job_id, answer.reason)
            self.finisher.submit(slot.drop)
            return None

    def _may_park(self) -> bool:
        """Whether one more suspect may wait here; the others are sent again by the reconciler."""
        return sum(slot.parked for slot in tuple(self.slots.values())) < MOST_PARKED

    def _keep(self, slot: Slot, reason: str, detail: str) -> None:
        """Put a message that names no job of this ledger into quarantine."""

        def keep() -> None:
            self._on_flawed(slot.request.message, reason, detail)
            slot.drop()

        self.finisher.submit(keep)

    def _give_back(self, writing: Future[Any]) -> None:
        """Hand back what was claimed for a slot that was dropped meanwhile. Scribe's thread."""
        if writing.exception() is None and isinstance(answer := writing.result(), Claim):
            self.hand_back(answer.job.id, answer.job.fence)

    def hand_back(self, job_id: str, fence: int) -> None:
        """Put a job that this session holds and nobody runs back into its queue."""
        hand_back = functools.partial(jobs.hand_back, job_id=job_id, fence=fence, reason="dropped")

        def send_again(writing: Future[bool]) -> None:
            if writing.exception() is None and writing.result():
                self.finisher.submit(lambda: self.finisher.send_again(job_id))

        self._scribe.submit(hand_back).add_done_callback(send_again)

    def _forget(self, slots: Sequence[Slot]) -> None:
        """Free the slots of what has ended. From any thread."""
        for slot in slots:
            self.slots.pop(slot.pid, None)
            self._unclaimed.discard(slot.pid)
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
        logger.critical("the engine is lost: %s", reason)
        for pid in tuple(self.slots):
            self.stop_slot(pid, "engine")
        self._on_engine_lost(reason)
