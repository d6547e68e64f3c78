"""What was counted of the ledger's moves and events."""

from __future__ import annotations

from collections.abc import Mapping

from monitoring.families.family import Family, Labels
from monitoring.metrics import METRICS, Source
from monitoring.tally import Series, Total

_COUNTED = tuple(metric for metric in METRICS if metric.source in (Source.MOVES, Source.EVENTS))


def families(totals: Mapping[Series, Total]) -> list[Family]:
    """The families whose source is the ledger's moves or its events."""
    values: dict[str, dict[Labels, float]] = {metric.name: {} for metric in _COUNTED}
    counts: dict[str, dict[Labels, tuple[int, ...]]] = {metric.name: {} for metric in _COUNTED}
    for (name, labels), total in totals.items():
        if name in values:
            values[name][labels] = total.value
            counts[name][labels] = total.counts
    return [
        Family(metric=metric, values=values[metric.name], counts=counts[metric.name])
        for metric in _COUNTED
    ]
