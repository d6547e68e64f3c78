"""From a finished vote to the outcome: the answer, how sure it is, and who looks at it. Pure."""

from __future__ import annotations

from collections.abc import Mapping

from executors.resampling.ballot import Ballot
from executors.resampling.calibration import Calibrator, Features
from executors.resampling.policy import Policy
from executors.resampling.review import review_reasons, verdict
from executors.resampling.types import Drawn, Outcome, Sample, Thresholds


def settle(
    *,
    ballot: Ballot,
    samples: Mapping[int, Drawn],
    launched: int,
    rounds: int,
    policy: Policy,
    stop_reason: str,
    thresholds: Thresholds,
    calibrator: Calibrator,
    critical_review: bool,
) -> Outcome:
    """Return the outcome of a finished vote. Pure.

    Without a valid sample the answer is the text of sample 0, with confidence 0 and for review.
    """
    standing = ballot.standing()
    features = Features(
        n=standing.n,
        v1=standing.agreeing,
        v2=standing.runner_up,
        invalid=standing.n - standing.valid,
    )
    confidence = min(1.0, max(0.0, calibrator.confidence(features))) if standing.valid else 0.0
    reasons = review_reasons(
        standing,
        confidence=confidence,
        calibrated=calibrator.calibrated,
        thresholds=thresholds,
        max_k=policy.max_k,
        critical_review=critical_review,
    )
    representative = standing.representative or 0
    return Outcome(
        answer=samples[representative].text,
        representative=representative,
        samples=tuple(
            _counted(samples[index], ballot, standing.labels.get(index))
            for index in sorted(samples)
        ),
        k=standing.n,
        k_launched=launched,
        k_invalid=features.invalid,
        rounds=rounds,
        stop_reason=str(stop_reason),
        confidence_raw=features.raw,
        confidence=confidence,
        confidence_calibrated=calibrator.calibrated,
        calibrator_version=calibrator.version,
        policy=policy.name,
        policy_version=policy.version,
        decision=verdict(
            reasons,
            confidence=confidence,
            composite=standing.composite_missing,
            thresholds=thresholds,
        ),
        review=bool(reasons),
        review_reasons=reasons,
        classes=standing.votes,
        field_shares=standing.field_shares,
        composite_missing=standing.composite_missing,
    )


def _counted(drawn: Drawn, ballot: Ballot, label: str | None) -> Sample:
    read = ballot.read(drawn.index)
    return Sample(
        index=drawn.index,
        seed=drawn.seed,
        text=drawn.text,
        finish_reason=str(drawn.finish_reason),
        prompt_tokens=drawn.prompt_tokens,
        completion_tokens=drawn.completion_tokens,
        valid=read.valid,
        answer_class=label,
        invalid_reason="" if read.valid else read.reason,
    )
