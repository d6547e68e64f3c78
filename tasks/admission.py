"""How a message in hand becomes a claimed job: when its first wave fits, and in its turn.

Suspects of a crash are claimed one at a time, and one that runs apart has the engine to itself; the
ledger says so, and whoever has to wait waits here. Used on the engine's loop.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
import logging
from collections.abc import AsyncIterator, Callable, Iterator
from concurrent.futures import Future
from typing import Any

from ledger import Claim, LedgerError, Refusal, RefusalReason, jobs
from tasks.client import Client
from tasks.finisher import Finisher
from tasks.keeper import Keeper
from tasks.places import NEW_JOB, Places
from tasks.scribe import Scribe
from tasks.slots import Slot

logger = logging.getLogger(__name__)

PARKED_S = 5.0
"""After how long a suspect that waits for another one asks again, whatever it has heard."""
MOST_PARKED = 16
"""How many suspects wait in hand: what is in hand is unacked, and kombu counts that."""


class Admission:
    """Claims jobs for the slots of one engine; `on_flawed` as in `EngineHost`.

    `waiting` holds the numbers of slots that could start as soon as there is room; `open` is false
    while one job has, or waits for, the engine to itself.
    """

    def __init__(
        self,
        *,
        client: Client,
        scribe: Scribe,
        keeper: Keeper,
        finisher: Finisher,
        places: Places,
        on_flawed: Callable[[Any, str, str], None],
    ) -> None:
        self._ledger_uuid = client.ledger.uuid
        self._attention_s = client.settings.timing.attention_s
        self._scribe = scribe
        self._keeper = keeper
        self._finisher = finisher
        self._places = places
        self._on_flawed = on_flawed
        self._suspect_ended = asyncio.Event()
        self._open = asyncio.Event()
        self._open.set()
        self._apart = asyncio.Lock()
        self._parked = 0
        self.waiting: set[int] = set()

    @property
    def open(self) -> bool:
        """Whether jobs may begin; from any thread."""
        return self._open.is_set()

    @contextlib.asynccontextmanager
    async def claimed(self, slot: Slot) -> AsyncIterator[Claim | None]:
        """The slot's job, claimed, for as long as it runs; None if the message was not to be run.

        Its first wave's places are the slot's then.
        """
        async with contextlib.AsyncExitStack() as until_the_end:
            claim = await self._claim_in_turn(slot, until_the_end)
            if claim is None:
                yield None
                return
            slot.claimed = True
            self.waiting.discard(slot.pid)
            try:
                yield claim
            finally:
                if claim.job.suspect:
                    self._suspect_ended.set()

    async def _claim_in_turn(
        self, slot: Slot, until_the_end: contextlib.AsyncExitStack
    ) -> Claim | None:
        wave = min(max(1, slot.wave), self._places.total)
        apart = False
        while True:
            if not apart:
                await self._open.wait()
            await self._places.take(wave, kind=NEW_JOB, priority=slot.priority)
            slot.hold.prepaid = wave
            if not (apart or self.open):
                self.give_places(slot)
                continue
            self._suspect_ended.clear()
            answer = await self._claim(slot)
            if not isinstance(answer, Refusal):
                return answer
            self.give_places(slot)
            with self._parking(slot):
                if not apart and answer.job is not None and answer.job.apart:
                    await until_the_end.enter_async_context(self._engine_alone())
                    apart = True
                else:
                    with contextlib.suppress(TimeoutError):
                        await asyncio.wait_for(self._suspect_ended.wait(), PARKED_S)

    def give_places(self, slot: Slot) -> None:
        """Give back the places that a slot still holds beforehand."""
        self._places.give(slot.hold.prepaid)
        slot.hold.prepaid = 0

    @contextlib.asynccontextmanager
    async def _engine_alone(self) -> AsyncIterator[None]:
        """The engine for one job: those that run end first, and none begins meanwhile."""
        async with self._apart:
            self._open.clear()
            try:
                await self._places.take(self._places.total, kind=NEW_JOB, priority=0)
                self._places.give(self._places.total)
                yield
            finally:
                self._open.set()

    @contextlib.contextmanager
    def _parking(self, slot: Slot) -> Iterator[None]:
        """While a suspect waits here, it is not one of those that could start."""
        self._parked += 1
        self.waiting.discard(slot.pid)
        try:
            yield
        finally:
            self._parked -= 1
            self.waiting.add(slot.pid)

    async def _claim(self, slot: Slot) -> Claim | Refusal | None:
        """Claim the job, or drop the message if it is not ours to run.

        A refusal is given only of a suspect that has to wait for another one.
        """
        if slot.ledger != self._ledger_uuid:
            told = f"it names ledger {slot.ledger}, this worker's is {self._ledger_uuid}"
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
            if answer.reason == RefusalReason.SESSION_LOST:
                await asyncio.sleep(self._attention_s)
                continue
            if answer.reason == RefusalReason.SUSPECT_BUSY and self._parked < MOST_PARKED:
                return answer
            if answer.reason == RefusalReason.UNKNOWN:
                self._keep(slot, "JOB_UNKNOWN", f"the ledger has no job {slot.job_id}")
                return None
            # Of suspects that find no room here the reconciler sends another copy.
            logger.info("job %s is not claimed: %s", slot.job_id, answer.reason)
            self._finisher.submit(slot.drop)
            return None

    def _keep(self, slot: Slot, reason: str, detail: str) -> None:
        """Put a message that names no job of this ledger into quarantine."""

        def keep() -> None:
            self._on_flawed(slot.request.message, reason, detail)
            slot.drop()

        self._finisher.submit(keep)

    def _give_back(self, writing: Future[Any]) -> None:
        """Hand back what was claimed for a slot that was dropped meanwhile. Scribe's thread."""
        if writing.exception() is None and isinstance(answer := writing.result(), Claim):
            self.hand_back(answer.job.id, answer.job.fence)

    def hand_back(self, job_id: str, fence: int) -> None:
        """Put a job that this session holds and nobody runs back into its queue."""
        hand_back = functools.partial(jobs.hand_back, job_id=job_id, fence=fence, reason="dropped")

        def send_again(writing: Future[bool]) -> None:
            if writing.exception() is None and writing.result():
                self._finisher.submit(lambda: self._finisher.send_again(job_id))

        self._scribe.submit(hand_back).add_done_callback(send_again)
