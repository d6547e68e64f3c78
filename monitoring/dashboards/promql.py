"""The few forms that panels ask in; a metric or a label that does not exist is refused.

Source: the Prometheus documentation, "Histograms and summaries" and "Metric types".
"""

from __future__ import annotations

from monitoring.metrics import FORGOTTEN, Kind, Metric, Source, metric

NARROWED = ("model", "worker")
_ALWAYS_THERE = "exporter_lag_changes"
"""A metric that every scrape of an exporter has."""


def series(name: str, **where: str) -> str:
    """A metric's series, narrowed to what the board was narrowed to; `where` are `label=~value`.

    Raises:
        KeyError: there is no such metric, or it has no such label.
    """
    found = metric(name)
    return f"{found.name}{_matchers(found, where)}"


def total(name: str, *by: str, **where: str) -> str:
    """The sum of a gauge over everything but `by`."""
    return _over("sum", _of(name, Kind.GAUGE), series(name, **where), by)


def most(name: str, *by: str, **where: str) -> str:
    """The greatest value of a gauge."""
    return _over("max", _of(name, Kind.GAUGE), series(name, **where), by)


def least(name: str, *by: str, **where: str) -> str:
    """The smallest value of a gauge."""
    return _over("min", _of(name, Kind.GAUGE), series(name, **where), by)


def rate(name: str, *by: str, **where: str) -> str:
    """How fast a counter grows, each second."""
    found = _of(name, Kind.COUNTER)
    return _over("sum", found, f"rate({series(name, **where)}[$__rate_interval])", by)


def grown(name: str, *by: str, during: str = "$__range", **where: str) -> str:
    """By how much a counter grew, with what its series were born with.

    `increase` sees only what comes after a series' first sample, and many a series is born with its
    first fault. One is born if it was not there at the beginning, and if its exporter was scraped
    before it: of one that is only seen for the first time nobody knows when it grew.
    """
    found, chosen = _of(name, Kind.COUNTER), series(name, **where)
    there = f"max by (job, instance) (count_over_time({series(_ALWAYS_THERE)}[{during}]))"
    born = (
        f"min_over_time({chosen}[{during}])"
        f" and (count_over_time({chosen}[{during}]) < on (job, instance) group_left () {there})"
        f" unless {chosen} offset {during}"
    )
    # With a label of its own, or a series that was born and grew since would count once only.
    told = f'label_replace({born}, "born", "yes", "", "")'
    return _over("sum", found, f"increase({chosen}[{during}]) or {told}", by)


def risen(name: str, *by: str, during: str = "$__range", **where: str) -> str:
    """By how much a counter grew, without what its series were born with.

    For one that counted before it had a series, and for times so long that `grown` costs too much.
    """
    found = _of(name, Kind.COUNTER)
    return _over("sum", found, f"increase({series(name, **where)}[{during}])", by)


def quantile(share: float, name: str, *by: str) -> str:
    """A quantile of a histogram, from the buckets of all its series together."""
    buckets = f"rate({_bucket(name)}[$__rate_interval])"
    summed = _over("sum", _of(name, Kind.HISTOGRAM), buckets, (*by, "le"))
    return f"histogram_quantile({share}, {summed})"


def average(name: str, *by: str) -> str:
    """The mean of what a histogram has seen."""
    found = _of(name, Kind.HISTOGRAM)
    parts = (
        _over(
            "sum", found, f"rate({found.name}_{part}{_matchers(found, {})}[$__rate_interval])", by
        )
        for part in ("sum", "count")
    )
    return " / ".join(parts)


def buckets(name: str) -> str:
    """How many fell into each bucket, for a heat map."""
    found = f"increase({_bucket(name)}[$__rate_interval])"
    return _over("sum", _of(name, Kind.HISTOGRAM), found, ("le",))


def age(name: str, *by: str, **where: str) -> str:
    """How long ago the latest moment of a gauge was."""
    return f"time() - {most(name, *by, **where)}"


def or_zero(expr: str) -> str:
    """0 where there is nothing to show: of a fault, none is an answer."""
    return f"({expr}) or on () vector(0)"


def _of(name: str, kind: Kind) -> Metric:
    found = metric(name)
    if found.kind is not kind:
        raise ValueError(f"{found.name} is a {found.kind} and no {kind}")
    return found


def _bucket(name: str) -> str:
    found = _of(name, Kind.HISTOGRAM)
    return f"{found.name}_bucket{_matchers(found, {})}"


def _matchers(found: Metric, where: dict[str, str]) -> str:
    narrowed = {label: f"${label}" for label in NARROWED if label in found.labels}
    told = {**narrowed, **where}
    if unknown := set(told) - set(found.labels):
        raise KeyError(f"{found.name} has no label {', '.join(sorted(unknown))}")
    asked = [f'{label}=~"{value}"' for label, value in told.items()]
    if found.source is Source.EVENTS and "worker" in found.labels:
        # What comes together there was counted before, and did not happen now.
        asked.append(f'worker!="{FORGOTTEN}"')
    return f"{{{', '.join(asked)}}}" if asked else ""


def _over(how: str, found: Metric, expr: str, by: tuple[str, ...]) -> str:
    if unknown := set(by) - {*found.labels, "le"}:
        raise KeyError(f"{found.name} has no label {', '.join(sorted(unknown))}")
    return f"{how} by ({', '.join(by)}) ({expr})" if by else f"{how}({expr})"
