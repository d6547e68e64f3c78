"""Votes as strings of letters, a dash for an invalid sample, and a policy walking over them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass

from executors.resampling import Policy, Tally, parse_agreement

LETTERS = "ABCDEFG"
CHOICE = parse_agreement({"type": "choice", "options": list(LETTERS)})


@dataclass(frozen=True)
class Walk:
    """Where a policy went: samples after each wave, why it stopped, who led."""

    steps: tuple[int, ...]
    reason: str
    leader: str | None


def tally(votes: str) -> Tally:
    """Return the tally of a string of votes."""
    counts = sorted(Counter(votes.replace("-", "")).values(), reverse=True)
    first, second, *_ = [*counts, 0, 0]
    return Tally(n=len(votes), v1=first, v2=second)


def leader(votes: str) -> str | None:
    """Return who leads; of equals the one that reached the number first."""
    ahead, counts = None, Counter[str]()
    for vote in votes.replace("-", ""):
        counts[vote] += 1
        if ahead is None or counts[vote] > counts[ahead]:
            ahead = vote
    return ahead


def walk(policy: Policy, votes: str) -> Walk:
    """Follow a policy over a string of votes."""
    steps: list[int] = []
    drawn = 0
    while (decision := policy.decide([tally(votes[:drawn])])).draw:
        drawn += decision.draw
        steps.append(drawn)
    return Walk(tuple(steps), decision.reason, leader(votes[:drawn]))


def every_sequence(length: int) -> Iterator[str]:
    """Yield every way `length` samples can agree, differ and be invalid, up to names of classes."""

    def grow(prefix: str, classes: int) -> Iterator[str]:
        if len(prefix) == length:
            yield prefix
            return
        yield from grow(f"{prefix}-", classes)
        for place in range(classes + 1):
            yield from grow(prefix + LETTERS[place], max(classes, place + 1))

    yield from grow("", 0)
