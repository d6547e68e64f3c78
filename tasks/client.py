"""The typed front door: submit jobs, look at them, wait for them, cancel them.

Accepted means that the job's row is on disk. If the broker is away at that moment the job is
accepted all the same, and a worker's reconciler sends it.
"""

from __future__ import annotations

import json
import logging
import time
import uuid as uuids
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import redis
from celery import Celery
from kombu.exceptions import OperationalError

import ledger as ledgers
from ledger import Job, Ledger, NewJob, bodies, jobs, workers
from monitoring.trace_context import TraceContext
from routing import parse_priority
from tasks import ledger_id, payloads, publish, submission
from tasks.catalogue import Catalogue
from tasks.errors import JobNotFound, RequestInvalid, WaitTimeout, adopt
from tasks.settings import Settings

logger = logging.getLogger(__name__)

CELERY_FIELDS = ("job_id", "state", "confidence", "k", "receipt", "review", "answer")
ENDED = frozenset({"succeeded", "failed", "cancelled", "expired", "dead"})


@dataclass(frozen=True, slots=True, kw_only=True)
class JobResult:
    """What a succeeded job gave.

    `confidence` is a fraction (raw agreement unless `calibrated`), `receipt` the receipt's digest,
    `review` whether people look at it, `decision` accept, flag or review. `samples` tell of each
    sample its index, its class and whether it was valid. Celery's copy has the first seven fields.
    """

    job_id: str
    state: str
    confidence: float
    k: int
    receipt: str
    review: bool
    answer: str
    calibrated: bool = False
    decision: str = "accept"
    review_reasons: tuple[str, ...] = ()
    policy: str = ""
    rounds: int = 0
    stop_reason: str = ""
    completion_tokens: int = 0
    field_shares: Mapping[str, float] = field(default_factory=dict)
    samples: tuple[Mapping[str, Any], ...] = ()

    @classmethod
    def from_bytes(cls, data: bytes) -> JobResult:
        """A result from its stored bytes; fields of later versions are left out."""
        stored = json.loads(data)
        known = {name: stored[name] for name in cls.__dataclass_fields__ if name in stored}
        for name in ("review_reasons", "samples"):
            known[name] = tuple(known.get(name, ()))
        return cls(**known)

    def to_bytes(self) -> bytes:
        """The result as it is stored."""
        members = {name: getattr(self, name) for name in self.__dataclass_fields__}
        return json.dumps(members, ensure_ascii=False).encode()

    def celery(self) -> dict[str, Any]:
        """The copy that Celery keeps: small, and the answer as one string."""
        return {name: getattr(self, name) for name in CELERY_FIELDS}


@dataclass(frozen=True, slots=True, kw_only=True)
class Ticket:
    """One accepted job."""

    job_id: str
    client: Client

    def result(self, *, timeout_s: float | None = None) -> JobResult:
        """Wait for the answer.

        Raises:
            WaitTimeout: it is not there yet; the job goes on.
            HoneyflowError: the job ended without an answer.
        """
        return self.client.wait(self.job_id, timeout_s=timeout_s)

    def cancel(self) -> Job:
        """Cancel the job."""
        return self.client.cancel(self.job_id)


