"""Policies with their steps written down: 3, then 5 or 7; and any fixed number. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from executors.resampling.policy import Decision, StopReason, Tally, clamp


@dataclass(frozen=True, slots=True, kw_only=True)
class SeedSchedule:
    """Three samples, then at most one more wave: to 5 or, after a low agreement, to 7.

    `c` is the leader's share of all samples of the weakest field after `k_high` samples: above
    `confidence_high` it stops, below `confidence_low` it draws up to `k_low` in all, else up to
    `k_default`. It does not look again.
    """

    name: str = "seed_3_5_7"
    k_high: int = 3
    k_default: int = 5
    k_low: int = 7
    confidence_high: float = 0.75
    confidence_low: float = 0.55
    version: str = "1"

    @property
    def first_wave(self) -> int:
        """How many samples are drawn before it looks."""
        return self.k_high

    @property
    def max_k(self) -> int:
        """The most samples it ever draws."""
        return self.k_low

    def decide(self, tallies: Sequence[Tally]) -> Decision:
        """Decide on the next wave."""
        drawn = tallies[0].n
        if drawn < self.first_wave:
            return Decision(draw=self.first_wave - drawn, reason="first_wave")
        share = min(tally.v1 for tally in tallies) / drawn
        if share > self.confidence_high:
            return Decision(draw=0, reason=StopReason.CONFIDENT)
        wanted = self.k_low if share < self.confidence_low else self.k_default
        if drawn == self.first_wave and wanted > drawn:
            return Decision(draw=wanted - drawn, reason="in_doubt")
        ended = StopReason.EXHAUSTED if drawn >= self.max_k else StopReason.FIXED
        return Decision(draw=0, reason=ended)

    def within(self, *, min_k: int, max_k: int) -> SeedSchedule:
        """Return the schedule with its three counts moved into `min_k`..`max_k`."""
        return replace(
            self,
            k_high=clamp(self.k_high, min_k, max_k),
            k_default=clamp(self.k_default, min_k, max_k),
            k_low=clamp(self.k_low, min_k, max_k),
            version=f"{self.version}+k{min_k}..{max_k}",
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Fixed:
    """Exactly `k` samples in one wave, whatever they say."""

    name: str
    k: int
    version: str = "1"

    @property
    def first_wave(self) -> int:
        """All samples are drawn at once."""
        return self.k

    @property
    def max_k(self) -> int:
        """The number of samples drawn."""
        return self.k

    def decide(self, tallies: Sequence[Tally]) -> Decision:
        """Decide on the next wave."""
        missing = self.k - tallies[0].n
        if missing > 0:
            return Decision(draw=missing, reason="first_wave")
        return Decision(draw=0, reason=StopReason.FIXED)

    def within(self, *, min_k: int, max_k: int) -> Fixed:
        """Return the policy with its number of samples moved into `min_k`..`max_k`."""
        return replace(
            self, k=clamp(self.k, min_k, max_k), version=f"{self.version}+k{min_k}..{max_k}"
        )
