"""The fast writer of scrapes writes what prometheus_client writes, byte for byte."""

from __future__ import annotations

import math
from collections.abc import Iterator

from hypothesis import given
from hypothesis import strategies as st
from prometheus_client.exposition import generate_latest
from prometheus_client.metrics_core import Metric as ClientMetric
from prometheus_client.openmetrics.exposition import generate_latest as openmetrics_latest
from prometheus_client.openmetrics.parser import text_string_to_metric_families
from prometheus_client.registry import Collector

from monitoring.families import Exposition, Family
from monitoring.families.family import of_client
from monitoring.metrics import METRICS, Kind

VALUES = st.one_of(st.floats(), st.integers(-5, 10**12).map(float))
LABEL = st.text(max_size=6) | st.sampled_from(['"', "\\", "\n", "a\\n", "é", "\U0001f41d", "le"])


class Ready(Collector):
    """A collector of what is there already."""

    def __init__(self, families: list[Family]) -> None:
        self._families = families

    def collect(self) -> Iterator[ClientMetric]:
        """Give it."""
        return of_client(self._families)


@st.composite
def families(draw: st.DrawFn, values: st.SearchStrategy[float] = VALUES) -> list[Family]:
    """Some metrics of the table with any series."""
    chosen = draw(st.lists(st.sampled_from(METRICS), unique=True, max_size=4))
    made = []
    for metric in chosen:
        labels = st.tuples(*[LABEL for _ in metric.labels])
        rows = draw(st.dictionaries(labels, values, max_size=4))
        counts = st.lists(
            st.integers(0, 10**9), min_size=len(metric.bounds), max_size=len(metric.bounds)
        )
        counted = {key: draw(counts) for key in rows} if metric.kind is Kind.HISTOGRAM else {}
        made.append(Family(metric=metric, values=rows, counts=counted))
    return made


@given(families(), families())
def test_both_formats_are_those_of_the_client_library(
    first: list[Family], second: list[Family]
) -> None:
    """Also when some series were written before and others are gone."""
    fast = Exposition()
    for found in (first, second, first):
        assert fast.text(found, openmetrics=False) == generate_latest(Ready(found))
        assert fast.text(found, openmetrics=True) == openmetrics_latest(Ready(found))


@given(families(st.floats(0, 10**9)))
def test_what_is_written_can_be_read_back(found: list[Family]) -> None:
    """By a strict reader of OpenMetrics, with every value."""
    text = Exposition().text(found, openmetrics=True).decode()
    read = {
        (sample.name, tuple(sorted(sample.labels.items()))): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }
    for each in found:
        for labels, value in each.values.items():
            named = tuple(sorted(zip(each.metric.labels, labels, strict=True)))
            suffix = "_sum" if each.metric.kind is Kind.HISTOGRAM else ""
            assert math.isclose(read[each.metric.name + suffix, named], value)


def test_a_histogram_counts_up_to_each_bound() -> None:
    """Its last bucket has all, as has its count."""
    metric = next(metric for metric in METRICS if metric.name == "swarmos_cancel_duration_seconds")
    counts = [1] * len(metric.bounds)
    family = Family(metric=metric, values={("m",): 4.5}, counts={("m",): counts})
    lines = Exposition().text([family], openmetrics=False).decode().splitlines()
    assert lines[2] == 'swarmos_cancel_duration_seconds_bucket{le="0.1",model="m"} 1.0'
    assert lines[-3:] == [
        'swarmos_cancel_duration_seconds_bucket{le="+Inf",model="m"} 9.0',
        'swarmos_cancel_duration_seconds_count{model="m"} 9.0',
        'swarmos_cancel_duration_seconds_sum{model="m"} 4.5',
    ]
