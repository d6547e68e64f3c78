"""The figures of an evaluation, on answers made up for the purpose."""

from __future__ import annotations

import itertools

import pytest

from examples.queenbee import measures
from examples.queenbee.grammar import SPINE
from examples.queenbee.readings import Finding, answer
from executors.resampling import RawSample, parse_agreement

AGREEMENT = parse_agreement(
    {
        "type": "json",
        "schema": SPINE.schema(),
        "critical": ["/level", "/grade"],
        "free_text": ["/impression"],
    }
)


def texts(kind: str, count: int) -> list[Finding]:
    """Return held-out texts of one kind."""
    findings = SPINE.findings(seed=0, split="held-out")
    return list(itertools.islice((f for f in findings if f.kind == kind), count))


def said(text: str, index: int = 0) -> RawSample:
    """Return a sample with this text."""
    return RawSample(
        index=index,
        seed=0,
        text=text,
        finish_reason="stop",
        prompt_tokens=1,
        completion_tokens=1,
    )


def likeliest(finding: Finding) -> str:
    """Return the answer a perfect greedy model gives."""
    return answer(finding.best, finding.best.impressions[0])


def test_a_perfect_model_is_right_everywhere() -> None:
    """Greedy answers that are the likeliest readings score 1 in every field."""
    findings = texts("clear", 20) + texts("ambiguous", 20)
    greedy = [said(likeliest(finding)) for finding in findings]
    figures = measures.accuracy(SPINE, findings, greedy, AGREEMENT)
    assert figures.right == {"level": 1.0, "grade": 1.0, "all": 1.0}
    assert (figures.plausible, figures.valid, figures.clear_texts) == (1.0, 1.0, 20)


def test_garbage_is_neither_right_nor_valid() -> None:
    """Answers that are no JSON count against the model and raise nothing."""
    findings = texts("clear", 5) + texts("mid", 5)
    figures = measures.accuracy(SPINE, findings, [said("{")] * 10, AGREEMENT)
    assert (figures.right["all"], figures.plausible, figures.valid) == (0.0, 0.0, 0.0)


def test_odds_of_a_model_that_always_says_the_same() -> None:
    """Samples that never split are far from a split reading's odds."""
    findings = texts("ambiguous", 20)
    stubborn = [[said(likeliest(f), index) for index in range(8)] for f in findings]
    figures = measures.odds(SPINE, findings, stubborn, AGREEMENT)
    assert figures.distance > 0.4 > figures.expected_distance


def test_unanimous_samples_end_at_three_and_ask_nobody() -> None:
    """The policy `dynamic` stops at K = 3 when all agree, and no person is asked."""
    findings = texts("clear", 10)
    drawn = [[said(likeliest(f), index) for index in range(7)] for f in findings]
    figures = measures.resampled(SPINE, findings, drawn, AGREEMENT, "dynamic")
    assert figures.k == {"clear": {3: 10}}
    assert (figures.review["clear"], figures.right["clear"]) == (0.0, 1.0)
    assert figures.ece == pytest.approx(0.0)
