"""Who looks at an answer: the numbered rules, each broken alone."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial

import pytest

from executors.resampling import Features, Thresholds, ThresholdsInvalid, Verdict, parse_agreement
from tests.unit.executors.resampling.draws import settle
from tests.unit.executors.resampling.test_structured import SPEC, finding


@dataclass(frozen=True)
class Sure:
    """A calibrator that has made up its mind."""

    value: float
    version: str | None = "fitted-7"
    calibrated: bool = True

    def confidence(self, _features: Features, /) -> float:
        """Return the same for every vote."""
        return self.value


@pytest.mark.parametrize(
    ("votes", "k", "decision", "reasons"),
    [
        ("AAA", 3, Verdict.ACCEPT, ()),
        ("AA-", 3, Verdict.FLAG, ()),
        ("ABAAA", 5, Verdict.ACCEPT, ()),
        ("ABCAA", 5, Verdict.FLAG, ()),
        ("ABABAAA", 7, Verdict.FLAG, ()),
        ("ABABCAD", 7, Verdict.REVIEW, ("low_confidence",)),
        ("ABCBAAB", 7, Verdict.REVIEW, ("low_confidence", "tied")),
    ],
)
def test_three_five_seven_and_review_are_all_reached(
    votes: str, k: int, decision: Verdict, reasons: tuple[str, ...]
) -> None:
    """Every branch of the default policy, with realistic votes."""
    outcome = settle(list(votes))
    assert (outcome.k, outcome.decision, outcome.review_reasons) == (k, decision, reasons)
    assert outcome.review == (decision is Verdict.REVIEW)


@pytest.mark.parametrize(
    ("votes", "policy", "reasons"),
    [
        ("AABBC", "fixed:5", ("low_confidence", "tied")),
        ("AABB", "fixed:4", ("low_confidence", "tied")),
        ("A---A", "fixed:5", ("low_confidence", "mostly_invalid")),
        ("A-", "fixed:2", ("low_confidence", "too_few_valid")),
        ("A", "fixed:1", ()),
        ("-", "fixed:1", ("no_valid_sample",)),
        ("---", "fixed:3", ("no_valid_sample",)),
    ],
)
def test_each_rule_has_its_reason(votes: str, policy: str, reasons: tuple[str, ...]) -> None:
    """A single sample that was asked for is not held to two valid ones."""
    assert settle(list(votes), policy=policy).review_reasons == reasons


def test_thresholds_alone_decide_where_nothing_else_is_wrong() -> None:
    """Ties and invalid samples send an answer to a person at any confidence."""
    loose = Thresholds(review_below=0.0, accept_from=0.1)
    assert settle(list("AABBC"), policy="fixed:5", thresholds=loose).review_reasons == ("tied",)
    assert settle(list("A--"), policy="fixed:3", thresholds=loose).review_reasons == (
        "mostly_invalid",
        "too_few_valid",
    )
    assert settle(list("AAB"), policy="fixed:3", thresholds=loose).decision is Verdict.ACCEPT
    strict = Thresholds(review_below=1.0, accept_from=1.0)
    assert settle(list("AAB"), policy="fixed:3", thresholds=strict).review
    assert not settle(list("AAA"), policy="fixed:3", thresholds=strict).review


def test_a_field_in_doubt_is_named() -> None:
    """Also where the caller accepts the document as a whole, unless it asks not to look."""
    texts = [finding(), finding(), finding(grade="moderate"), finding(grade="severe")]
    agreement = parse_agreement(SPEC)
    judge = partial(settle, texts, policy="fixed:4", agreement=agreement, calibrator=Sure(0.99))
    outcome = judge()
    assert outcome.field_shares == {"/level": 1.0, "/grade": 0.5}
    assert outcome.review_reasons == ("field_in_doubt:/grade",)
    assert judge(critical_review=False).review_reasons == ()


def test_a_calibrated_confidence_has_its_own_threshold_and_says_so() -> None:
    """Three of three agree, and the calibrator knows better."""
    doubtful = settle(list("AAA"), calibrator=Sure(0.7))
    assert doubtful.review_reasons == ("low_confidence",)
    assert (doubtful.confidence_raw, doubtful.confidence) == (1.0, 0.7)
    assert (doubtful.confidence_calibrated, doubtful.calibrator_version) == (True, "fitted-7")
    assert settle(list("ABABCAD"), calibrator=Sure(0.8)).decision is Verdict.ACCEPT
    assert settle(list("AAA"), calibrator=Sure(1.7)).confidence == 1.0


def test_an_answer_put_together_from_no_single_sample_is_never_accepted_unseen() -> None:
    """Whatever the calibrator thinks of it."""
    schema = {"properties": {name: {"type": "integer"} for name in "abc"}}
    spec = {"type": "json", "schema": schema, "critical": ["/a", "/b", "/c"]}
    rows = [(9, 8, 1), (1, 1, 9), (1, 9, 1), (9, 1, 1), (1, 1, 7)]
    texts = [f'{{"a": {a}, "b": {b}, "c": {c}}}' for a, b, c in rows]
    loose = Thresholds(review_below=0.0, accept_from=0.0)
    outcome = settle(
        texts,
        policy="fixed:5",
        agreement=parse_agreement(spec),
        thresholds=loose,
        calibrator=Sure(1.0),
    )
    assert outcome.composite_missing
    assert outcome.decision is Verdict.FLAG


@pytest.mark.parametrize(
    "thresholds",
    [
        (0.8, 0.7, 0.75),
        (-0.1, 0.7, 0.75),
        (0.5, 1.1, 0.75),
        (float("nan"), 0.7, 0.75),
        (0.5, 0.7, 1.2),
    ],
)
def test_thresholds_that_cross_or_are_no_fractions_are_refused(
    thresholds: tuple[float, float, float],
) -> None:
    """With the figures."""
    review, accept, calibrated = thresholds
    with pytest.raises(ThresholdsInvalid) as caught:
        Thresholds(review_below=review, accept_from=accept, calibrated_review_below=calibrated)
    assert caught.value.details["accept_from"] == accept


def test_a_low_acceptance_threshold_needs_no_word_about_calibration() -> None:
    """The calibrated threshold stands for itself."""
    assert Thresholds(review_below=0.4, accept_from=0.5).calibrated_review_below == 0.75
