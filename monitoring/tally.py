"""The totals of all series that are counted, and the names that their labels may have."""

from __future__ import annotations

import logging
from bisect import bisect_left
from collections.abc import Iterable
from dataclasses import dataclass

from ledger import TERMINAL, EventRow, Move, TotalRow
from monitoring import counting
from monitoring.counting import How, Increment
from monitoring.metrics import BY_NAME, OTHER, Kind

logger = logging.getLogger(__name__)

MAX_MODELS = 64
MAX_WORKERS = 256
"""How many names a label takes on by itself; those that come later are `other`."""

Series = tuple[str, tuple[str, ...]]
"""A metric's name, and the values of its labels in the order of its table."""


@dataclass(frozen=True, slots=True)
class Total:
    """What has come together in one series.

    `value` is that of a counter or gauge, or the sum of a histogram, of which `counts` has the
    number in each bucket; they are not cumulative, and the last one has no bound.
    """

    value: float = 0.0
    counts: tuple[int, ...] = ()


class Names:
    """The values that a label has taken on: those it was given, and others up to a limit.

    A name that was once shown as `other` stays so: what went into a gauge under one name has to
    come out under the same.
    """

    def __init__(self, given: Iterable[str], *, limit: int) -> None:
        self.known = set(given)
        self._limit = limit

    def shown(self, name: object, *, new: bool = True) -> str:
        """The name, or `other` where it cannot be taken on, or shall not (`new` false)."""
        if not isinstance(name, str) or name in ("", OTHER):
            return OTHER
        if name not in self.known:
            if not new or len(self.known) >= self._limit:
                return OTHER
            self.known.add(name)
        return name

    def copy(self) -> Names:
        """The same names, which grow apart from these."""
        return Names(self.known, limit=self._limit)


class Tally:
    """Adds up increments; `changed` are the series that are no longer as they were read."""

    def __init__(self, *, models: Names, workers: Names) -> None:
        self.models = models
        self.workers = workers
        self.totals: dict[Series, Total] = {}
        self.changed: set[Series] = set()

    @classmethod
    def of_rows(cls, rows: Iterable[TotalRow], *, models: Iterable[str]) -> Tally:
        """What the ledger has, and the names in it; `models` are known beside them."""
        tally = cls(models=Names(models, limit=MAX_MODELS), workers=Names((), limit=MAX_WORKERS))
        for row in rows:
            tally._take_over(row)
        return tally

    def copy(self) -> Tally:
        """The same totals, to go on from; nothing of it has changed yet."""
        copied = Tally(models=self.models.copy(), workers=self.workers.copy())
        copied.totals = dict(self.totals)
        return copied

    def apply(self, increments: Iterable[Increment]) -> None:
        """Add these, in their order."""
        for one in increments:
            series = (one.metric, one.labels)
            before = self.totals.get(series) or Total()
            self.totals[series] = _after(before, one)
            self.changed.add(series)

    def count(self, moves: Iterable[Move], events: Iterable[EventRow]) -> None:
        """Add what these moves and events add, in their order."""
        for move in moves:
            # Who was refused at the door may have named anything.
            refused = move.source is None and move.target in TERMINAL
            model = self.models.shown(move.model, new=not refused)
            self.apply(counting.of_move(move, model))
        for event in events:
            worker = self.workers.shown(event.subject, new=event.kind in counting.OF_WORKERS)
            loaded = event.kind == counting.MODEL_LOADED
            model = self.models.shown(event.details.get("model"), new=loaded)
            self.apply(counting.of_event(event, worker=worker, model=model))

    def rows(self) -> list[TotalRow]:
        """What has changed, as the ledger keeps it."""
        found = ((series, self.totals[series]) for series in self.changed)
        return [
            TotalRow(metric=metric, labels=labels, value=total.value, counts=total.counts)
            for (metric, labels), total in found
        ]

    def _take_over(self, row: TotalRow) -> None:
        metric = BY_NAME.get(row.metric)
        if metric is None or len(metric.labels) != len(row.labels):
            # Of another version, which may come back.
            return
        if metric.kind is Kind.HISTOGRAM and len(row.counts) != len(metric.bounds):
            logger.warning("%s has other buckets by now, and begins again", row.metric)
            return
        for label, value in zip(metric.labels, row.labels, strict=True):
            if label == "model":
                self.models.known.add(value)
            elif label == "worker":
                self.workers.known.add(value)
        self.totals[row.metric, row.labels] = Total(row.value, row.counts)


def _after(before: Total, step: Increment) -> Total:
    if step.how is How.PUT:
        return Total(step.amount)
    if step.how is How.ADD:
        return Total(before.value + step.amount)
    bounds = BY_NAME[step.metric].buckets
    counts = list(before.counts) or [0] * (len(bounds) + 1)
    counts[bisect_left(bounds, step.amount)] += 1
    return Total(before.value + step.amount, tuple(counts))
