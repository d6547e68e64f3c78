"""The totals of all series that are counted, and the names that their labels may have."""

from __future__ import annotations

import logging
from bisect import bisect_left
from collections.abc import Collection, Iterable
from dataclasses import dataclass

from ledger import TERMINAL, EventRow, Move, TotalRow, WorkerRow
from ledger.workers import WORKER_FORGOTTEN
from monitoring import counting
from monitoring.counting import How, Increment
from monitoring.metrics import BY_NAME, FORGOTTEN, METRICS, OTHER, Kind
from monitoring.worker_states import GONE

logger = logging.getLogger(__name__)

MAX_MODELS = 64
MAX_WORKERS = 256
"""How many names a label takes on by itself; those that come later are `other`.

A worker that is gone gives up its name for one that comes.
"""

_WORKER_AT = {one.name: one.labels.index("worker") for one in METRICS if "worker" in one.labels}

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
        if not isinstance(name, str) or name in ("", OTHER, FORGOTTEN):
            return OTHER
        if name not in self.known:
            if not new or len(self.known) >= self._limit:
                return OTHER
            self.known.add(name)
        return name

    def too_many(self, names: Iterable[str]) -> int:
        """How many of these could not be taken on."""
        return max(0, len(self.known | set(names)) - self._limit)

    def copy(self) -> Names:
        """The same names, which grow apart from these."""
        return Names(self.known, limit=self._limit)


class Tally:
    """Adds up increments.

    `changed` are the series that are no longer as they were read, `gone` those that were given up.
    """

    def __init__(self, *, models: Names, workers: Names) -> None:
        self.models = models
        self.workers = workers
        self.totals: dict[Series, Total] = {}
        self.changed: set[Series] = set()
        self.gone: set[Series] = set()

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

    def count(
        self,
        moves: Iterable[Move],
        events: Iterable[EventRow],
        there: Collection[WorkerRow] = (),
    ) -> None:
        """Add what these moves and events add, in their order.

        `there` are the workers that the ledger knows; needed only where `is_full` says so.
        """
        for move in moves:
            # Who was refused at the door may have named anything.
            refused = move.source is None and move.target in TERMINAL
            model = self.models.shown(move.model, new=not refused)
            self.apply(counting.of_move(move, model))
        for event in events:
            if event.kind == WORKER_FORGOTTEN:
                self.forget(event.subject)
                continue
            of_worker = event.kind in counting.OF_WORKERS
            if of_worker and there and self.is_full([event]):
                self._make_room(there)
            worker = self.workers.shown(event.subject, new=of_worker)
            served = event.kind in counting.OF_MODELS
            model = self.models.shown(event.details.get("model"), new=served)
            self.apply(counting.of_event(event, worker=worker, model=model))

    def forget(self, worker: str) -> None:
        """Give up a worker's name; what was counted of it stays in the sums, as that of nobody."""
        if worker not in self.workers.known or worker == OTHER:
            return
        self.workers.known.remove(worker)
        for series in [each for each in self.totals if _worker_of(each) == worker]:
            metric, labels = series
            at = _WORKER_AT[metric]
            nobody = (metric, (*labels[:at], FORGOTTEN, *labels[at + 1 :]))
            left, had = self.totals.pop(series), self.totals.get(nobody) or Total()
            self.totals[nobody] = Total(had.value + left.value)
            self.changed.discard(series)
            self.changed.add(nobody)
            self.gone.add(series)

    def is_full(self, events: Iterable[EventRow]) -> bool:
        """Whether there is no room for the names of all workers in these events."""
        return self.workers.too_many(_named(events)) > 0

    def rows(self) -> list[TotalRow]:
        """What has changed, as the ledger keeps it."""
        found = ((series, self.totals[series]) for series in self.changed)
        return [
            TotalRow(metric=metric, labels=labels, value=total.value, counts=total.counts)
            for (metric, labels), total in found
        ]

    def _make_room(self, there: Collection[WorkerRow]) -> None:
        """Forget a worker that is not in the ledger, or the one that has been gone for longest."""
        known = self.workers.known - {OTHER}
        unheard = sorted(known - {row.worker for row in there})
        gone = [row for row in there if row.state in GONE and row.worker in known]
        gone.sort(key=lambda row: (row.seen_at or 0.0, row.worker))
        for worker in [*unheard, *(row.worker for row in gone)][:1]:
            self.forget(worker)

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
            elif label == "worker" and value != FORGOTTEN:
                self.workers.known.add(value)
        self.totals[row.metric, row.labels] = Total(row.value, row.counts)


def _worker_of(series: Series) -> str | None:
    metric, labels = series
    return labels[_WORKER_AT[metric]] if metric in _WORKER_AT else None


def _named(events: Iterable[EventRow]) -> set[str]:
    return {event.subject for event in events if event.kind in counting.OF_WORKERS}


def _after(before: Total, step: Increment) -> Total:
    if step.how is How.PUT:
        return Total(step.amount)
    if step.how is How.ADD:
        return Total(before.value + step.amount)
    bounds = BY_NAME[step.metric].buckets
    counts = list(before.counts) or [0] * (len(bounds) + 1)
    counts[bisect_left(bounds, step.amount)] += 1
    return Total(before.value + step.amount, tuple(counts))
