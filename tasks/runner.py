"""One claimed job, from its request to its committed result: the main path of honeyflow.

`run` reads: plan, draw until settled, commit. Whatever stops it in between becomes an `Ending`, and
the ledger has been told by the time it is returned. Nothing here knows Celery.
"""

from __future__ import annotations

import asyncio
import functools
import logging
import math
import time
from collections.abc import Callable
from concurrent.futures import Future
from contextlib import aclosing
from dataclasses import dataclass, field, replace
from typing import Any

from executors import (
    Completion,
    End,
    Error,
    Executor,
    GenerateRequest,
    Metrics,
    RequestAborted,
    Token,
)
from executors.resampling import (
    Outcome,
    Progress,
    RawSample,
    draw_until_settled,
    sample_seed,
)
from ledger import Claim, Job, LedgerError, SampleRow, State, Transaction, jobs, samples
from monitoring.metrics import CANARY
from tasks import evidence, plans
from tasks.catalogue import Catalogue
from tasks.course import Course
from tasks.errors import describe
from tasks.places import LATER_WAVE, Places
from tasks.plans import Plan
from tasks.scribe import Scribe
from tasks.stream import EventSink

logger = logging.getLogger(__name__)

RETRY_WAITS_S = (1.0, 2.0, 4.0, 8.0, 16.0)
SAMPLE_PATIENCE_S = 0.02
"""How long a sample waits for something to be written with; the last one for its job's commit."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Ending:
    """How a run ended: `job` as the ledger has it now; `result` when it succeeded.

    `state` is the job's state, or `fenced` when the job belongs to somebody else by now.
    """

    state: str
    job: Job
    result: dict[str, Any] | None = None
    error: dict[str, Any] | None = None


@dataclass(slots=True)
class Hold:
    """The places a job holds beforehand, why it is being stopped, if it is, and when it began."""

    prepaid: int = 0
    stopping: str | None = None
    began: float = 0.0
    classes: dict[int, str | None] = field(default_factory=dict)
    written: list[tuple[SampleRow, Future[bool]]] = field(default_factory=list)
    course: Course = field(default_factory=Course)


class Fenced(Exception):
    """The job has been given to another worker; nothing of this run counts."""


class SampleFailed(Exception):
    """The engine refused one sample; carries the engine's own error."""

    def __init__(self, error: Error) -> None:
        super().__init__(error.message)
        self.code = error.code
        self.message = error.message
        self.suggested_action = error.suggested_action
        self.retriable = error.retriable
        self.details = dict(error.details)


