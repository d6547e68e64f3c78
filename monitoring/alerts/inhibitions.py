"""Which alerts keep others quiet: those that say the same again, or that can only be wrong.

Alertmanager has no such list: it would also keep quiet that an alert is over.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field

from monitoring.alerts.alert import Alert


@dataclass(frozen=True, slots=True, kw_only=True)
class Inhibition:
    """While `source` fires, and its labels are `where`, `target` is not told.

    Only targets with the same values of the labels `equal`; a `target` of None is any other rule.
    """

    source: str
    where: Mapping[str, str] = field(default_factory=dict)
    target: str | None = None
    equal: tuple[str, ...] = ()

    def holds(self, source: Alert, target: Alert) -> bool:
        """Whether one alert that fires keeps another quiet."""
        if source.rule != self.source or target.rule == self.source:
            return False
        if any(source.labels.get(name) != value for name, value in self.where.items()):
            return False
        if self.target is not None and target.rule != self.target:
            return False
        return all(source.labels.get(name) == target.labels.get(name) for name in self.equal)


OUR_JOB = "honeyflow"
"""What Prometheus calls the targets that all of our series come from."""

WITHOUT_REDIS = ("ReconcilerStale", "BeatStale", "CanaryStale")
"""What cannot go on while Redis is away. RedisDown fires before them and ends after them."""

INHIBITIONS = (
    Inhibition(source="NoWorkerForModel", target="QueueBacklog", equal=("model",)),
    *(Inhibition(source="RedisDown", target=name) for name in WITHOUT_REDIS),
    Inhibition(source="TargetDown", where={"job": OUR_JOB}),
)


def inhibited(alert: Alert, firing: Collection[Alert]) -> bool:
    """Whether one of those that fire keeps an alert quiet."""
    return any(rule.holds(source, alert) for rule in INHIBITIONS for source in firing)
