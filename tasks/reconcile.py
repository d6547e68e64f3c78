"""The reconciler: makes the broker and Celery's results agree with the ledger, again and again.

It runs in every worker, one at a time under a ledger lease, and needs neither beat nor a message.
One round, in order: reclaim what dead workers held; expire; release what is due; promote what has
waited too long; send again what the broker lost; deliver what ended undelivered.
"""

from __future__ import annotations

import itertools
import logging
import re
import threading
import time
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import redis
from kombu.exceptions import OperationalError

from ledger import Job, LedgerError, bookmarks, events, jobs, leases, sessions
from routing import list_keys
from tasks import backlog, canvas, ledger_id, publish, worker_events
from tasks.backend import BodyTaken
from tasks.client import Client
from tasks.errors import BrokerUnavailable, LedgerMismatch
from tasks.keeper import Keeper, process_is_gone
from tasks.settings import Timing

logger = logging.getLogger(__name__)

LEASE = BOOKMARK = "reconciler"
NOTE_S = 10.0
"""How often at most it is noted that rounds are run; see `ledger.bookmarks`."""

MISMATCHES = 2
LOOK_AGAIN = 15
BATCH = 500
AFTER_AN_END_S = 1.0
"""How old a message must be to be missed when a worker has just ended: it may have gone with it."""

IN_HAND_S = 600.0
"""How long a message that a worker has popped is taken to be in its hands."""
_ID = re.compile(rb'"id\\*": ?\\*"([0-9a-f-]{36})')
_NUMBER = re.compile(rb'"honeyflow\\*": ?\{[^{}]*?"n\\*": ?(\d{1,19})')
_AWAY = (LedgerError, BrokerUnavailable, redis.RedisError, OperationalError, OSError)