class Runner:
    """Runs claimed jobs on one executor."""

    def __init__(
        self,
        *,
        executor: Executor[Completion],
        places: Places,
        scribe: Scribe,
        catalogue: Catalogue,
        issuer: evidence.Issuer,
        sink: Callable[[str], EventSink],
        jitter: Callable[[], float],
        on_tokens: Callable[[int], None] = lambda _: None,
    ) -> None:
        self._executor = executor
        self._places = places
        self._scribe = scribe
        self._catalogue = catalogue
        self._issuer = issuer
        self._sink = sink
        self._jitter = jitter
        self._on_tokens = on_tokens

    async def run(self, claim: Claim, hold: Hold) -> Ending:
        """Run one claimed job to its end."""
        job = claim.job
        hold.began, hold.course.began = _since_boot(), time.monotonic()
        events = self._sink(job.id) if job.stream else None
        try:
            plan = plans.make(claim, self._catalogue, serves=self._executor.info.name)
            hold.course.begin(plan, self._executor.info)
            async with asyncio.timeout(max(0.0, min(job.run_timeout, _until_deadline(job)))):
                outcome = await self._draw(plan, claim, hold, events)
            hold.course.settled = time.monotonic()
            ending = await self._commit(plan, claim, outcome, hold)
            hold.course.written = time.monotonic()
        except TimeoutError:
            ending = await self._out_of_time(job)
        except asyncio.CancelledError:
            ending = await self._stopped(job, hold)
        except Fenced:
            ending = Ending(state="fenced", job=job)
        except Exception as error:
            ending = await self._failed(job, error)
        hold.course.ended = time.monotonic()
        if events is not None:
            events.end(ending.state, result=ending.result, error=ending.error)
        return ending

    async def _draw(
        self, plan: Plan, claim: Claim, hold: Hold, events: EventSink | None
    ) -> Outcome:
        """Draw under the policy; every finished sample goes to the ledger at once."""

        async def draw(index: int) -> RawSample:
            return await self._draw_one(plan, claim.job, hold, index, events)

        def told(progress: Progress) -> None:
            if events is not None:
                events.sample(progress, hold.classes.get(progress.index))

        return await draw_until_settled(
            draw=draw,
            policy=plan.policy,
            agreement=plan.agreement,
            thresholds=plan.thresholds,
            prior=plan.still_good(claim.samples, self._executor.info),
            on_sample=told,
        )

    async def _draw_one(
        self, plan: Plan, job: Job, hold: Hold, index: int, events: EventSink | None
    ) -> RawSample:
        if hold.prepaid:
            hold.prepaid -= 1
        else:
            await self._places.take(1, kind=LATER_WAVE, priority=job.priority)
        seed = sample_seed(plan.seed_base, index)
        began = time.monotonic()
        try:
            completion, measured = await self._complete(plan, job, index, seed, events)
        except BaseException as error:
            hold.course.missed(index, began, error)
            raise
        finally:
            self._places.give(1)
        self._on_tokens(completion.completion_tokens)
        # Whoever waits for this place claims first, so that the engine is not kept waiting for our
        # bookkeeping: samples of one length end in the same step.
        await asyncio.sleep(0)
        sample = RawSample(
            index=index,
            seed=seed,
            text=completion.text,
            finish_reason=str(completion.finish_reason),
            prompt_tokens=completion.prompt_tokens,
            completion_tokens=completion.completion_tokens,
        )
        duration_ms = int((time.monotonic() - began) * 1000)
        row = plan.row(
            job,
            sample,
            self._executor.info,
            duration_ms=duration_ms,
            first_token_ms=_milliseconds(measured.first_token_s),
            cached_tokens=completion.cached_tokens,
        )
        hold.classes[index] = row.answer_class
        hold.course.drew(row, began)
        # Not awaited: the scribe keeps the order, so the commit comes after it.
        written = self._scribe.submit_item(samples.add_many, row, patience_s=SAMPLE_PATIENCE_S)
        hold.written.append((row, written))
        return sample

    async def _complete(
        self, plan: Plan, job: Job, index: int, seed: int, events: EventSink | None
    ) -> tuple[Completion, Metrics]:
        measured = Metrics()
        asked = GenerateRequest(
            request_id=f"{job.id}.{job.fence}.{index}",
            prompt=plan.prompt,
            sampling=replace(plan.sampling, seed=seed),
            stream=events is not None,
            priority=job.priority,
            adapter=plan.request.adapter,
        )
        async with aclosing(self._executor.generate(asked)) as stream:
            async for event in stream:
                if isinstance(event, End):
                    return event.output, measured
                if isinstance(event, Metrics):
                    measured = event
                if isinstance(event, Error):
                    raise SampleFailed(event)
                if isinstance(event, Token) and events is not None:
                    events.token(index, event.text)
        raise RequestAborted(
            f"Sample {index} ended without an answer.", suggested_action="It is tried again."
        )

    async def _commit(self, plan: Plan, claim: Claim, outcome: Outcome, hold: Hold) -> Ending:
        """Write result, report, receipt and review in one transaction, if the job is still ours."""
        job = claim.job
        report = evidence.report(
            job=job,
            request=plan.request,
            outcome=outcome,
            sampling=plan.sampling,
            info=self._executor.info,
            profile=plan.profile,
            issuer=self._issuer,
            clock_skew_s=_skew(job, hold),
            samples_of=who_drew_before(claim),
        )
        commit = functools.partial(
            evidence.commit,
            job=job,
            outcome=outcome,
            report=report,
            issuer=self._issuer,
            issued=await self._issued_early(job, outcome, report),
        )

        def with_lost_samples(tx: Transaction) -> dict[str, Any] | None:
            samples.add_many(tx, [row for row, written in hold.written if _lost(written)])
            return commit(tx)

        result = await self._persist(with_lost_samples)
        if result is None:
            raise Fenced
        return Ending(state="succeeded", job=replace(job, state=State.SUCCEEDED), result=result)

    async def _issued_early(
        self, job: Job, outcome: Outcome, report: evidence.Report
    ) -> evidence.Issued | None:
        """The receipt, where signing takes too long for the transaction; else it is made there."""
        if (clock := self._issuer.now) is None or job.origin == CANARY:
            return None

        def issue() -> evidence.Issued:
            return evidence.issue(
                job=job, outcome=outcome, report=report, issuer=self._issuer, now=clock()
            )

        return await asyncio.to_thread(issue)

    async def _out_of_time(self, job: Job) -> Ending:
        """The run timeout fails a job, its deadline expires it."""
        if _until_deadline(job) <= job.run_timeout:
            return await self._end(
                job, "expired", lambda tx: jobs.expire(tx, job_id=job.id, fence=job.fence)
            )
        error = {
            "code": "TIMEOUT",
            "message": f"The job ran longer than its {job.run_timeout:g} s.",
            "suggested_action": "Give it a longer run timeout, or ask for fewer tokens.",
            "details": {"run_timeout_s": job.run_timeout},
            "retriable": False,
        }
        return await self._fail(job, error)

    async def _stopped(self, job: Job, hold: Hold) -> Ending:
        """Somebody stopped this run: a cancel, a drain, a dead engine or a lost session."""
        reason = hold.stopping or "drain"
        if reason == "cancel":
            return await self._end(
                job, "cancelled", lambda tx: jobs.finish_cancel(tx, job_id=job.id, fence=job.fence)
            )
        if reason == "drain":
            return await self._end(
                job,
                "queued",
                lambda tx: jobs.hand_back(tx, job_id=job.id, fence=job.fence, reason="drain"),
            )
        # A dead engine's jobs go back with its session, a lost session's have gone already.
        return Ending(state="fenced", job=job)

    async def _failed(self, job: Job, error: Exception) -> Ending:
        told = describe(error)
        if told["code"] == "ENGINE_DEAD":
            return Ending(state="engine_dead", job=job, error=told)
        if not told["retriable"]:
            if told["code"] == "INTERNAL":
                logger.error("job %s failed", job.id, exc_info=error)
            return await self._fail(job, told)
        wait = RETRY_WAITS_S[min(job.tries, len(RETRY_WAITS_S) - 1)] + self._jitter()
        state = await self._persist(
            lambda tx: jobs.retry(tx, job_id=job.id, fence=job.fence, error=told, wait=wait)
        )
        return Ending(
            state=str(state),
            job=replace(job, state=State(state), error=told) if state != "fenced" else job,
            error=told,
        )

    async def _fail(self, job: Job, error: dict[str, Any]) -> Ending:
        ending = await self._end(
            job,
            "failed",
            lambda tx: jobs.fail(tx, job_id=job.id, fence=job.fence, error=error),
        )
        return replace(ending, job=replace(ending.job, error=error), error=error)

    async def _end(self, job: Job, state: str, operation: Callable[[Transaction], bool]) -> Ending:
        if not await self._persist(operation):
            return Ending(state="fenced", job=job)
        return Ending(state=state, job=replace(job, state=State(state)))

    async def _persist(self, operation: Callable[[Transaction], Any]) -> Any:
        """Write, and try again while the ledger is away: an answer is not thrown away for that."""
        for pause in (0.2, 0.5, 1.0, 2.0, 4.0, None):
            try:
                return await self._scribe.write(operation)
            except LedgerError as error:
                if pause is None or not error.retriable:
                    raise
                logger.warning("the ledger is away (%s); trying again in %g s", error, pause)
                await asyncio.sleep(pause)
        return None


def _since_boot() -> float:
    """Seconds on the clock that nobody can set."""
    return time.clock_gettime(time.CLOCK_BOOTTIME)


def who_drew_before(claim: Claim) -> str | None:
    """The job that this one has samples of, if it follows one and that had any left to give.

    They are older than its own first claim.
    """
    began = claim.job.started_at or 0.0
    taken_over = any((sample.created_at or 0.0) < began for sample in claim.samples)
    return claim.job.follows if taken_over else None


def _skew(job: Job, hold: Hold) -> float:
    """How far this machine's clock is ahead of the store's, which the claim told."""
    if job.claimed_at is None:
        return 0.0
    return time.time() - (job.claimed_at + _since_boot() - hold.began)


def _until_deadline(job: Job) -> float:
    """Seconds from the claim, which has just been, to the deadline; both by the store's clock."""
    if job.deadline is None:
        return math.inf
    return job.deadline - (job.claimed_at or job.deadline)


def _milliseconds(seconds: float | None) -> int | None:
    return None if seconds is None else round(seconds * 1000)


def _lost(write: Future[bool]) -> bool:
    """Whether a write has ended without reaching the disk; the ledger was away."""
    return write.done() and write.exception() is not None
