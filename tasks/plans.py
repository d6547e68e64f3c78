"""What a claimed request asks for, in the executor's and the policy's terms."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from executors import ModelInfo, Prompt, Sampling
from executors.resampling import (
    Agreement,
    Policy,
    RawSample,
    Thresholds,
    parse_policy,
)
from ledger import Claim, Job, SampleRow
from proofs import canonicalize, sha256_digest
from tasks import payloads
from tasks.catalogue import Catalogue, Profile
from tasks.errors import HoneyflowError


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """How one job is drawn and judged. `seed_base` is what every sample's seed is derived from."""

    request: payloads.Request
    profile: Profile | None
    prompt: Prompt
    prompt_digest: str
    policy: Policy
    agreement: Agreement
    thresholds: Thresholds
    sampling: Sampling
    seed_base: str | int

    def row(
        self,
        job: Job,
        sample: RawSample,
        info: ModelInfo,
        *,
        duration_ms: int,
        first_token_ms: int | None = None,
        cached_tokens: int | None = None,
    ) -> SampleRow:
        """A finished sample as the ledger keeps it."""
        counted = self.agreement.classify(sample.text, truncated=sample.finish_reason == "length")
        return SampleRow(
            job_id=job.id,
            index=sample.index,
            fence=job.fence,
            seed=sample.seed,
            text=sample.text,
            finish_reason=sample.finish_reason,
            prompt_tokens=sample.prompt_tokens,
            completion_tokens=sample.completion_tokens,
            valid=counted.valid,
            invalid_reason=None if counted.valid else counted.reason,
            answer_class=counted.canonical,
            model_digest=info.model_digest,
            engine_digest=info.engine_digest,
            prompt_digest=self.prompt_digest,
            duration_ms=duration_ms,
            first_token_ms=first_token_ms,
            cached_tokens=cached_tokens,
        )

    def still_good(self, rows: Iterable[SampleRow], info: ModelInfo) -> dict[int, RawSample]:
        """Samples of an earlier run that the same model drew from the same prompt."""
        same = (info.model_digest, info.engine_digest, self.prompt_digest)
        return {
            row.index: RawSample(
                index=row.index,
                seed=row.seed,
                text=row.text,
                finish_reason=row.finish_reason or "stop",
                prompt_tokens=row.prompt_tokens,
                completion_tokens=row.completion_tokens,
            )
            for row in rows
            if same == (row.model_digest, row.engine_digest, row.prompt_digest)
        }


def make(claim: Claim, catalogue: Catalogue, *, serves: str) -> Plan:
    """Read a claimed job's request into a plan.

    Raises:
        UnknownProfile: this worker does not know the profile that the client knew.
        HoneyflowError: this worker serves another model than the one asked for.
    """
    job = claim.job
    if job.model != serves:
        raise HoneyflowError(
            f"The worker of the queue {job.queue!r} serves {serves}, not {job.model}.",
            code="MODEL_NOT_SERVED",
            suggested_action="Name the queue of a GPU whose worker serves the model, or none.",
            details={"queue": job.queue, "model": job.model, "serves": serves},
        )
    request = payloads.request_from_bytes(claim.request)
    profile = payloads.profile_of(request, catalogue)
    prompt = payloads.prompt_of(request, profile)
    return Plan(
        request=request,
        profile=profile,
        prompt=prompt,
        prompt_digest=prompt_digest(prompt),
        policy=parse_policy(job.policy),
        agreement=payloads.parsed_agreement(payloads.agreement_of(request, profile)),
        thresholds=_thresholds(profile),
        sampling=payloads.sampling_of(request, profile, seed=None),
        seed_base=job.id if request.seed is None else request.seed,
    )


def prompt_digest(prompt: Prompt) -> str:
    """The digest of what the model reads, by which samples of the same prompt are known."""
    turns = [[turn.role, turn.content] for turn in prompt.messages]
    return sha256_digest(canonicalize(prompt.text if prompt.text is not None else turns))


def _thresholds(profile: Profile | None) -> Thresholds:
    if profile is None:
        return Thresholds()
    return Thresholds(review_below=profile.review_below, accept_from=profile.accept_from)
