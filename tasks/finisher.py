"""The one thread of a worker that tells others how jobs went on: Celery, and whoever waits.

What may block (Celery's callbacks, its result store, the broker) is done here, in order, so that
neither the engine's loop nor Celery's hub ever waits for it. Results that set nothing off are told
together, in one round trip.
"""

from __future__ import annotations

import logging
import queue
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TypeAlias

from ledger import Transaction, jobs
from tasks import canvas, publish, telling
from tasks.client import Client
from tasks.gathering import gather
from tasks.runner import Ending
from tasks.scribe import Scribe
from tasks.slots import Slot

logger = logging.getLogger(__name__)

GROUP = 128
DELIVERED_PATIENCE_S = 0.2
"""How long the note that a result was told waits for something to be written with."""
_TOLD = ("succeeded", "failed", "cancelled", "expired", "dead")


@dataclass(frozen=True, slots=True, kw_only=True)
class _Ended:
    """A slot whose run is over; the ledger knows already."""

    slot: Slot
    ending: Ending


_Work: TypeAlias = Callable[[], None] | _Ended


class Finisher:
    """Does what follows a job's moves; `on_ended` is called when slots have ended."""

    def __init__(
        self, *, client: Client, scribe: Scribe, on_ended: Callable[[Sequence[Slot]], None]
    ) -> None:
        self._client = client
        self._scribe = scribe
        self._on_ended = on_ended
        self._waiting: queue.SimpleQueue[_Work | None] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._run, name="finisher", daemon=True)

    def start(self) -> None:
        """Start working."""
        self._thread.start()

    def stop(self, *, patience_s: float = 2.0) -> None:
        """Do what waits, and stop; what takes longer is left to the reconciler. Idempotent."""
        if self._thread.is_alive():
            self._waiting.put(None)
            self._thread.join(timeout=patience_s)

    def submit(self, work: Callable[[], None]) -> None:
        """Queue something that may block; what it raises is logged."""
        self._waiting.put(work)

    def finish(self, slot: Slot, ending: Ending) -> None:
        """Queue the end of a slot: tell the result, set off what waits for it, free the slot."""
        self._waiting.put(_Ended(slot=slot, ending=ending))

    def send_again(self, job_id: str) -> None:
        """Send a job's message again, which has gone back to its queue. On this thread."""
        queued = self._client.job(job_id)
        publish.send(self._client.app, [queued], ledger_uuid=self._client.ledger.uuid)

    def _run(self) -> None:
        last = False
        while not last:
            group: list[_Work | None] = gather(self._waiting, GROUP)
            last = group[-1] is None
            for work in group:
                if callable(work):
                    _logged(work)
            self._finish([ended for ended in group if isinstance(ended, _Ended)])

    def _finish(self, group: Sequence[_Ended]) -> None:
        if not group:
            return
        began = time.monotonic()
        self._tell([ended.ending for ended in group])
        delivery = (began, time.monotonic())
        for ended in group:
            _logged(partial(ended.slot.finish, ended.ending))
            _logged(partial(telling.attempt_ended, ended.slot, ended.ending, delivery=delivery))
        self._on_ended([ended.slot for ended in group])

    def _tell(self, endings: Sequence[Ending]) -> None:
        """Give the results to Celery, and set off what waits for them.

        What fails is not lost: the reconciler delivers what has no `delivered_at`. With a store or
        the broker away nothing more is tried: each try would wait as long.
        """
        alone: list[Ending] = []
        others: list[Ending] = []
        for ending in endings:
            (alone if canvas.sets_nothing_off(ending.job) else others).append(ending)
        try:
            self._tell_alone(alone)
            for ending in others:
                self._tell_one(ending)
            if any(ending.job.dedupe for ending in endings if ending.state in _TOLD):
                self._release_followers()
        except Exception as error:
            logger.warning("what follows %d job(s) is left to a sweep: %s", len(endings), error)

    def _tell_alone(self, endings: Sequence[Ending]) -> None:
        if endings:
            canvas.tell(self._client.app, [(end.job, end.result or {}) for end in endings])
            self._mark_delivered([ending.job.id for ending in endings])

    def _tell_one(self, ending: Ending) -> None:
        try:
            if ending.state in _TOLD:
                canvas.continue_from(
                    self._client.app, self._client, ending.job, result=ending.result
                )
                self._mark_delivered([ending.job.id])
            elif ending.state == "queued":
                self.send_again(ending.job.id)
        except Exception as error:
            if canvas.is_away(error):
                raise
            logger.warning("job %s is done but not delivered yet: %s", ending.job.id, error)

    def _mark_delivered(self, ids: Sequence[str]) -> None:
        for job_id in ids:
            self._scribe.submit_item(_mark_delivered, job_id, patience_s=DELIVERED_PATIENCE_S)

    def _release_followers(self) -> None:
        with self._client.ledger.write() as tx:
            freed = jobs.release_followers(tx)
        publish.send(self._client.app, freed, ledger_uuid=self._client.ledger.uuid)


def _mark_delivered(tx: Transaction, ids: Sequence[str]) -> Sequence[str]:
    jobs.mark_delivered(tx, ids)
    return ids


def _logged(work: Callable[[], None]) -> None:
    """Do something; an error is logged and stops nothing else."""
    try:
        work()
    except Exception:
        logger.exception("finishing a job went wrong")
