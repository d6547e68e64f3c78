"""The counted series that are there from the start, at nothing.

A rate over a series that appears with its first failure does not see that failure, and a share of
failures is no number where there were none; so what can be alerted on is there beforehand.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Mapping, Sequence

from monitoring.metrics import (
    ATTEMPT_OUTCOMES,
    DIRECTIONS,
    HEALTH_CHECKS,
    METRICS,
    OPEN_STATES,
    ORIGINS,
    PREFIX,
    PRIORITIES,
    RECONCILER_ACTIONS,
    SAMPLE_OUTCOMES,
    STATUSES,
    Kind,
    Metric,
    Source,
)
from monitoring.tally import Series, Total

_OF_ALL: Mapping[str, Sequence[str]] = {
    "priority": PRIORITIES,
    "state": OPEN_STATES,
    "status": STATUSES,
    "origin": ORIGINS,
    "direction": DIRECTIONS,
    "action": RECONCILER_ACTIONS,
    "check": HEALTH_CHECKS,
}
_OUTCOMES: Mapping[str, Sequence[str]] = {
    "job_attempts_total": ATTEMPT_OUTCOMES,
    "samples_total": SAMPLE_OUTCOMES,
}
_ONLY_WHEN_SEEN = frozenset(
    {"worker_start_failures_total", "canary_last_success_timestamp_seconds"}
)
"""A reason can be any error's code; and a moment that never was is not 0, but absent."""

COUNTED = tuple(metric for metric in METRICS if metric.source in (Source.MOVES, Source.EVENTS))
"""The metrics that are counted from the ledger's moves and events."""


def at_rest(*, models: Iterable[str], workers: Iterable[str]) -> dict[Series, Total]:
    """Every series of these models and workers that is there before anything happened."""
    named = {"model": sorted(models), "worker": sorted(workers)}
    return {
        (metric.name, labels): _nothing(metric)
        for metric in COUNTED
        if metric.name.removeprefix(PREFIX) not in _ONLY_WHEN_SEEN
        for labels in itertools.product(*(_values(metric, label, named) for label in metric.labels))
    }


def _values(metric: Metric, label: str, named: Mapping[str, Sequence[str]]) -> Sequence[str]:
    if label == "outcome":
        return _OUTCOMES[metric.name.removeprefix(PREFIX)]
    return named[label] if label in named else _OF_ALL[label]


def _nothing(metric: Metric) -> Total:
    return Total(counts=(0,) * len(metric.bounds) if metric.kind is Kind.HISTOGRAM else ())
