"""The lookahead rule: stop when sure enough or settled, else draw what could settle the answer.

The stop test is the Beta posterior of Adaptive-Consistency (Aggarwal et al. 2023, arXiv
2305.11860), evaluated exactly; the wave is the smallest number of samples that could end the test
(the idea of ConSol, Lee et al. 2025, arXiv 2503.17587). With `min_wave` 1 and the default first
wave it ends with the same leader as Adaptive-Consistency at the same threshold, in a fraction of
the rounds. Pure.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from math import comb

from executors.resampling.policy import Decision, StopReason, Tally, clamp


@lru_cache(maxsize=4096)
def posterior(leader: int, runner_up: int) -> float:
    """Return the probability that the leader is the more frequent of the two classes.

    It is the mass of Beta(leader + 1, runner_up + 1) above one half, as a sum of binomial
    coefficients over a power of two: exact in double precision up to 51 votes.
    """
    tosses = leader + runner_up + 1
    return 1.0 - sum(comb(tosses, j) for j in range(runner_up + 1)) / (1 << tosses)


@lru_cache(maxsize=1 << 16)
def _look(rule: tuple[float, int, int], n: int, v1: int, v2: int) -> Decision:
    stop_posterior, min_wave, max_k = rule
    remaining, lead = max_k - n, v1 - v2
    need = 0
    while need <= remaining and posterior(v1 + need, v2) < stop_posterior:
        need += 1
    if need == 0:
        return Decision(draw=0, reason=StopReason.CONFIDENT)
    if remaining <= 0:
        return Decision(draw=0, reason=StopReason.EXHAUSTED)
    if lead > remaining:
        return Decision(draw=0, reason=StopReason.SETTLED)
    settle = (remaining - lead) // 2 + 1
    return Decision(draw=min(remaining, max(min_wave, min(need, settle))), reason="in_doubt")


_DOUBT = {"in_doubt": 3, StopReason.EXHAUSTED: 2, StopReason.SETTLED: 1, StopReason.CONFIDENT: 0}


def _most_doubtful(decision: Decision) -> tuple[int, int]:
    return decision.draw, _DOUBT[decision.reason]


@dataclass(frozen=True, slots=True, kw_only=True)
class Lookahead:
    """Draw a first wave, then the smallest wave that could settle the answer, until one has.

    With n samples, v1 and v2 votes of the two largest classes and P the posterior:

        need   = the fewest further votes for the leader after which P reaches `stop_posterior`
        settle = the fewest further votes for the leader after which it cannot be overtaken

    It stops when need is 0, when the leader can no longer be overtaken, or at `max_k`; else it
    draws min(need, settle), but at least `min_wave` and never beyond `max_k`. With several critical
    fields it stops when every field has stopped, and draws the largest of their waves. Invalid
    samples are part of n and of no class.
    """

    name: str
    stop_posterior: float
    first_wave: int
    min_wave: int
    max_k: int
    version: str = "1"

    def decide(self, tallies: Sequence[Tally]) -> Decision:
        """Decide on the next wave."""
        drawn = tallies[0].n
        if drawn < self.first_wave:
            return Decision(draw=self.first_wave - drawn, reason="first_wave")
        rule = (self.stop_posterior, self.min_wave, self.max_k)
        looks = [_look(rule, tally.n, tally.v1, tally.v2) for tally in tallies]
        return looks[0] if len(looks) == 1 else max(looks, key=_most_doubtful)

    def within(self, *, min_k: int, max_k: int) -> Lookahead:
        """Return the policy with its first wave and its maximum moved into `min_k`..`max_k`."""
        return replace(
            self,
            first_wave=clamp(self.first_wave, min_k, max_k),
            max_k=clamp(self.max_k, min_k, max_k),
            version=f"{self.version}+k{min_k}..{max_k}",
        )