class Reconciler:
    """Runs rounds while it holds the lease."""

    def __init__(self, *, client: Client, keeper: Keeper, timing: Timing) -> None:
        self._client = client
        self._broker = ledger_id.connect(client.settings)
        self._keeper = keeper
        self._timing = timing
        # The first session's for good: a worker that opens another one goes on under its lease.
        self._holder = keeper.session
        self._rounds = 0
        self._noted = -NOTE_S
        self._last_end: float | None = None
        self._age_s = timing.resend_after_s
        self._mismatches: dict[str, int] = {}
        self._missed: dict[str, set[str]] = {}
        self._stopping = threading.Event()
        self._nudged = threading.Event()
        self._thread = threading.Thread(target=self._run, name="reconciler", daemon=True)

    def start(self) -> None:
        """Start the rounds."""
        self._thread.start()

    def stop(self) -> None:
        """Stop, and let another worker go on at once."""
        self._stopping.set()
        self._nudged.set()
        if self._thread.is_alive():
            self._thread.join(timeout=2)
        try:
            with self._client.ledger.write() as tx:
                leases.release(tx, LEASE, self._holder)
        except LedgerError as error:
            logger.debug("the reconciler's lease was not released: %s", error)

    def nudge(self) -> None:
        """Run a round now instead of when it is due."""
        self._nudged.set()

    def _run(self) -> None:
        while not self._stopping.is_set():
            self._nudged.wait(self._timing.reconcile_s)
            self._nudged.clear()
            if self._stopping.is_set():
                return
            try:
                self.round()
            except _AWAY as error:
                logger.warning("this reconciler round was cut short: %s", error)
            except Exception:
                logger.exception("the reconciler met something unexpected")

    def round(self) -> bool:
        """One round; False when another worker holds the lease."""
        if not self._take_lease():
            return False
        self._send(self._reclaim())
        self._expire()
        self._send(self._release())
        self._publish_ledger()
        self._send(self._find_lost())
        self._deliver()
        self._note()
        return True

    def _take_lease(self) -> bool:
        """Take the lease if it is free, or its holder's process is known to have died."""
        ttl_s = self._timing.reconcile_lease_s
        with self._client.ledger.write() as tx:
            if leases.take(tx, LEASE, self._holder, ttl_s=ttl_s):
                return True
            other = sessions.get(tx, leases.holder(tx, LEASE) or "")
            if other is None or not process_is_gone(other):
                return False
            leases.release(tx, LEASE, other.id)
            return leases.take(tx, LEASE, self._holder, ttl_s=ttl_s)

    def _note(self) -> None:
        """Say that a round was run, for whoever watches that they are."""
        if time.monotonic() - self._noted < NOTE_S:
            return
        with self._client.ledger.write() as tx:
            bookmarks.note(tx, BOOKMARK)
        self._noted = time.monotonic()

    def _publish_ledger(self) -> None:
        """Say again which ledger this is: a flushed Redis has forgotten it."""
        try:
            ledger_id.publish_over(self._broker, self._client.settings, self._client.ledger)
        except LedgerMismatch as error:
            logger.critical("%s Its jobs never reach this worker.", error)

    def _reclaim(self) -> list[Job]:
        """Hand back what sessions held whose lease is over or whose process is gone."""
        with self._client.ledger.read() as tx:
            over = sessions.lapsed(tx)
            over += [session for session in sessions.live(tx) if process_is_gone(session)]
        freed: list[Job] = []
        for session in over:
            died = process_is_gone(session)
            reason = sessions.PROCESS_DIED if died else sessions.LEASE_LOST
            with self._client.ledger.write() as tx:
                held = sessions.get(tx, session.id)
                freed += sessions.close(tx, session.id, crashed=died, reason=reason)
                # A successor of its name may have closed it, and said so, in between.
                if died and held is not None and held.closed_at is None:
                    worker_events.failed(tx, session.worker, check="process", reason=reason)
            logger.warning("worker %s: %s; its jobs go on elsewhere", session.worker, reason)
        return [job for job in freed if job.state == "queued"]

    def _expire(self) -> None:
        with self._client.ledger.write() as tx:
            jobs.expire_due(tx, limit=BATCH)

    def _release(self) -> list[Job]:
        """Jobs that are due, whose leader has ended, or that have waited too long behind others."""
        with self._client.ledger.write() as tx:
            return [
                *jobs.release_due(tx, limit=BATCH),
                *jobs.release_followers(tx, limit=BATCH),
                *jobs.promote(tx, self._timing.max_wait_s, limit=BATCH),
            ]

    def _find_lost(self) -> list[Job]:
        """Jobs that are queued in the ledger and named by no message in the broker."""
        with self._client.ledger.read() as tx:
            ended = sessions.last_end(tx)
            # What a worker had in hand goes with it: then also what was sent a moment ago.
            if ended != self._last_end:
                self._age_s = min(AFTER_AN_END_S, self._timing.resend_after_s)
            elif not self._missed:
                self._age_s = self._timing.resend_after_s
            expected = jobs.queued_by_queue(tx, older_than=0.0)
            overdue = jobs.queued_by_queue(tx, older_than=self._age_s)
        suspects: list[str] = []
        self._rounds += 1
        # Now and then each queue is looked at anyway.
        closer = ended != self._last_end or self._rounds % LOOK_AGAIN == 0
        self._last_end = ended
        # All that is queued is counted, lest young messages stand for one that was lost; copies
        # that another has overtaken stand there as well, but not for ever.
        short = {
            queue
            for queue in overdue
            if backlog.length(self._broker, list_keys(queue)) < expected.get(queue, 0)
        }
        self._mismatches = {queue: self._mismatches.get(queue, 0) + 1 for queue in short}
        before, self._missed = self._missed, {}
        for queue in overdue:
            first = closer or self._mismatches.get(queue) == MISMATCHES
            if not first and queue not in before:
                continue
            missing = set(self._missing(queue))
            # Twice in a row: for a moment a message that is popped is nowhere to be seen.
            again = missing & before.get(queue, set())
            suspects += again
            if first and missing - again:
                self._missed[queue] = missing - again
        lost: list[Job] = []
        for start in range(0, len(suspects), BATCH):
            with self._client.ledger.write() as tx:
                resent = jobs.resend(tx, suspects[start : start + BATCH])
                if resent:
                    told = {"jobs": len(resent)}
                    events.add(tx, kind=events.JOBS_RESENT, subject=LEASE, details=told)
            lost += resent
        if lost:
            logger.warning("%d job(s) had vanished from the broker; sent again", len(lost))
        return lost

    def _missing(self, queue: str) -> list[str]:
        """Which of a queue's jobs no message in the broker names, in its newest copy."""
        with self._client.ledger.read() as tx:
            queued = jobs.queued_copies(tx, queue=queue, older_than=self._age_s)
            # Popped and not yet claimed: a worker holds it until its first wave fits. Whose hand
            # that is the broker does not say, so what was sent before a worker ended may have gone
            # with it, and no hand is trusted for ever.
            trusted = max(sessions.last_end(tx) or 0.0, tx.now - IN_HAND_S)
        # In the order in which a message moves, so that none is missed between two looks.
        listed = _copies(element for key in list_keys(queue) for element in self._elements(key))
        in_hand = _copies(self._broker.hvals("unacked"))  # type: ignore[arg-type]
        return [
            job_id
            for job_id, number, sent in queued
            if listed.get(job_id, -1) < number
            and (sent <= trusted or in_hand.get(job_id, -1) < number)
        ]

    def _elements(self, key: str) -> Iterator[bytes]:
        """A queue's list, piece by piece; what is put into it meanwhile may come twice."""
        for start in itertools.count(step=BATCH):
            piece: Any = self._broker.lrange(key, start, start + BATCH - 1)
            yield from piece
            if len(piece) < BATCH:
                return

    def _deliver(self) -> None:
        with self._client.ledger.read() as tx:
            waiting = jobs.undelivered(tx, older_than=self._timing.redeliver_after_s, limit=BATCH)
        done: list[str] = []
        for job in waiting:
            if self._stopping.is_set():
                break
            try:
                canvas.continue_from(self._client.app, self._client, job)
            except BodyTaken as error:
                logger.debug("job %s is not delivered yet: %s", job.id, error)
                continue
            except Exception as error:
                logger.warning("job %s is not delivered yet: %s", job.id, error)
                if not canvas.is_away(error):
                    self._count_delivery(job, error)
                continue
            done.append(job.id)
        if done:
            with self._client.ledger.write() as tx:
                jobs.mark_delivered(tx, done)

    def _count_delivery(self, job: Job, error: Exception) -> None:
        with self._client.ledger.write() as tx:
            told = f"{type(error).__name__}: {error}"
            given_up = jobs.count_delivery(tx, job.id, error=told)
        if given_up:
            logger.error("job %s is given up: its end cannot be delivered", job.id)

    def _send(self, queued: Sequence[Job]) -> None:
        publish.send(self._client.app, queued, ledger_uuid=self._client.ledger.uuid)


def _copies(messages: Iterable[bytes]) -> dict[str, int]:
    """By the ids that messages name, on a list or unacked, the numbers of the newest copies."""
    newest: dict[str, int] = {}
    for message in messages:
        named, numbered = _ID.search(message), _NUMBER.search(message)
        if named is not None and numbered is not None:
            job_id, number = named[1].decode(), int(numbered[1])
            newest[job_id] = max(number, newest.get(job_id, -1))
    return newest
