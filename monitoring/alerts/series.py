"""What a rule looks at: series picked by their labels, now or over a while, or recorded ones.

Names and labels are checked against the table of metrics when a rule is made.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol, TypeAlias

from monitoring import metrics

Labels: TypeAlias = tuple[tuple[str, str], ...]
"""A set of labels, sorted by name."""
Vector: TypeAlias = dict[Labels, float]
"""One value for each set of labels."""

FOREIGN = {
    "up": ("job", "instance"),
    "alertmanager_notifications_failed_total": ("job", "instance", "integration"),
}
"""Series of Prometheus and Alertmanager themselves; only Prometheus sees them."""

SCRAPED = ("job", "instance")
"""What Prometheus adds to each series that it scrapes."""


ATOM = 5
"""How tightly what needs no operator binds; operators have lower ranks."""


class Seen(Protocol):
    """What an expression is judged over: the series of one moment, and of a while before it."""

    @property
    def at(self) -> float:
        """The moment, in seconds since 1970."""
        ...

    def current(self, series: Series) -> Vector:
        """The values that series have at the moment."""
        ...

    def rises(self, rise: Rise) -> Vector:
        """How far counters have risen within a window that ends at the moment."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Series:
    """Series of one metric, whose labels have one of these values, or none of these."""

    metric: str
    known: tuple[str, ...]
    among: tuple[tuple[str, tuple[str, ...]], ...] = ()
    besides: tuple[tuple[str, tuple[str, ...]], ...] = ()
    rank: int = ATOM

    def __post_init__(self) -> None:
        for label, _ in (*self.among, *self.besides):
            if label not in self.known:
                raise ValueError(f"{self.metric} has no label {label!r}, only {self.known}")

    @property
    def labels(self) -> tuple[str, ...]:
        """Those of the metric."""
        return self.known

    def matches(self, labels: Mapping[str, str]) -> bool:
        """Whether a series with these labels is meant."""
        return all(labels.get(name, "") in values for name, values in self.among) and all(
            labels.get(name, "") not in values for name, values in self.besides
        )

    def promql(self) -> str:
        """A selector."""
        asked = [_matcher(name, values, "=") for name, values in self.among]
        asked += [_matcher(name, values, "!") for name, values in self.besides]
        return f"{self.metric}{{{','.join(asked)}}}" if asked else self.metric

    def over(self, seen: Seen) -> Vector:
        """What they are now."""
        return seen.current(self)


def series(name: str, **where: str | tuple[str, ...]) -> Series:
    """The series of a metric of the table; `status="dead"` or `status=("dead", "failed")` picks.

    Raises:
        KeyError: there is no such metric.
        ValueError: it has no such label.
    """
    found = metrics.metric(name)
    return Series(metric=found.name, known=found.labels, among=_several(where))


def series_besides(name: str, **where: str | tuple[str, ...]) -> Series:
    """The series of a metric of the table without those that `where` picks.

    Raises:
        KeyError: there is no such metric.
        ValueError: it has no such label.
    """
    found = metrics.metric(name)
    return Series(metric=found.name, known=found.labels, besides=_several(where))


def foreign(name: str) -> Series:
    """The series of a metric that is not ours.

    Raises:
        KeyError: it is not in the list of those.
    """
    return Series(metric=name, known=FOREIGN[name])


@dataclass(frozen=True, slots=True, kw_only=True)
class Rise:
    """How far counters have risen within a window, in all or per second."""

    of: Series
    window_s: float
    per_second: bool = False
    rank: int = ATOM

    @property
    def labels(self) -> tuple[str, ...]:
        """Those of the series."""
        return self.of.labels

    def promql(self) -> str:
        """`increase` or `rate`."""
        name = "rate" if self.per_second else "increase"
        return f"{name}({self.of.promql()}[{duration(self.window_s)}])"

    def over(self, seen: Seen) -> Vector:
        """Extrapolated to the whole window, as Prometheus does."""
        return seen.rises(self)


@dataclass(frozen=True, slots=True, kw_only=True)
class Limit:
    """A limit that a setting moves: what the exporter tells of it, or `unset` if it tells none."""

    rule: str
    unset: float

    def promql(self) -> str:
        """A scalar."""
        return f"scalar(max({self._told.promql()}) or vector({number(self.unset)}))"

    def over(self, seen: Seen) -> float:
        """What it is at the moment."""
        return max(self._told.over(seen).values(), default=self.unset)

    @property
    def _told(self) -> Series:
        return series("alert_limit_seconds", rule=self.rule)


@dataclass(frozen=True, slots=True, kw_only=True)
class Absent:
    """1 if there is no such series."""

    of: Series
    labels: tuple[str, ...] = ()
    rank: int = ATOM

    def promql(self) -> str:
        """`absent`."""
        return f"absent({self.of.promql()})"

    def over(self, seen: Seen) -> Vector:
        """Nothing if there is one."""
        return {} if self.of.over(seen) else {(): 1.0}


@dataclass(frozen=True, slots=True, kw_only=True)
class Always:
    """1, at any time."""

    labels: tuple[str, ...] = ()
    rank: int = ATOM

    def promql(self) -> str:
        """A vector."""
        return "vector(1)"

    def over(self, seen: Seen) -> Vector:
        """The same at any moment."""
        del seen
        return {(): 1.0}


@dataclass(frozen=True, slots=True, kw_only=True)
class Recorded:
    """What a recording rule has written; only Prometheus keeps that."""

    name: str
    labels: tuple[str, ...]
    rank: int = ATOM

    def promql(self) -> str:
        """Its name."""
        return self.name

    def over(self, seen: Seen) -> Vector:
        """Nothing: nobody but Prometheus looks so far back."""
        del seen
        return {}


def duration(seconds: float) -> str:
    """Return a span as Prometheus writes it, in the largest unit that needs no fraction."""
    for unit, size in (("d", 86400), ("h", 3600), ("m", 60)):
        if seconds and seconds % size == 0:
            return f"{seconds / size:.0f}{unit}"
    return f"{seconds:.0f}s"


def number(value: float) -> str:
    """Return a number as people write it."""
    return f"{value:.12g}"


def _several(where: Mapping[str, str | tuple[str, ...]]) -> tuple[tuple[str, tuple[str, ...]], ...]:
    return tuple((k, (v,) if isinstance(v, str) else v) for k, v in where.items())


def _matcher(label: str, values: tuple[str, ...], sign: str) -> str:
    if len(values) == 1:
        return f'{label}{"=" if sign == "=" else "!="}"{values[0]}"'
    return f'{label}{sign}~"{"|".join(values)}"'
