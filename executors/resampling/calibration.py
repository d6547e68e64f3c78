"""From vote counts to a confidence: the contract, and the honest default that calibrates nothing.

A fitted calibrator turns the same features into the probability that the answer is right, per
profile and model; raw agreement is not that probability (three agreeing samples are right 80 times
in a hundred on one task and 98 on another) and the result says which of the two it shows.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol


@dataclass(frozen=True, slots=True, kw_only=True)
class Features:
    """What a confidence is made from: of `n` samples `v1` give the answer on every critical field.

    `v2` is the size of the largest other class and `invalid` the number of invalid samples.
    """

    n: int
    v1: int
    v2: int
    invalid: int

    @property
    def raw(self) -> float:
        """The share of all samples, invalid ones included, that give the answer."""
        return self.v1 / self.n if self.n else 0.0


class Calibrator(Protocol):
    """Turns features into a confidence."""

    @property
    def version(self) -> str | None:
        """Names the fitted weights; None where nothing is fitted."""
        ...

    @property
    def calibrated(self) -> bool:
        """Whether the confidence is a probability of being right, rather than a share."""
        ...

    def confidence(self, features: Features, /) -> float:
        """Return the confidence, 0..1."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Uncalibrated:
    """Raw agreement, and it says so."""

    version: str | None = None
    calibrated: bool = False

    def confidence(self, features: Features, /) -> float:
        """Return the raw share."""
        return features.raw
