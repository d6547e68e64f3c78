"""Simulated questions to replay resampling policies on: no recorded text, no licence to mind.

A question is a distribution over answers, class 0 being right. Each set mixes four kinds of
question, drawn from Dirichlet distributions: easy (nearly always right), medium (the right answer
leads), hard (nobody leads for certain) and consistently wrong (a wrong answer leads, which no
agreement can see). The five sets are shaped after aggregates of recorded sets of these kinds: the
share right from one sample and from a vote of forty, and how often 3, 7 and 40 samples agree and
are then right. They were fixed before any policy was replayed on them.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]

#: Answers recorded for every question.
RECORDED = 40


@dataclass(frozen=True, slots=True, kw_only=True)
class Kind:
    """A kind of question: its share of the set and the Dirichlet weights of right and wrong."""

    share: float
    right: float
    wrong: tuple[float, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class QuestionSet:
    """A set of questions; its kinds are easy, medium, hard, consistently wrong, in this order."""

    name: str
    kinds: tuple[Kind, Kind, Kind, Kind]

    @property
    def classes(self) -> int:
        """How many different answers occur."""
        return 1 + max(len(kind.wrong) for kind in self.kinds)


def _kind(share: float, right: float, *wrong: float) -> Kind:
    return Kind(share=share, right=right, wrong=wrong)


SETS = (
    QuestionSet(
        name="five options",
        kinds=(
            _kind(0.56, 60, 0.05, 0.05, 0.05, 0.05),
            _kind(0.18, 5, 1.2, 0.4, 0.2, 0.1),
            _kind(0.12, 1.2, 1.8, 0.5, 0.3, 0.2),
            _kind(0.14, 0.3, 14, 0.4, 0.2, 0.1),
        ),
    ),
    QuestionSet(
        name="arithmetic",
        kinds=(
            _kind(0.58, 80, *[0.2 / 12] * 12),
            _kind(0.33, 8, 0.4, 0.4, *[0.08] * 8),
            _kind(0.05, 1.5, 0.8, 0.4, *[0.15] * 8),
            _kind(0.04, 0.3, 8, 0.3, *[0.05] * 8),
        ),
    ),
    QuestionSet(
        name="four options, hard",
        kinds=(
            _kind(0.42, 50, *[0.2 / 3] * 3),
            _kind(0.28, 4, 1.0, 0.5, 0.3),
            _kind(0.15, 1.0, 1.5, 0.6, 0.4),
            _kind(0.15, 0.4, 10, 0.4, 0.2),
        ),
    ),
    QuestionSet(
        name="contest",
        kinds=(
            _kind(0.38, 80, *[0.1 / 12] * 12),
            _kind(0.44, 5, *[0.2] * 8),
            _kind(0.10, 0.8, *[0.3] * 10),
            _kind(0.08, 0.1, 3, 0.5, *[0.2] * 5),
        ),
    ),
    QuestionSet(
        name="short strings",
        kinds=(
            _kind(0.47, 60, *[0.2 / 12] * 12),
            _kind(0.33, 6, 0.8, *[0.1] * 8),
            _kind(0.09, 1.2, 1.3, 0.5, *[0.1] * 8),
            _kind(0.11, 0.2, 10, 0.3, *[0.1] * 5),
        ),
    ),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Recording:
    """Forty answers to each question: class ids and lengths in mean lengths, both (q, 40)."""

    name: str
    classes: int
    answers: Ints
    lengths: Floats


def record(questions: QuestionSet, *, number: int, rng: np.random.Generator) -> Recording:
    """Draw `number` questions of a set and forty answers to each."""
    shares = np.array([kind.share for kind in questions.kinds])
    counts = np.floor(shares * number).astype(int)
    counts[0] += number - counts.sum()
    rows = []
    for kind, count in zip(questions.kinds, counts, strict=True):
        weights = np.zeros(questions.classes)
        weights[: 1 + len(kind.wrong)] = [kind.right, *kind.wrong]
        drawn = rng.gamma(weights, size=(int(count), questions.classes))
        rows.append(drawn / drawn.sum(axis=1, keepdims=True))
    thresholds = np.concatenate(rows).cumsum(axis=1)[:, None, :-1]
    uniform = rng.random((number, RECORDED, 1))
    answers = (uniform > thresholds).sum(axis=2)
    lengths = rng.lognormal(mean=-0.06, sigma=0.35, size=(number, RECORDED))
    return Recording(
        name=questions.name, classes=questions.classes, answers=answers, lengths=lengths
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Orders:
    """Random orders of a set's answers, one row each, with the vote after every sample.

    `answers` and `lengths` are (rows, 40); `v1`, `v2` and `leader` are (rows, 41): the two largest
    classes and the leader after 0..40 samples.
    """

    answers: Ints
    lengths: Floats
    v1: Ints
    v2: Ints
    leader: Ints


def shuffle(recording: Recording, *, orders: int, rng: np.random.Generator) -> Orders:
    """Return `orders` random orders of every question, the orders of one question adjacent."""
    rows = len(recording.answers) * orders
    places = rng.permuted(np.tile(np.arange(RECORDED), (rows, 1)), axis=1)
    question = np.repeat(np.arange(len(recording.answers)), orders)[:, None]
    answers = recording.answers[question, places]
    v1, v2, leader = count(answers, recording.classes)
    return Orders(
        answers=answers, lengths=recording.lengths[question, places], v1=v1, v2=v2, leader=leader
    )


def count(answers: Ints, classes: int) -> tuple[Ints, Ints, Ints]:
    """Return v1, v2 and the leader after every sample; the class that led first stays leader."""
    rows, samples = answers.shape
    every = np.arange(rows)
    votes = np.zeros((rows, classes), dtype=np.int64)
    v1, v2, leader = (np.zeros((rows, samples + 1), dtype=np.int64) for _ in range(3))
    leader[:, 0] = -1
    for place in range(samples):
        given = answers[:, place]
        votes[every, given] += 1
        overtakes = votes[every, given] > v1[:, place]
        leader[:, place + 1] = np.where(overtakes, given, leader[:, place])
        v1[:, place + 1] = v1[:, place] + overtakes
        v2[:, place + 1] = np.partition(votes, -2, axis=1)[:, -2]
    return v1, v2, leader
