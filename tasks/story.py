"""A job's whole story, out of the ledger alone: its moves, its attempts, its samples, its proof."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

from ledger import (
    Change,
    Job,
    SampleRow,
    State,
    Transaction,
    batches,
    jobs,
    logs,
    receipts,
    samples,
    sessions,
    workers,
)
from monitoring.trace_context import TraceContext
from tasks.client import Client, JobResult
from tasks.errors import JobNotFound

LONG_S = 300.0
"""From here on a run is long enough to be told."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AttemptTold:
    """One attempt: who ran it, how long it had waited in its queue, how long it ran, how it ended.

    `ended` is the state it left the job in, None while it runs.
    """

    number: int
    worker: str | None
    gpus: tuple[str, ...]
    began_at: float
    waited_s: float | None
    run_s: float | None = None
    ended: str | None = None
    why: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ReceiptTold:
    """A job's receipt and its place in a log; `leaf` is None until it has one."""

    digest: str
    log: str | None
    leaf: int | None
    batch: int | None
    sealed: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Story:
    """All that the ledger knows of one job; `result` is None where there is none, or none any more.

    `notes` are the things that an operator would want to be told.
    """

    job: Job
    history: Sequence[Change]
    attempts: Sequence[AttemptTold]
    drawn: Sequence[SampleRow]
    receipt: ReceiptTold | None
    result: JobResult | None
    notes: Sequence[str]

    @property
    def trace_id(self) -> str | None:
        """The trace its spans and lines are found under."""
        return TraceContext.id_of(self.job.traceparent)

    @property
    def tokens_per_s(self) -> float | None:
        """Tokens of all samples over the time in which they were drawn."""
        seconds = sum(one.run_s or 0.0 for one in self.attempts)
        tokens = sum(sample.completion_tokens for sample in self.drawn)
        return tokens / seconds if seconds and tokens else None


def collect(client: Client, job_id: str) -> Story:
    """Read a job's story.

    Raises:
        JobNotFound: there is no such job.
    """
    job = client.job(job_id)
    with client.ledger.read() as tx:
        history = jobs.history(tx, job.id)
        drawn = samples.of(tx, job.id)
        made = attempts(history, _runners(tx, history))
        receipt = _receipt(tx, job)
    return Story(
        job=job,
        history=history,
        attempts=made,
        drawn=drawn,
        receipt=receipt,
        result=_stored(client, job),
        notes=tuple(_notes(job, made)),
    )


Runner = tuple[str, tuple[str, ...]]


def attempts(history: Sequence[Change], runners: Mapping[str, Runner]) -> list[AttemptTold]:
    """The attempts in a job's moves; `runners` are worker and GPUs of each session."""
    told: list[AttemptTold] = []
    queued_at: float | None = None
    for change in history:
        if change.source is State.RUNNING and told:
            told[-1] = _ended(told[-1], change)
        if change.target is State.QUEUED:
            queued_at = change.at
        elif change.target is State.RUNNING:
            worker, gpus = runners.get(change.session or "", (None, ()))
            told.append(
                AttemptTold(
                    number=change.fence,
                    worker=worker,
                    gpus=gpus,
                    began_at=change.at,
                    waited_s=None if queued_at is None else change.at - queued_at,
                )
            )
    return told


def _ended(attempt: AttemptTold, change: Change) -> AttemptTold:
    run_s = change.at - attempt.began_at
    return replace(attempt, run_s=run_s, ended=str(change.target), why=change.reason)


def _runners(tx: Transaction, history: Sequence[Change]) -> dict[str, Runner]:
    """Worker and GPUs of each session; the GPUs as the worker said last."""
    ids = {one.session for one in history if one.target is State.RUNNING and one.session}
    found = [session for one in ids if (session := sessions.get(tx, one)) is not None]
    names = {session.worker for session in found}
    gpus = {row.worker: row.facts.get("gpus") or () for row in workers.list(tx) if names}
    return {one.id: (one.worker, tuple(map(str, gpus.get(one.worker, ())))) for one in found}


def _stored(client: Client, job: Job) -> JobResult | None:
    if job.state is not State.SUCCEEDED or job.result_digest is None:
        return None
    try:
        return client.result_of(job)
    except JobNotFound:
        return None


def _receipt(tx: Transaction, job: Job) -> ReceiptTold | None:
    row = receipts.get(tx, job.id)
    if row is None:
        return None
    log = None if row.log is None else logs.get(tx, row.log)
    batch = None
    if row.log is not None and row.leaf_index is not None:
        batch = batches.of_leaf(tx, row.log, row.leaf_index)
    return ReceiptTold(
        digest=row.digest,
        log=None if log is None else log.origin,
        leaf=row.leaf_index,
        batch=None if batch is None else batch.number,
        sealed=batch is not None and batch.signature is not None,
    )


def _notes(job: Job, made: Sequence[AttemptTold]) -> Sequence[str]:
    told: list[tuple[Any, str]] = [
        (job.crashes, f"it crashed its worker {job.crashes} time(s)"),
        (
            job.shared_crashes,
            f"it was in flight in {job.shared_crashes} crash(es) that others shared",
        ),
        (job.tries, f"it met a passing error {job.tries} time(s)"),
        (job.apart, "it runs alone on its engine"),
        (job.promoted_at, "it had waited so long that it was put before the others"),
        (job.cancel_requested, f"it was called off: {job.cancel_reason}"),
        (
            any((one.run_s or 0.0) > LONG_S for one in made),
            f"an attempt ran longer than {LONG_S:g} s",
        ),
        (job.review, "people look at its answer: its samples do not agree"),
        (job.delivery_error, "its end could not be delivered yet"),
        (job.follows, f"it shares the samples of job {job.follows}"),
        (job.purged_at, "its texts are erased"),
    ]
    return [words for holds, words in told if holds]


def plain(story: Story) -> dict[str, Any]:
    """The story as JSON holds it: the row's members, and beside them what belongs to it."""
    return {
        **asdict(story.job),
        "trace_id": story.trace_id,
        "tokens_per_s": story.tokens_per_s,
        "history": [asdict(change) for change in story.history],
        "attempts": [asdict(one) for one in story.attempts],
        "samples": [_sample(one) for one in story.drawn],
        "receipt": None if story.receipt is None else asdict(story.receipt),
        "result": None if story.result is None else _result(story.result),
        "notes": list(story.notes),
    }


def rate(sample: SampleRow) -> float | None:
    """A sample's tokens per second."""
    return 1000 * sample.completion_tokens / sample.duration_ms if sample.duration_ms else None


def _sample(sample: SampleRow) -> dict[str, Any]:
    names = ("index", "fence", "valid", "finish_reason", "prompt_tokens", "completion_tokens")
    more = ("duration_ms", "first_token_ms", "cached_tokens", "text_digest")
    told = {name: getattr(sample, name) for name in (*names, *more)}
    return {**told, "class": sample.answer_class, "tokens_per_s": rate(sample)}


def _result(result: JobResult) -> dict[str, Any]:
    names = ("answer", "confidence", "calibrated", "k", "rounds", "stop_reason", "decision")
    told = {name: getattr(result, name) for name in names}
    return {**told, "review_reasons": list(result.review_reasons)}
