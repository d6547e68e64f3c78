"""The two text formats of Prometheus, written fast enough for a scrape of ten thousand series.

prometheus_client writes the same bytes, which a test holds, and takes five times as long: it makes
each series' labels anew at every scrape. Here what stands before a value is made once.
"""

from __future__ import annotations

import functools
from collections.abc import Iterable, Sequence

from monitoring.families.family import Family, Labels, cumulated, number_text
from monitoring.metrics import Kind, Metric

Heads = tuple[str, ...]
"""What stands before each value of a series: one, or a histogram's buckets, count and sum."""


class Exposition:
    """Writes families as text; not to be used by two threads at once."""

    def __init__(self) -> None:
        self._heads: dict[str, dict[Labels, Heads]] = {}

    def text(self, families: Iterable[Family], *, openmetrics: bool) -> bytes:
        """The families in Prometheus' own format, or in OpenMetrics."""
        lines: list[str] = []
        for each in families:
            name = each.metric.name
            if openmetrics and each.metric.kind is Kind.COUNTER:
                name = name.removesuffix("_total")
            lines.append(f"# HELP {name} {_escaped(each.metric.help, quotes=openmetrics)}\n")
            lines.append(f"# TYPE {name} {each.metric.kind}\n")
            self._series(each, lines)
        if openmetrics:
            lines.append("# EOF\n")
        return "".join(lines).encode()

    def _series(self, family: Family, lines: list[str]) -> None:
        known = self._heads.get(family.metric.name, {})
        # Made anew, so that what is gone is forgotten.
        kept = self._heads[family.metric.name] = {}
        write = lines.append
        for labels, value in family.values.items():
            heads = kept[labels] = known.get(labels) or _heads(family.metric, labels)
            if len(heads) == 1:
                write(f"{heads[0]} {_number(value)}\n")
                continue
            count = 0
            for head, count in zip(heads, cumulated(family.counts[labels]), strict=False):
                write(f"{head} {_number(count)}\n")
            write(f"{heads[-2]} {_number(count)}\n")
            write(f"{heads[-1]} {_number(value)}\n")


_number = functools.lru_cache(maxsize=16_384)(number_text)


def _heads(metric: Metric, labels: Labels) -> Heads:
    pairs = list(zip(metric.labels, labels, strict=True))
    if metric.kind is not Kind.HISTOGRAM:
        return (metric.name + _braced(pairs),)
    buckets = [
        f"{metric.name}_bucket{_braced([*pairs, ('le', number_text(bound))])}"
        for bound in metric.bounds
    ]
    plain = _braced(pairs)
    return (*buckets, f"{metric.name}_count{plain}", f"{metric.name}_sum{plain}")


def _braced(pairs: Sequence[tuple[str, str]]) -> str:
    if not pairs:
        return ""
    told = (f'{name}="{_escaped(value, quotes=True)}"' for name, value in sorted(pairs))
    return "{" + ",".join(told) + "}"


def _escaped(text: str, *, quotes: bool) -> str:
    text = text.replace("\\", r"\\").replace("\n", r"\n")
    return text.replace('"', r"\"") if quotes else text
