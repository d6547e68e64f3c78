"""A settled outcome as stored bytes: the result, the report, the receipt and the review.

The receipt is made and signed inside the committing transaction, because its timestamp is the
store's clock. What may leave the machine is queued for upload in the same transaction.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any

from executors import ModelInfo, Sampling
from executors.resampling import Outcome
from ledger import Job, ReceiptRow, ReviewRow, Transaction, bodies, jobs
from ledger.uploads import UploadKind
from monitoring.metrics import CANARY
from proofs import (
    Companion,
    Receipt,
    SampleDigest,
    build_report,
    compute_cid,
    confidence_score,
    encryption,
    salted_digest,
    sha256_digest,
    timestamp,
)
from proofs.report import SALT_BYTES
from tasks import outbox, payloads
from tasks.catalogue import Profile
from tasks.client import JobResult
from tasks.settings import Settings

MOST_SKEW_S = 5.0
"""How far a worker's clock may be off without a word of it in the report."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Issuer:
    """Who issues a worker's receipts, and what becomes of their reports.

    `sign` gives a receipt's own signature, `log` is the number of the log it belongs to. `now` is
    the store's clock, given where signing takes long, as with an agent: receipts are then signed
    before the transaction, in which everybody else would wait.
    """

    settings: Settings
    sign: Callable[[bytes], bytes]
    log: int
    now: Callable[[], float] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """A report's bytes with their names; made before the transaction, which others wait for.

    `published` is what `cid` names: the report, or its ciphertext.
    """

    data: bytes
    digest: str
    cid: str
    published: bytes
    input_hash: str
    output_hash: str


