"""What is measured of a model on texts it has never seen: accuracy, odds, agreement and K.

Pure: answers go in, figures come out. Drawing the answers is in `sampling`, showing the figures in
`evaluate`, `plots` and `card`.
"""

from __future__ import annotations

import asyncio
import json
import random
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from examples.queenbee.grammar import Grammar
from examples.queenbee.readings import Finding
from executors.resampling import (
    Agreement,
    Outcome,
    RawSample,
    Sample,
    draw_until_settled,
    parse_policy,
)

KINDS = ("clear", "mid", "ambiguous")
LABELS_SEED = 17


@dataclass(frozen=True, slots=True, kw_only=True)
class Bin:
    """Cases of like prediction: their mean prediction, the mean that came true, their number."""

    predicted: float
    observed: float
    count: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Accuracy:
    """Greedy answers: shares of the clear texts right by field and on all of them (`all`).

    `plausible` is the share of the other texts whose answer is one of their readings, `valid` the
    share of all answers that meet the schema.
    """

    texts: int
    clear_texts: int
    right: Mapping[str, float]
    plausible: float
    valid: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Resampled:
    """Jobs under a policy: for each kind of text, how many ended at which K, and how.

    `review` and `right` are shares by kind; an answer is right if it is the text's drawn label.
    `agreement` compares the share of agreeing samples with how often the answer was right, `ece` is
    its expected calibration error.
    """

    policy: str
    k: Mapping[str, Mapping[int, int]]
    review: Mapping[str, float]
    right: Mapping[str, float]
    agreement: tuple[Bin, ...]
    ece: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Odds:
    """Known probability of a reading against the share of samples that gave it, unclear texts only.

    `distance` is the mean total variation distance of the two distributions, `expected_distance`
    the one that samples from the known distribution itself would show.
    """

    bins: tuple[Bin, ...]
    samples: int
    distance: float
    expected_distance: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Figures:
    """Everything measured of one model."""

    model: str
    parameters: int
    vocabulary: int
    temperature: float
    accuracy: Accuracy
    odds: Odds
    resampled: Resampled


def ks(resampled: Resampled) -> list[int]:
    """Return every K that occurred."""
    return sorted({k for counts in resampled.k.values() for k in counts})


def accuracy(
    grammar: Grammar,
    findings: Sequence[Finding],
    answers: Sequence[RawSample],
    agreement: Agreement,
) -> Accuracy:
    """Compare one greedy answer a text with the text's readings."""
    right: Counter[str] = Counter()
    plausible = valid = 0
    clear = [finding.kind == "clear" for finding in findings]
    for finding, sample, is_clear in zip(findings, answers, clear, strict=True):
        given = _fields(grammar, sample, agreement)
        valid += given is not None
        if not is_clear:
            plausible += given is not None and finding.probability_of(given) > 0
            continue
        for name, value in finding.best.fields:
            right[name] += given is not None and given[name] == value
        right["all"] += given == dict(finding.best.fields)
    return Accuracy(
        texts=len(findings),
        clear_texts=sum(clear),
        right={name: right[name] / sum(clear) for name in (*grammar.fields, "all")},
        plausible=plausible / (len(findings) - sum(clear)),
        valid=valid / len(findings),
    )


def odds(
    grammar: Grammar,
    findings: Sequence[Finding],
    drawn: Sequence[Sequence[RawSample]],
    agreement: Agreement,
) -> Odds:
    """Compare what was drawn for unclear texts with their known probabilities."""
    rng = random.Random(LABELS_SEED)
    pairs: list[tuple[float, float]] = []
    distances: list[float] = []
    expected: list[float] = []
    for finding, samples in zip(findings, drawn, strict=True):
        if finding.kind == "clear":
            continue
        given = [_fields(grammar, sample, agreement) for sample in samples]
        known = [reading.probability for reading in finding.readings]
        shares = [given.count(dict(reading.fields)) / len(given) for reading in finding.readings]
        pairs.extend(zip(known, shares, strict=True))
        distances.append(_distance(known, shares))
        twin = Counter(rng.choices(range(len(known)), weights=known, k=len(given)))
        expected.append(_distance(known, [twin[i] / len(given) for i in range(len(known))]))
    return Odds(
        bins=_bins(pairs),
        samples=len(drawn[0]),
        distance=sum(distances) / len(distances),
        expected_distance=sum(expected) / len(expected),
    )


def resampled(
    grammar: Grammar,
    findings: Sequence[Finding],
    drawn: Sequence[Sequence[RawSample]],
    agreement: Agreement,
    policy: str,
) -> Resampled:
    """Run every text as a job under the policy, with the samples already drawn."""
    rng = random.Random(LABELS_SEED)
    outcomes = asyncio.run(_settle_all(drawn, agreement, policy))
    k: dict[str, Counter[int]] = {kind: Counter() for kind in KINDS}
    review: Counter[str] = Counter()
    right: Counter[str] = Counter()
    pairs: list[tuple[float, float]] = []
    for finding, outcome in zip(findings, outcomes, strict=True):
        label = json.loads(finding.draw(rng))
        given = _fields(grammar, outcome.samples[outcome.representative], agreement)
        hit = given is not None and all(given[name] == label[name] for name in grammar.fields)
        k[finding.kind][outcome.k] += 1
        review[finding.kind] += outcome.review
        right[finding.kind] += hit
        pairs.append((outcome.confidence_raw, float(hit)))
    texts = {kind: k[kind].total() for kind in KINDS if k[kind]}
    bins = _bins(pairs)
    return Resampled(
        policy=policy,
        k={kind: dict(sorted(k[kind].items())) for kind in texts},
        review={kind: review[kind] / count for kind, count in texts.items()},
        right={kind: right[kind] / count for kind, count in texts.items()},
        agreement=bins,
        ece=sum(one.count * abs(one.predicted - one.observed) for one in bins) / len(pairs),
    )


async def _settle_all(
    drawn: Sequence[Sequence[RawSample]], agreement: Agreement, policy: str
) -> list[Outcome]:
    async def settle(samples: Sequence[RawSample]) -> Outcome:
        async def draw(index: int) -> RawSample:
            return samples[index]

        return await draw_until_settled(draw=draw, policy=parse_policy(policy), agreement=agreement)

    return [await settle(samples) for samples in drawn]


def _fields(
    grammar: Grammar, sample: RawSample | Sample, agreement: Agreement
) -> dict[str, str] | None:
    if not agreement.classify(sample.text).valid:
        return None
    document = json.loads(sample.text)
    return {name: document[name] for name in grammar.fields}


def _distance(known: Sequence[float], shares: Sequence[float]) -> float:
    """Return the total variation distance; what the shares lack went to no known reading."""
    lost = 1 - sum(shares)
    return (sum(abs(p - q) for p, q in zip(known, shares, strict=True)) + lost) / 2


def _bins(pairs: Sequence[tuple[float, float]], width: float = 0.1) -> tuple[Bin, ...]:
    """Group (predicted, observed) pairs by prediction; 1.0 is a bin of its own."""
    groups: dict[int, list[tuple[float, float]]] = {}
    for pair in pairs:
        groups.setdefault(int(pair[0] / width + 1e-9), []).append(pair)
    return tuple(
        Bin(
            predicted=sum(p for p, _ in group) / len(group),
            observed=sum(q for _, q in group) / len(group),
            count=len(group),
        )
        for _, group in sorted(groups.items())
    )
