"""Counting votes: which answer leads, how far, and on which fields.

Samples may arrive in any order; everything is counted by sample index, so the order of completion
changes nothing. Of several classes with the most votes the leader is the one that reached that
number at the lowest index: the class that led first stays leader. No policy and no threshold lives
here.
"""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from executors.resampling.agreement import Agreement
from executors.resampling.policy import Tally
from executors.resampling.types import Classified, Vote

#: A class is written in at most this many characters; a longer one ends in a digest.
MAX_LABEL_CHARS = 200


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """The state of a vote.

    Of `n` samples `valid` are valid and `agreeing` give the answer of sample `representative` (None
    without a valid sample) on every critical field; `runner_up` is the size of the largest other
    class. `tied`: on some field two classes lead with equal votes. `composite_missing`: no sample
    has the leading value of every field. `labels` writes each valid sample's class, `votes` counts
    the classes, `field_shares` is the share of the `n` samples that agree with the answer on each
    named field.
    """

    n: int
    valid: int
    representative: int | None
    agreeing: int
    runner_up: int
    tied: bool
    composite_missing: bool
    labels: Mapping[int, str]
    votes: tuple[Vote, ...]
    field_shares: Mapping[str, float]


class Ballot:
    """The votes of one job's samples under one agreement."""

    def __init__(self, agreement: Agreement) -> None:
        self._agreement = agreement
        self._read: dict[int, Classified] = {}
        self._counted: dict[str, dict[int, str]] | None = None

    def __len__(self) -> int:
        """Return how many samples have been added, invalid ones included."""
        return len(self._read)

    def add(self, index: int, text: str, *, truncated: bool = False) -> Classified:
        """Count sample `index`; adding it again changes nothing. Return how it was read."""
        if index not in self._read:
            self._read[index] = self._agreement.classify(text, truncated=truncated)
            self._counted = None
        return self._read[index]

    def read(self, index: int) -> Classified:
        """Return how sample `index` was read."""
        return self._read[index]

    def tallies(self) -> list[Tally]:
        """Return the vote counts of every critical field."""
        drawn = len(self._read)
        tallies = []
        for column in self._columns().values():
            first, second = _largest(column.values())
            tallies.append(Tally(n=drawn, v1=first, v2=second))
        return tallies

    def leader(self) -> str | None:
        """Return the class of the answer as it stands, or None without a valid sample."""
        standing = self.standing()
        if standing.representative is None:
            return None
        return standing.labels[standing.representative]

    def votes(self) -> tuple[Vote, ...]:
        """Return all classes, most votes first."""
        return self.standing().votes

    def standing(self) -> Standing:
        """Count everything."""
        columns = self._columns()
        fields = self._agreement.fields
        rows = {
            index: tuple(columns[field][index] for field in fields)
            for index in sorted(self._read)
            if self._read[index].valid
        }
        winners = tuple(_leading(list(columns[field].values())) for field in fields)
        representative = self._representative(rows, winners)
        answer = rows.get(representative) if representative is not None else None
        largest = [_largest(columns[field].values()) for field in fields]
        sizes = Counter(rows.values())
        labels = {row: _label(fields, row) for row in sizes}
        votes = [
            Vote(labels[row], count, next(index for index, own in rows.items() if own == row))
            for row, count in sizes.items()
        ]
        return Standing(
            n=len(self._read),
            valid=len(rows),
            representative=representative,
            agreeing=sizes[answer] if answer else 0,
            runner_up=max((count for row, count in sizes.items() if row != answer), default=0),
            tied=any(first == second > 0 for first, second in largest),
            composite_missing=answer is not None and answer != winners,
            labels={index: labels[row] for index, row in rows.items()},
            votes=tuple(sorted(votes, key=lambda vote: (-vote.votes, vote.example))),
            field_shares={
                field: _share(list(columns[field].values()), answer, place, len(self._read))
                for place, field in enumerate(fields)
                if field
            },
        )

    def _columns(self) -> dict[str, dict[int, str]]:
        """Return the class of every valid sample on every field, by sample index in order."""
        if self._counted is not None:
            return self._counted
        valid = [index for index in sorted(self._read) if self._read[index].valid]
        columns: dict[str, dict[int, str]] = {}
        for place, field in enumerate(self._agreement.fields):
            values = [self._read[index].leaves[place][1] for index in valid]
            columns[field] = dict(zip(valid, self._agreement.group(field, values), strict=True))
        self._counted = columns
        return columns

    def _representative(
        self, rows: Mapping[int, tuple[str, ...]], winners: tuple[str | None, ...]
    ) -> int | None:
        """Return the sample whose text is the answer.

        The one with the most winning fields; among equals one read strictly, then one whose own
        values name the classes (the median of a cluster of numbers), then the lowest index.
        """

        def distance(index: int) -> tuple[int, bool, bool, int]:
            own = self._read[index]
            losing = sum(have != won for have, won in zip(rows[index], winners, strict=True))
            unusual = any(
                value != name for (_, value), name in zip(own.leaves, rows[index], strict=True)
            )
            return losing, bool(own.reason), unusual, index

        return min(rows, key=distance, default=None)


def _leading(column: Sequence[str]) -> str | None:
    """Return the class with the most votes; of several, the one that reached that number first."""
    leader: str | None = None
    counts: Counter[str] = Counter()
    for name in column:
        counts[name] += 1
        if leader is None or counts[name] > counts[leader]:
            leader = name
    return leader


def _largest(column: Iterable[str]) -> tuple[int, int]:
    """Return the votes of the two largest classes."""
    counts = [count for _, count in Counter(column).most_common(2)]
    return counts[0] if counts else 0, counts[1] if len(counts) > 1 else 0


def _share(column: Sequence[str], answer: tuple[str, ...] | None, place: int, drawn: int) -> float:
    return column.count(answer[place]) / drawn if answer else 0.0


def _label(fields: Sequence[str], row: Sequence[str]) -> str:
    if len(fields) == 1:
        label = row[0]
    else:
        parts = (
            f"{json.dumps(field, ensure_ascii=False)}:{value}"
            for field, value in zip(fields, row, strict=True)
        )
        label = "{" + ",".join(parts) + "}"
    if len(label) <= MAX_LABEL_CHARS:
        return label
    digest = hashlib.sha256(label.encode("utf-8", "surrogatepass")).hexdigest()
    return f"{label[: MAX_LABEL_CHARS - 30]}… sha256:{digest[:16]}"