def report(
    *,
    job: Job,
    request: payloads.Request,
    outcome: Outcome,
    sampling: Sampling,
    info: ModelInfo,
    profile: Profile | None,
    issuer: Issuer,
    clock_skew_s: float,
    samples_of: str | None = None,
) -> Report:
    """The report of a job, as it is stored and hashed; `samples_of` is who drew for it."""
    salt = secrets.token_bytes(SALT_BYTES) if request.sensitive else None
    cid_profile, recipients = issuer.settings.cid_profile, outbox.recipients(issuer.settings)
    sampler = {key: value for key, value in asdict(sampling).items() if key != "seed"}
    # JSON's keys are texts.
    sampler["logit_bias"] = {str(token): bias for token, bias in sampling.logit_bias.items()}
    digests = tuple(
        SampleDigest(
            index=sample.index,
            seed=sample.seed,
            digest=sha256_digest(sample.text.encode()),
            answer_class=sample.answer_class,
            valid=sample.valid,
        )
        for sample in outcome.samples
    )
    companion = Companion(
        model_digest=info.model_digest,
        engine=info.engine,
        engine_version=info.engine_version,
        engine_digest=info.engine_digest,
        device=info.device,
        sampler=sampler,
        samples=digests,
        policy=outcome.policy,
        policy_version=str(outcome.policy_version),
        calibrator_version=outcome.calibrator_version,
        profile=profile.name if profile else None,
        profile_digest=profile.digest if profile else None,
        fence=job.fence,
        confidence_raw=outcome.confidence_raw,
        confidence=outcome.confidence,
        confidence_calibrated=outcome.confidence_calibrated,
        k_launched=outcome.k_launched,
        k_invalid=outcome.k_invalid,
        rounds=outcome.rounds,
        stop_reason=str(outcome.stop_reason),
        decision=str(outcome.decision),
        review_reasons=outcome.review_reasons,
        cid_profile=cid_profile,
        samples_of=samples_of,
        clock_skew_s=round(clock_skew_s) if abs(clock_skew_s) > MOST_SKEW_S else None,
        report_encryption="age" if recipients else None,
    )
    data = build_report(
        job_id=job.id,
        request=request.model_dump(exclude_none=True, by_alias=True),
        answer=outcome.answer,
        samples=[_sample(sample) for sample in outcome.samples],
        companion=companion,
        salt=salt,
    )
    published = encryption.encrypt(data, recipients) if recipients else data
    answer = outcome.answer.encode()
    return Report(
        data=data,
        digest=sha256_digest(data),
        cid=compute_cid(published, profile=cid_profile),
        published=published,
        input_hash=(
            job.request_digest if salt is None else salted_digest(request.to_bytes(), salt)
        ),
        output_hash=sha256_digest(answer) if salt is None else salted_digest(answer, salt),
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Issued:
    """A receipt's bytes, its id and its signature."""

    data: bytes
    digest: str
    signature: bytes


def issue(*, job: Job, outcome: Outcome, report: Report, issuer: Issuer, now: float) -> Issued:
    """Make and sign a job's receipt at a moment of the store's clock."""
    data = Receipt(
        job_id=job.id,
        worker_ens=issuer.settings.signing_name,
        model=job.model,
        input_hash=report.input_hash,
        output_hash=report.output_hash,
        report_hash=report.digest,
        inference_time_ms=max(0, round((now - (job.claimed_at or now)) * 1000)),
        confidence_score=confidence_score(outcome.confidence),
        k_samples=outcome.k,
        timestamp=timestamp(now),
        epoch=issuer.settings.epoch,
        ipfs_cid=report.cid,
    ).to_bytes()
    return Issued(data=data, digest=sha256_digest(data), signature=issuer.sign(data))


def commit(
    tx: Transaction,
    *,
    job: Job,
    outcome: Outcome,
    report: Report,
    issuer: Issuer,
    issued: Issued | None = None,
) -> dict[str, Any] | None:
    """Commit a job's result with its receipt; None if the job is somebody else's by now.

    A canary, which nobody asked, leaves neither a receipt nor a report, and nobody looks at it.
    """
    is_canary = job.origin == CANARY
    if issued is None and not is_canary:
        issued = issue(job=job, outcome=outcome, report=report, issuer=issuer, now=tx.now)
    result = JobResult(
        job_id=job.id,
        state="succeeded",
        confidence=outcome.confidence,
        k=outcome.k,
        receipt="" if issued is None else issued.digest,
        review=outcome.review,
        answer=outcome.answer,
        calibrated=outcome.confidence_calibrated,
        decision=str(outcome.decision),
        review_reasons=outcome.review_reasons,
        policy=outcome.policy,
        rounds=outcome.rounds,
        stop_reason=str(outcome.stop_reason),
        completion_tokens=sum(sample.completion_tokens for sample in outcome.samples),
        field_shares=dict(outcome.field_shares),
        samples=tuple(
            {"index": sample.index, "class": sample.answer_class, "valid": sample.valid}
            for sample in outcome.samples
        ),
    )
    review = (
        ReviewRow(
            job_id=job.id,
            reasons=outcome.review_reasons,
            classes=tuple(tuple(vote) for vote in outcome.classes),
        )
        if outcome.review and not is_canary
        else None
    )
    committed = jobs.commit(
        tx,
        job_id=job.id,
        fence=job.fence,
        result=result.to_bytes(),
        output=outcome.answer.encode(),
        receipt=None if issued is None else _row(job, report, issuer, issued),
        report=report.data,
        confidence=outcome.confidence,
        k=outcome.k,
        rounds=outcome.rounds,
        review=review,
    )
    if not committed:
        return None
    if issued is not None and outbox.reports_leave(issuer.settings):
        outbox.enqueue(
            tx,
            issuer.settings,
            kind=UploadKind.REPORT,
            cid=report.cid,
            body_digest=bodies.put(tx, report.published),
            profile=issuer.settings.cid_profile,
        )
    return result.celery()


def _row(job: Job, report: Report, issuer: Issuer, issued: Issued) -> ReceiptRow:
    return ReceiptRow(
        job_id=job.id,
        canonical=issued.data,
        digest=issued.digest,
        report_digest=report.digest,
        signature=issued.signature,
        log=issuer.log,
    )


def _sample(sample: Any) -> dict[str, Any]:
    return {
        "index": sample.index,
        "text": sample.text,
        "finish_reason": sample.finish_reason,
        "completion_tokens": sample.completion_tokens,
    }
