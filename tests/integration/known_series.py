"""Two hours of every metric with known arithmetic, as OpenMetrics text.

Every series of a counter grows by one in each step, every series of a gauge stands still at a value
of its own metric, and every histogram takes one observation a step, in the middle of its third
bucket. Labels have the values of `VALUES`.

Beside them each counter has series whose model, worker or channel is `LATE`, which are born with 1
at `BORN` and stay so, and others with `OLD`, which are 1000 from the beginning to the end.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator

from monitoring.metrics import METRICS, PRIORITIES, STATUSES, WORKER_STATES, Kind, Metric

STEP_S = 30
STEPS = 240
START = 1_700_000_000 - 1_700_000_000 % STEP_S
END = START + STEP_S * STEPS
BORN = END - STEP_S * 60
LATE, OLD = "late", "old"
NAMED = ("model", "worker", "channel")

VALUES = {
    "model": ("a", "b"),
    "worker": ("w1", "w2"),
    "gpu": ("0",),
    "status": STATUSES,
    "priority": PRIORITIES,
    "backend": ("cuda",),
    "version": ("1",),
    "gpu_name": ("card",),
}
"""Values of a label; of one that is not here, `x` and `y`."""
STATES = {
    "swarmos_jobs_current": ("scheduled", "queued", "running"),
    "swarmos_workers": WORKER_STATES,
}
LEVELS = {
    "swarmos_gpu_memory_total_bytes": 40.0,
    "swarmos_gpu_memory_used_bytes": 10.0,
    "swarmos_host_disk_total_bytes": 40.0,
    "swarmos_host_disk_available_bytes": 10.0,
}
LEVEL = 7.0
"""What a gauge stands at that is not in LEVELS; a moment is so many seconds before the end."""
OBSERVED = 2
"""In which bucket every observation falls."""


def combinations(metric: Metric) -> list[dict[str, str]]:
    """The label values of each series of a metric."""
    values = [
        STATES.get(metric.name, ("x", "y")) if label == "state" else VALUES.get(label, ("x", "y"))
        for label in metric.labels
    ]
    return [dict(zip(metric.labels, one, strict=True)) for one in itertools.product(*values)]


def renamed(metric: Metric, name: str) -> list[dict[str, str]]:
    """The label values of the series that are named so; none where nothing can be."""
    if not set(NAMED) & set(metric.labels):
        return []
    found = [
        {label: name if label in NAMED else value for label, value in labels.items()}
        for labels in combinations(metric)
    ]
    return [labels for place, labels in enumerate(found) if labels not in found[:place]]


def middle(metric: Metric) -> float:
    """What every observation of a histogram is."""
    return (metric.buckets[OBSERVED - 1] + metric.buckets[OBSERVED]) / 2


def lines() -> Iterator[str]:
    """The text, metric by metric."""
    for metric in METRICS:
        family = metric.name.removesuffix("_total") if metric.kind is Kind.COUNTER else metric.name
        yield f"# TYPE {family} {metric.kind}\n"
        for labels in combinations(metric):
            yield from _series(metric, labels)
        if metric.kind is Kind.COUNTER:
            for labels in renamed(metric, LATE):
                yield from (
                    _line(metric.name, labels, 1, at) for at in range(BORN, END + 1, STEP_S)
                )
            for labels in renamed(metric, OLD):
                yield from (
                    _line(metric.name, labels, 1000, at) for at in range(START, END + 1, STEP_S)
                )
    yield "# EOF\n"


def _series(metric: Metric, labels: dict[str, str]) -> Iterator[str]:
    moments = [(step, START + STEP_S * step) for step in range(STEPS + 1)]
    match metric.kind:
        case Kind.COUNTER:
            yield from (_line(metric.name, labels, step, at) for step, at in moments)
        case Kind.GAUGE:
            level = LEVELS.get(metric.name, LEVEL)
            if metric.name.endswith("_timestamp_seconds"):
                level = END - level
            yield from (_line(metric.name, labels, level, at) for _, at in moments)
        case Kind.HISTOGRAM:
            for step, at in moments:
                for number, bound in enumerate(metric.bounds):
                    told = {**labels, "le": f"{bound:g}" if bound < float("inf") else "+Inf"}
                    yield _line(f"{metric.name}_bucket", told, step * (number >= OBSERVED), at)
                yield _line(f"{metric.name}_count", labels, step, at)
                yield _line(f"{metric.name}_sum", labels, step * middle(metric), at)


def _line(name: str, labels: dict[str, str], value: float, at: int) -> str:
    told = ",".join(f'{label}="{text}"' for label, text in labels.items())
    return f"{name}{{{told}}} {value} {at}\n"
