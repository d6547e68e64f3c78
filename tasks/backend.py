"""The result backend: Celery's copies in Redis, and the ledger behind them.

A copy may be gone (evicted, flushed, expired): then the ledger answers. States in between (STARTED,
PROGRESS, RETRY) are read from the ledger and never written to Redis. Chords of our jobs are counted
in the ledger.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

from celery import signature
from celery.backends.redis import (  # type: ignore[attr-defined]
    RedisBackend,
    ResultConsumer,
)
from celery.exceptions import ChordError

from ledger import Job, chords, samples
from tasks.errors import HoneyflowError

_LOOK_AGAIN_S = 2.0


class LedgerResultConsumer(ResultConsumer):  # type: ignore[misc]
    """Waits on Redis, and looks into the ledger now and then, so that no wait lasts for ever."""

    _looked = 0.0

    def drain_events(self, timeout: float | None = None) -> None:
        """Wait for a result; resolve from the ledger what ended without a word from Redis."""
        super().drain_events(timeout=timeout)
        now = time.monotonic()
        if now - self._looked < _LOOK_AGAIN_S:
            return
        self._looked = now
        prefix = len(_text(self._get_key_for_task("-"))) - 1
        for key in list(self.subscribed_to):
            task_id = _text(key)[prefix:]
            meta = self.backend.meta_from_ledger(task_id)
            if meta is not None and meta["status"] in self.backend.READY_STATES:
                self.on_state_change(meta, None)


class LedgerBackend(RedisBackend):
    """Redis for speed, the ledger for truth."""

    ResultConsumer = LedgerResultConsumer

    def get_task_meta(self, task_id: str, cache: bool = True) -> Any:  # noqa: FBT001, FBT002
        """A task's state: Redis's copy if it has ended there, else what the ledger says."""
        meta = super().get_task_meta(task_id, cache=cache)
        if meta["status"] in self.READY_STATES:
            return meta
        return self.meta_from_ledger(task_id) or meta

    def meta_from_ledger(self, task_id: str) -> dict[str, Any] | None:
        """A task's state as Celery would tell it, or None if the ledger does not know it."""
        from tasks import wiring
        from tasks.canvas import ending_error

        try:
            client = wiring.client()
            job = client.job(task_id)
        except HoneyflowError:
            return None
        status: str = "PENDING"
        result: Any = None
        if job.state == "succeeded":
            status, result = "SUCCESS", client.result_of(job).celery()
        elif job.state in ("failed", "dead"):
            status, result = "FAILURE", ending_error(job)
        elif job.state in ("cancelled", "expired"):
            status, result = "REVOKED", ending_error(job)
        elif job.state == "running":
            status, result = _progress(client.ledger, job)
        elif job.fence > 0:
            status = "RETRY"
        meta: dict[str, Any] = {
            "status": status,
            "result": result,
            "traceback": None,
            "children": [],
        }
        return {**meta, "task_id": task_id, "date_done": None}

    def exception_to_python(self, exc: Any) -> Any:
        """Rebuild our own errors with all their parts; leave the rest to Celery."""
        if isinstance(exc, BaseException):
            return exc
        return super().exception_to_python(exc)

    def set_chord_size(self, group_id: str, chord_size: int) -> None:
        """Keep a chord's size where its parts are counted; told before its last part is sent."""
        from tasks import wiring

        super().set_chord_size(group_id, chord_size)
        with wiring.client().ledger.write() as tx:
            chords.expect(tx, group_id=group_id, size=chord_size)

    def on_chord_part_return(  # type: ignore[override]
        self, request: Any, state: str, result: Any, **kwargs: Any
    ) -> None:
        """Count one part of a chord; whoever completes it sets off the body."""
        from tasks import wiring

        client = wiring.client()
        with client.ledger.write() as tx:
            standing = chords.take(tx, group_id=request.group)
            members = chords.members(tx, request.group)
        if not members:
            super().on_chord_part_return(request, state, result, **kwargs)
            return
        if standing != "mine":
            return
        chord = signature(request.chord, app=self.app)  # type: ignore[attr-defined]
        failed = [job for job in members if job.state != "succeeded"]
        if failed:
            told = ", ".join(f"{job.id} is {job.state}" for job in failed)
            try:
                raise ChordError(f"Not every part succeeded: {told}")
            except ChordError as error:
                # Celery takes the traceback from the exception that is being handled.
                self.chord_error_from_stack(chord, error)
        else:
            chord.apply_async(([client.result_of(job).celery() for job in members],))
        with client.ledger.write() as tx:
            chords.done(tx, group_id=request.group)


def _progress(ledger: Any, job: Job) -> tuple[str, Mapping[str, Any]]:
    with ledger.read() as tx:
        drawn = samples.of(tx, job.id)
    if not drawn:
        return "STARTED", {"job_id": job.id}
    votes: dict[str, int] = {}
    for sample in drawn:
        if sample.valid and sample.answer_class is not None:
            votes[sample.answer_class] = votes.get(sample.answer_class, 0) + 1
    agreement = max(votes.values(), default=0) / len(drawn)
    return "PROGRESS", {"job_id": job.id, "samples": len(drawn), "agreement": agreement}


def _text(key: str | bytes) -> str:
    return key.decode() if isinstance(key, bytes) else key
