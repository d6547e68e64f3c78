"""What a resampling policy is: vote counts in, the next wave out. Pure.

The policies themselves are in `lookahead` and `schedules`, their names in `presets`.

A policy decides on whole waves only: it is asked again when every sample of the last wave is in.
There is no topping up of a running wave and there are no spare samples. So the decision is a
function of the samples 0..n-1 and cannot depend on which of them finished first (short answers are
more often wrong, and a vote that the quickest decide inherits that bias); and the number drawn
stays on the policy's own steps, 3, 5 and 7 for `dynamic`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol

from executors.resampling.errors import KOutOfRange

#: The most samples one job may draw.
MAX_K = 40


class StopReason(StrEnum):
    """Why a policy stopped drawing."""

    #: The leader is likely enough to be the most frequent answer.
    CONFIDENT = "confident"
    #: No further sample up to the maximum could overtake the leader.
    SETTLED = "settled"
    #: The maximum was drawn and the answer is still in doubt.
    EXHAUSTED = "exhausted"
    #: The policy's schedule ends here, whatever the votes say.
    FIXED = "fixed"


@dataclass(frozen=True, slots=True, kw_only=True)
class Tally:
    """The votes on one field.

    `n` samples are drawn, invalid ones included; `v1` >= `v2` are in the two largest classes.
    """

    n: int
    v1: int
    v2: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Decision:
    """What to do next: draw `draw` more samples in one wave, or stop when it is 0.

    `reason` is a `StopReason`, or `first_wave` or `in_doubt` when more are drawn.
    """

    draw: int
    reason: str


class Policy(Protocol):
    """A rule that turns vote counts into the next wave."""

    @property
    def name(self) -> str:
        """The name it is asked for by."""
        ...

    @property
    def version(self) -> str:
        """Changes whenever the same votes could lead to another decision."""
        ...

    @property
    def max_k(self) -> int:
        """The most samples it ever draws."""
        ...

    @property
    def first_wave(self) -> int:
        """How many samples it draws before it looks."""
        ...

    def decide(self, tallies: Sequence[Tally]) -> Decision:
        """Decide on the next wave.

        `tallies` holds one entry per critical field, at least one, all with the same `n`.
        """
        ...

    def within(self, *, min_k: int, max_k: int) -> Policy:
        """Return the policy with every count it names moved into `min_k`..`max_k`."""
        ...


def bounded(policy: Policy, *, min_k: int = 1, max_k: int = MAX_K) -> Policy:
    """Return `policy` inside a request's own limits on the number of samples.

    Every count the policy names (its first wave, its maximum, its steps) is moved into
    `min_k`..`max_k`, and the version says so. A maximum above the policy's own changes nothing.
    Raises `KOutOfRange` unless 1 <= min_k <= max_k <= 40.
    """
    if not 1 <= min_k <= max_k <= MAX_K:
        raise KOutOfRange(
            f"the limits {min_k} to {max_k} on the number of samples are not usable",
            suggested_action=f"give limits with 1 <= min_k <= max_k <= {MAX_K}",
            details={"min_k": min_k, "max_k": max_k, "highest": MAX_K},
        )
    if min_k <= policy.first_wave and policy.max_k <= max_k:
        return policy
    return policy.within(min_k=min_k, max_k=max_k)


def clamp(value: int, low: int, high: int) -> int:
    """Return `value` moved into `low`..`high`."""
    return max(low, min(value, high))
