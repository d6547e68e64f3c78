"""The values that resampling takes and gives: samples, their reading, thresholds, the outcome.

Shares and confidences are fractions in 0..1, token counts integers, an index counts from 0 within a
job. Nothing is computed here.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import NamedTuple

from executors.resampling.errors import ThresholdsInvalid


@dataclass(frozen=True, slots=True, kw_only=True)
class RawSample:
    """One drawn answer as the engine gave it; `finish_reason` is `stop` or `length`."""

    index: int
    seed: int
    text: str
    finish_reason: str
    prompt_tokens: int
    completion_tokens: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Sample:
    """One drawn answer and what it counted as.

    `answer_class` is the class it is in at the end, written as in `Outcome.classes`; None for an
    invalid sample, and `invalid_reason` then says what was wrong with it.
    """

    index: int
    seed: int
    text: str
    finish_reason: str
    prompt_tokens: int
    completion_tokens: int
    valid: bool
    answer_class: str | None
    invalid_reason: str = ""


#: What drawing gives: a sample as the engine gave it, or one that was counted before.
Drawn = RawSample | Sample


@dataclass(frozen=True, slots=True, kw_only=True)
class Classified:
    """What one text answers.

    `leaves` pairs each critical field with its canonical value; a plain answer has the one field
    "". An invalid text has no canonical form and no leaves, and `reason` says why. A valid text has
    a `reason` only where it was read leniently (`letter_case`: an enumerated word in other letter
    case).
    """

    valid: bool
    canonical: str | None
    leaves: tuple[tuple[str, str], ...]
    reason: str = ""


class Vote(NamedTuple):
    """One class of answers: how it is written, how many samples gave it, the first that did."""

    canonical: str
    votes: int
    example: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Thresholds:
    """Which confidence sends an answer to a person, and which accepts it without a flag.

    `review_below` and `accept_from` hold for raw agreement; `calibrated_review_below` takes the
    place of `review_below` for a calibrated confidence. `review_below` also holds for each critical
    field. Raises `ThresholdsInvalid` unless all are fractions and the first two in order.
    """

    review_below: float = 0.55
    accept_from: float = 0.75
    calibrated_review_below: float = 0.75

    def __post_init__(self) -> None:
        """Refuse thresholds that are no fractions or cross."""
        ordered = 0 <= self.review_below <= self.accept_from <= 1
        if not (ordered and 0 <= self.calibrated_review_below <= 1):
            raise ThresholdsInvalid(
                f"review below {self.review_below} (calibrated {self.calibrated_review_below}) and "
                f"accept from {self.accept_from} are not fractions in ascending order",
                suggested_action="use 0 <= review_below <= accept_from <= 1",
                details={
                    "review_below": self.review_below,
                    "accept_from": self.accept_from,
                    "calibrated_review_below": self.calibrated_review_below,
                },
            )


class Verdict(StrEnum):
    """What becomes of the answer."""

    #: Confident enough to be used.
    ACCEPT = "accept"
    #: Used, and marked as less certain.
    FLAG = "flag"
    #: A person looks at it.
    REVIEW = "review"


@dataclass(frozen=True, slots=True, kw_only=True)
class Progress:
    """How far a job is, told after every finished sample.

    `index` is the sample that has just been counted, `resumed` whether it was drawn before this
    run. `done` samples of `wanted` so far are in, `valid` of them valid; `leader` is the leading
    class and `agreement` its share of the `done` samples, 0 before the first valid one. `round`
    counts from 1.
    """

    index: int
    resumed: bool
    round: int
    done: int
    wanted: int
    valid: int
    leader: str | None
    agreement: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """The answer of a job and everything that says how far to trust it.

    `answer` is the text of sample `representative`. `k` samples count, `k_launched` were drawn
    (more than `k` only when a resumed job brings samples that its policy no longer asks for),
    `k_invalid` of the `k` were invalid; `rounds` is the number of waves. `confidence_raw` is the
    share of the `k` samples that give this answer (on every critical field); `confidence` is the
    calibrator's figure, or the raw one with `confidence_calibrated` False. `classes` are all
    answers, most votes first; `field_shares` is, for each critical field, the share of the `k`
    samples that agree with the answer on it (empty for a plain answer). `composite_missing`: no
    sample gave the winning value of every field at once, so the answer is the sample that gives
    most of them. `review_reasons` are `no_valid_sample`, `low_confidence`, `tied`,
    `mostly_invalid`, `too_few_valid` and `field_in_doubt:<field>`.
    """

    answer: str
    representative: int
    samples: tuple[Sample, ...]
    k: int
    k_launched: int
    k_invalid: int
    rounds: int
    stop_reason: str
    confidence_raw: float
    confidence: float
    confidence_calibrated: bool = False
    calibrator_version: str | None = None
    policy: str
    policy_version: str
    decision: Verdict
    review: bool
    review_reasons: tuple[str, ...] = ()
    classes: tuple[Vote, ...] = ()
    field_shares: Mapping[str, float] = field(default_factory=dict)
    composite_missing: bool = False
