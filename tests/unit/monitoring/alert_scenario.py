"""One course of events that a rule is tried on, and the series it is made of."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from monitoring.alerts.rule import Rule
from monitoring.alerts.rules import BY_NAME
from tests.unit.monitoring.promtool import Values

Span = tuple[int, int | None]
"""From when, and until when (None: still at the end), in seconds."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Scenario:
    """One course of events. `fires` has the spans by the labels of the alert, written `a=b,c=d`.

    `value` is what an alert tells when it begins, for rules that only Prometheus judges.
    """

    name: str
    rule: str
    series: Mapping[str, Values]
    fires: Mapping[str, tuple[Span, ...]] = field(default_factory=dict)
    step_s: int = 10
    length: int = 0
    value: float = 0.0

    @property
    def asked(self) -> Rule:
        """The rule."""
        return BY_NAME[self.rule]

    @property
    def moments(self) -> range:
        """When rules are judged."""
        steps = max([self.length, *map(len, self.series.values())])
        return range(0, steps * self.step_s, self.step_s)

    @property
    def edges(self) -> list[int]:
        """The moments at which something begins or ends, those before, and the last."""
        told = {0, self.moments[-1]}
        for spans in self.fires.values():
            for edge in (edge for span in spans for edge in span if edge is not None):
                told |= {edge, max(0, edge - self.step_s)}
        return sorted(told & set(self.moments))

    def firing(self, at: int) -> list[dict[str, str]]:
        """The labels of the alerts that fire at a moment."""
        return [
            labels_of(told)
            for told, spans in self.fires.items()
            if any(since <= at and (until is None or at < until) for since, until in spans)
        ]


def labels_of(told: str) -> dict[str, str]:
    """Read labels written `a=b,c=d`."""
    return dict(part.split("=", 1) for part in told.split(",") if part)


def counting(*parts: tuple[int, float]) -> list[float]:
    """A counter that begins at 0 and rises by so much at each of so many steps."""
    values = [0.0]
    for steps, rise in parts:
        for _ in range(steps):
            values.append(round(values[-1] + rise, 6))
    return values


def ages(last: float, steps: int, step_s: int = 10) -> list[float]:
    """A time that moves on with the clock until `last`, and then stands still."""
    return [min(at * step_s, last) for at in range(steps)]


def jobs_series(model: str, status: str) -> str:
    """The jobs of a model that ended so."""
    return f'swarmos_jobs_total{{model="{model}",status="{status}"}}'