class Client:
    """Submits to one ledger and sends over one broker; safe to share between threads."""

    def __init__(
        self, *, settings: Settings, catalogue: Catalogue, ledger: Ledger, app: Celery
    ) -> None:
        self.settings = settings
        self.catalogue = catalogue
        self.ledger = ledger
        self.app = app
        self._ledger_checked = False

    def submit(
        self,
        fields: Mapping[str, Any] | None = None,
        /,
        *,
        job_id: str | None = None,
        priority: int | str = 3,
        delay_s: float | None = None,
        expires_s: float | None = None,
        run_timeout_s: float | None = None,
        queue: str | None = None,
        stream: bool = False,
        idempotency_key: str | None = None,
        dedupe: bool = False,
        canvas: Mapping[str, Any] | None = None,
        group_id: str | None = None,
        group_index: int | None = None,
        root_id: str | None = None,
        parent_id: str | None = None,
        correlation_id: str | None = None,
        **more_fields: Any,
    ) -> Ticket:
        """Enter one request in the ledger and send its message.

        `queue` is that of a GPU, `gpu.<node>.<gpu>`, for a job that shall run there and nowhere
        else; without one any worker that serves the model takes it. With `dedupe` the job may share
        the execution of the same request that is under way, if that one was sent with it too: each
        has its own answer and receipt, and the engine draws once. `correlation_id` is a name of the
        caller's own, which stands in every line of the log about the job.

        Raises:
            RequestInvalid: and its kinds; nothing was entered.
            LedgerAway, LedgerMismatch, BrokerUnavailable: nothing was entered.
            JobConflict: the id or the idempotency key is taken by another request.
        """
        draft = self.draft(
            {**submission.fields_of({} if fields is None else fields), **more_fields},
            job_id=job_id,
            priority=priority,
            delay_s=delay_s,
            expires_s=expires_s,
            run_timeout_s=run_timeout_s,
            queue=queue,
            stream=stream,
            idempotency_key=idempotency_key,
            dedupe=dedupe,
            canvas=canvas,
            group_id=group_id,
            group_index=group_index,
            root_id=root_id,
            parent_id=parent_id,
            correlation_id=correlation_id,
        )
        return self._enter([draft])[0]

    def submit_many(
        self,
        requests: Iterable[Mapping[str, Any]],
        *,
        ids: Sequence[str] | None = None,
        priority: int | str = 3,
        **options: Any,
    ) -> list[Ticket]:
        """Enter many requests in one transaction: all of them or, if one is wrong, none."""
        checked = submission.requests_of(requests)
        given: Sequence[str | None] = ids or [None] * len(checked)
        return self._enter(
            [
                self.draft(fields, job_id=job_id, priority=priority, **options)
                for fields, job_id in zip(checked, given, strict=True)
            ]
        )

    def draft(
        self,
        fields: Mapping[str, Any],
        *,
        job_id: str | None = None,
        priority: int | str = 3,
        delay_s: float | None = None,
        expires_s: float | None = None,
        run_timeout_s: float | None = None,
        queue: str | None = None,
        idempotency_key: str | None = None,
        origin: str = "client",
        **columns: Any,
    ) -> NewJob:
        """Check a request and its options, and make the row it would become.

        Raises:
            RequestInvalid: and its kinds; names the field.
        """
        expires_s = submission.expiry(expires_s)
        delay_s = submission.delay(delay_s)
        run_timeout_s = submission.time_limit(run_timeout_s)
        request = payloads.parse_request(fields)
        profile, data = self._checked(request)
        with translated():
            return NewJob(
                id=_job_id(job_id),
                model=request.model,
                queue=self._queue(queue, request.model),
                request=data,
                priority=_priority(priority),
                policy=request.policy_name or (profile.policy if profile else "dynamic"),
                profile=profile.name if profile else None,
                profile_digest=profile.digest if profile else None,
                delay_s=delay_s,
                expires_s=expires_s,
                run_timeout=run_timeout_s or self.settings.timing.run_timeout_s,
                idempotency_key=submission.idempotency_key(idempotency_key),
                origin=origin,
                traceparent=str(TraceContext.of_caller() or TraceContext.new()),
                **columns,
            )

    def job(self, job_id: str) -> Job:
        """The job's row.

        Raises:
            JobNotFound: there is none.
        """
        with self._errors(), self.ledger.read() as tx:
            job = jobs.get(tx, job_id)
        if job is None:
            raise JobNotFound(f"There is no job {job_id}.", details={"job_id": job_id})
        return job

    def result_of(self, job: Job) -> JobResult:
        """The stored result of a succeeded job.

        Raises:
            JobNotFound: it is no longer stored.
        """
        with self._errors(), self.ledger.read() as tx:
            stored = bodies.get(tx, job.result_digest) if job.result_digest else None
        if stored is None:
            raise JobNotFound(f"The result of job {job.id} is no longer stored.")
        return JobResult.from_bytes(stored)

    def wait(self, job_id: str, *, timeout_s: float | None = None) -> JobResult:
        """Wait until a job has ended, watching the ledger."""
        from tasks.canvas import ending_error

        patience = None if timeout_s is None else time.monotonic() + timeout_s
        pause = 0.02
        while (job := self.job(job_id)).state not in ENDED:
            if patience is not None and time.monotonic() >= patience:
                raise WaitTimeout(
                    f"Job {job_id} is still {job.state} after {timeout_s:g} s.",
                    details={"job_id": job_id, "state": str(job.state)},
                )
            left = pause if patience is None else patience - time.monotonic()
            time.sleep(min(pause, max(left, 0.0)))
            pause = min(pause * 1.5, 0.5)
        if job.state != "succeeded":
            raise ending_error(job)
        return self.result_of(job)

    def cancel(self, job_id: str, *, reason: str = "asked") -> Job:
        """Cancel a job: a queued one at once, a running one as soon as its worker looks."""
        with self._errors(), self.ledger.write() as tx:
            job = jobs.cancel(tx, job_id=job_id, reason=reason)
        if job is None:
            raise JobNotFound(f"There is no job {job_id}.", details={"job_id": job_id})
        return job

    def _enter(self, drafts: Sequence[NewJob]) -> list[Ticket]:
        self._check_ledger()
        with self._errors(), self.ledger.write() as tx:
            entered = jobs.submit(tx, drafts)
        due = [job for job in entered if job.created and job.state == "queued"]
        try:
            publish.send(self.app, due, ledger_uuid=self.ledger.uuid)
        except (OperationalError, redis.RedisError, OSError) as error:
            logger.warning(
                "%d job(s) accepted, but the broker is away (%s); a worker will send them.",
                len(due),
                error,
            )
        return [Ticket(job_id=job.id, client=self) for job in entered]

    def _checked(self, request: payloads.Request) -> tuple[Any, bytes]:
        limits = self.settings.limits
        try:
            profile = payloads.check(request, catalogue=self.catalogue, limits=limits)
            data = request.to_bytes()
        except Exception as error:
            if hasattr(error, "suggested_action"):
                raise adopt(error) from error
            raise
        if len(data) > limits.max_request_bytes:
            raise RequestInvalid(
                f"The request has {len(data)} bytes; the limit is {limits.max_request_bytes}.",
                code="REQUEST_TOO_LARGE",
                details={"bytes": len(data), "limit": limits.max_request_bytes},
            )
        return profile, data

    def _queue(self, given: object, model: str) -> str:
        if given is None:
            return submission.queue(None, model=model)
        with self._errors(), self.ledger.read() as tx:
            return submission.queue(given, model=model, fleet=workers.list(tx))

    def _check_ledger(self) -> None:
        if not self._ledger_checked:
            ledger_id.check(self.settings, self.ledger)
            self._ledger_checked = True

    def _errors(self) -> Any:
        return translated()


class translated:  # noqa: N801 - reads as a statement: `with translated():`
    """Turns the ledger's errors into ours."""

    def __enter__(self) -> None:
        """Nothing to prepare."""

    def __exit__(self, _type: object, error: BaseException | None, _trace: object) -> None:
        """Re-raise a ledger's error as one of ours."""
        if isinstance(error, ledgers.LedgerError):
            raise adopt(error) from error


def _job_id(given: str | None) -> str:
    if given is None:
        return str(uuids.uuid4())
    try:
        return str(uuids.UUID(given))
    except (ValueError, AttributeError, TypeError) as error:
        raise RequestInvalid(
            f"task_id: {given!r:.80} is not a UUID.",
            suggested_action="Let Celery choose the id.",
            details={"field": "task_id"},
        ) from error


def _priority(given: int | str) -> int:
    try:
        return int(parse_priority(given))
    except Exception as error:
        raise adopt(error) from error
