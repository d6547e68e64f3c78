"""Who looks at an answer: nobody, somebody who cares, or a person before it is used.

An answer goes to a person for any of:

1. its confidence is below the review threshold;
2. on some critical field the leader is tied with another class at the end;
3. more than half of the samples are invalid, or fewer than two are valid;
4. a critical field by itself has too small a share.

A job that can only ever draw one sample (`max_k` 1) is not held to the two valid samples of (3):
its caller has asked for one. Without any valid sample there is no answer to judge, and that alone
is the reason. Pure.
"""

from __future__ import annotations

from executors.resampling.ballot import Standing
from executors.resampling.types import Thresholds, Verdict


def review_reasons(
    standing: Standing,
    *,
    confidence: float,
    calibrated: bool,
    thresholds: Thresholds,
    max_k: int,
    critical_review: bool,
) -> tuple[str, ...]:
    """Return why a person must look at the answer, empty if none need."""
    if not standing.valid:
        return ("no_valid_sample",)
    reasons = []
    # (1): the answer as a whole is in doubt
    floor = thresholds.calibrated_review_below if calibrated else thresholds.review_below
    if confidence < floor:
        reasons.append("low_confidence")
    # (2): the votes do not decide
    if standing.tied:
        reasons.append("tied")
    # (3): too little to judge by
    if 2 * (standing.n - standing.valid) > standing.n:
        reasons.append("mostly_invalid")
    if standing.valid < 2 and max_k > 1:
        reasons.append("too_few_valid")
    # (4): shares are raw agreement, so the raw threshold holds for them beside a calibrator too
    if critical_review:
        reasons.extend(
            f"field_in_doubt:{field}"
            for field, share in standing.field_shares.items()
            if share < thresholds.review_below
        )
    return tuple(reasons)


def verdict(
    reasons: tuple[str, ...], *, confidence: float, composite: bool, thresholds: Thresholds
) -> Verdict:
    """Return what becomes of the answer.

    One that is not the winner on every field (`composite`) is never accepted without a flag.
    """
    if reasons:
        return Verdict.REVIEW
    if composite or confidence < thresholds.accept_from:
        return Verdict.FLAG
    return Verdict.ACCEPT
