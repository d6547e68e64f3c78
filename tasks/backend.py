"""The result backend: Celery's copies in Redis, and the ledger behind them.

A copy may be gone (evicted, flushed, expired): then the ledger answers. States in between (STARTED,
PROGRESS, RETRY) are read from the ledger and never written to Redis. Chords are counted in the
ledger, with all their parts, ours and foreign.
"""

from __future__ import annotations

import logging
import time
import uuid
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from celery import signature, states
from celery.backends.redis import (  # type: ignore[attr-defined]
    RedisBackend,
    ResultConsumer,
)
from celery.exceptions import ChordError
from celery.result import GroupResult
from celery.utils.functional import maybe_list
from kombu.utils.json import dumps, loads

from ledger import (
    ChordPart,
    ChordState,
    Job,
    Ledger,
    LedgerError,
    Transaction,
    bodies,
    chords,
    jobs,
    samples,
)
from tasks import canvas, signatures, wiring
from tasks.client import JobResult
from tasks.errors import HoneyflowError
from tasks.keeper import current_session
from tasks.messages import INFER

logger = logging.getLogger(__name__)

_LOOK_AGAIN_S = 2.0
_BATCH = 500


class BodyTaken(Exception):
    """A chord's body is being set off by somebody else; whoever asked asks again later."""

    retriable = True


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
        waited_for = [_text(key)[prefix:] for key in list(self.subscribed_to)]
        for meta in self.backend.endings_from_ledger(waited_for):
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
        try:
            client = wiring.client()
            job = client.job(task_id)
        except HoneyflowError:
            return None
        if job.state == "succeeded":
            return _success(job, client.result_of(job))
        if job.ended:
            return _failure(job)
        if job.state == "running":
            return _meta(job, *_progress(client.ledger, job))
        return _meta(job, "RETRY" if job.fence > 0 else "PENDING", None)

    def endings_from_ledger(self, task_ids: Sequence[str]) -> list[dict[str, Any]]:
        """What Celery would tell of those tasks that have ended; nothing while it is away.

        One transaction, and two statements for each 500 tasks.
        """
        metas: list[dict[str, Any]] = []
        try:
            with _ledger().read() as tx:
                for start in range(0, len(task_ids), _BATCH):
                    metas += _endings(tx, task_ids[start : start + _BATCH])
        except (HoneyflowError, LedgerError) as error:
            logger.debug("the ledger was not read to its end: %s", error)
        return metas

    def exception_to_python(self, exc: Any) -> Any:
        """Rebuild our own errors with all their parts; leave the rest to Celery."""
        if isinstance(exc, BaseException):
            return exc
        return super().exception_to_python(exc)

    def store_successes(self, done: Sequence[tuple[Any, Mapping[str, Any]]]) -> None:
        """Keep the copies of many results at once, each under its request's id.

        Nothing is read first, as Celery does, lest a success be overwritten: these are successes
        for good.
        """
        copies = {
            self.get_key_for_task(request.id): self.encode(self._success_of(request, result))
            for request, result in done
        }
        self.ensure(self._set_many, (copies,))

    def _success_of(self, request: Any, result: Mapping[str, Any]) -> dict[str, Any]:
        meta = self._get_result_meta(  # type: ignore[attr-defined]
            result=result, state=states.SUCCESS, traceback=None, request=request
        )
        return {**meta, "task_id": request.id}

    def _set_many(self, copies: Mapping[Any, Any]) -> None:
        with self.client.pipeline(transaction=False) as pipe:
            for key, copy in copies.items():
                pipe.set(key, copy, ex=self.expires or None)  # type: ignore[attr-defined]
                pipe.publish(key, copy)
            pipe.execute()

    def set_chord_size(self, group_id: str, chord_size: int) -> None:
        """Keep a chord's size where its parts are counted; told before its last part is sent."""
        super().set_chord_size(group_id, chord_size)
        with _ledger().write() as tx:
            chords.expect(tx, group_id=group_id, size=chord_size)

    def add_to_chord(self, group_id: str, result: Any) -> None:
        """Let a running part add one more part to its chord."""
        super().add_to_chord(group_id, result)
        with _ledger().write() as tx:
            if (size := chords.size(tx, group_id)) is not None:
                chords.expect(tx, group_id=group_id, size=size + 1)

    def on_chord_part_return(  # type: ignore[override]
        self, request: Any, state: str, result: Any, **kwargs: Any
    ) -> None:
        """Keep how one part of a chord ended, anybody's; whoever completes it sets off the body.

        A sender without the ledger leaves the chord's size in its message (Celery 4) or in Redis;
        a chord of such a sender in which nothing is ours is left to Celery.

        Raises:
            BodyTaken: somebody else is setting off the body, and may yet die of it.
        """
        group_id = request.group
        if not group_id or not request.id:
            return
        mine = state == states.SUCCESS and request.task == INFER
        kept = None if mine else dumps(self.encode_result(result, state))
        part = ChordPart(id=request.id, index=request.group_index, state=state, result=kept)
        with _ledger().write() as tx:
            chords.add(tx, group_id, part)
            size, ours = chords.size(tx, group_id), chords.has_jobs(tx, group_id)
            standing = chords.take(tx, group_id, session=current_session())
        if size is None:
            if not (ours or request.task == INFER):
                super().on_chord_part_return(request, state, result, **kwargs)
                return
            standing = self._take_stock_chord(request)
        if standing == ChordState.MINE:
            self._set_off_body(request)
        elif standing == ChordState.TAKEN and canvas.is_setting_off():
            raise BodyTaken(f"The body of chord {group_id} is being set off by somebody else.")

    def _take_stock_chord(self, request: Any) -> ChordState:
        size = request.chord.get("chord_size")
        if size is None:
            size = self.client.get(self.get_key_for_group(request.group, ".s"))
        if size is None:
            return ChordState.WAITING
        with _ledger().write() as tx:
            chords.expect(tx, group_id=request.group, size=int(size))
            return chords.take(tx, request.group, session=current_session())

    def _set_off_body(self, request: Any) -> None:
        body = signature(request.chord, app=self.app)  # type: ignore[attr-defined]
        with _ledger().read() as tx:
            parts = chords.parts(tx, request.group)
        try:
            with canvas.setting_off():
                self._apply_body(body, request.group, parts)
        except Exception as error:
            if canvas.is_away(error):
                with _ledger().write() as tx:
                    chords.give_back(tx, request.group)
                raise
            logger.exception("the body of chord %s cannot be set off", request.group)
            self.chord_error_from_stack(body, ChordError(f"Callback error: {error!r}"))
        with _ledger().write() as tx:
            chords.done(tx, group_id=request.group)

    def _apply_body(self, body: Any, group_id: str, parts: Sequence[ChordPart]) -> None:
        failed = [part for part in parts if part.state != states.SUCCESS]
        if not failed:
            body.apply_async((self._header_results(group_id, parts),))
            return
        told = ", ".join(f"{part.id} is {part.state}" for part in failed)
        cause = self.exception_to_python(loads(failed[0].result or "null"))
        try:
            raise ChordError(f"Not every part succeeded: {told}") from cause
        except ChordError as error:
            # Celery takes the traceback from the exception that is being handled.
            self.chord_error_from_stack(body, error)

    def _header_results(self, group_id: str, parts: Sequence[ChordPart]) -> list[Any]:
        """The parts' results; a group inside the header gives a list of its own, as in Celery."""
        client = wiring.client()
        results = {
            part.id: client.result_of(client.job(part.id)).celery()
            if part.result is None
            else loads(part.result)
            for part in parts
        }
        header: Any = GroupResult.restore(group_id, app=self.app)  # type: ignore[attr-defined]
        try:
            return list(results.values()) if header is None else _arranged(header, results)
        except KeyError:
            return list(results.values())

    def _call_task_errbacks(self, request: Any, exc: Any, traceback: Any) -> None:
        """Submit the error callbacks that are ours, with the failure's sentence before them."""
        given = [one for one in maybe_list(request.errbacks) or () if isinstance(one, Mapping)]
        sentence = exc.message if isinstance(exc, HoneyflowError) else str(exc) or repr(exc)
        with canvas.setting_off():
            for number, errback in enumerate(given):
                if errback.get("task") == INFER:
                    self._submit_errback(request, errback, number, sentence)
        every = request.errbacks
        request.errbacks = [one for one in given if one.get("task") != INFER]
        try:
            super()._call_task_errbacks(request, exc, traceback)  # type: ignore[misc]
        finally:
            request.errbacks = every

    def _submit_errback(
        self, request: Any, errback: Mapping[str, Any], number: int, sentence: str
    ) -> None:
        # The ids of foreign tasks need not be UUIDs.
        root = uuid.uuid5(uuid.NAMESPACE_OID, str(request.id))
        step = signature(
            signatures.with_ids(errback, root, f"errback-{number}"),
            app=self.app,  # type: ignore[attr-defined]
        )
        try:
            step.apply_async(
                (sentence,), parent_id=request.id, root_id=request.root_id or request.id
            )
        except Exception as error:
            if canvas.is_away(error):
                raise
            logger.exception("task %s: its error callback cannot be set off", request.id)


def _arranged(header: Any, results: Mapping[str, Any]) -> list[Any]:
    return [
        _arranged(one, results) if isinstance(one, GroupResult) else results[one.id]
        for one in header.results
    ]


def _ledger() -> Ledger:
    return wiring.client().ledger


def _endings(tx: Transaction, task_ids: Sequence[str]) -> Iterator[dict[str, Any]]:
    ended = jobs.ended(tx, task_ids)
    stored = bodies.get_many(tx, [job.result_digest for job in ended if job.result_digest])
    for job in ended:
        if job.state != "succeeded":
            yield _failure(job)
        elif job.result_digest in stored:
            yield _success(job, JobResult.from_bytes(stored[job.result_digest]))


def _success(job: Job, result: JobResult) -> dict[str, Any]:
    return _meta(job, "SUCCESS", result.celery())


def _failure(job: Job) -> dict[str, Any]:
    status = "FAILURE" if job.state in ("failed", "dead") else "REVOKED"
    return _meta(job, status, canvas.ending_error(job))


def _meta(job: Job, status: str, result: Any) -> dict[str, Any]:
    told = {"task_id": job.id, "status": status, "result": result}
    return {**told, "traceback": None, "children": [], "date_done": None}


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
