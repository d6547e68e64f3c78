"""A family: one metric of the table with all its series, before anybody writes it as text."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
)
from prometheus_client.metrics_core import Metric as ClientMetric
from prometheus_client.utils import floatToGoString

from monitoring.metrics import Kind, Metric, metric

Labels = tuple[str, ...]
"""The values of a metric's labels, in its order."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Family:
    """One metric's series by their labels.

    `values` are those of a counter or gauge, or the sums of a histogram; only a histogram has
    `counts`, one for each of its `bounds` and not cumulative.
    """

    metric: Metric
    values: Mapping[Labels, float]
    counts: Mapping[Labels, Sequence[int]] = field(default_factory=dict)


def family(name: str, values: Mapping[Labels, float]) -> Family:
    """The family of a counter or gauge, by its name without the prefix."""
    return Family(metric=metric(name), values=values)


def single(name: str, value: float | None) -> Family:
    """The family of a metric without labels; without series if there is no value."""
    return family(name, {} if value is None else {(): value})


number_text: Callable[[float], str] = floatToGoString
"""A number as Go, and so Prometheus, writes it."""


def cumulated(counts: Sequence[int]) -> Iterator[int]:
    """What Prometheus counts: all observations up to each bound."""
    return itertools.accumulate(counts)


def of_client(families: Iterable[Family]) -> Iterator[ClientMetric]:
    """The same families as prometheus_client's own values."""
    for each in families:
        table = each.metric
        if table.kind is Kind.HISTOGRAM:
            histogram = HistogramMetricFamily(table.name, table.help, labels=table.labels)
            bounds = [number_text(bound) for bound in table.bounds]
            for labels, total in each.values.items():
                counted = zip(bounds, cumulated(each.counts[labels]), strict=True)
                histogram.add_metric(labels, list(counted), total)
            yield histogram
        else:
            kind = CounterMetricFamily if table.kind is Kind.COUNTER else GaugeMetricFamily
            plain = kind(table.name, table.help, labels=table.labels)
            for labels, value in each.values.items():
                plain.add_metric(labels, value)
            yield plain
