"""Messages: what one call to a channel tells, be it one alert or a thousand."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum

from monitoring.alerts.alert import Alert, Severity

_URGENCY = (Severity.NONE, Severity.INFO, Severity.WARNING, Severity.TICKET, Severity.PAGE)


class Kind(StrEnum):
    """What is told of an alert."""

    FIRING = "firing"
    RESOLVED = "resolved"
    REPEAT = "repeat"
    """It still fires, hours after it was told."""
    EVENT = "event"
    """Something happened; there is nothing to resolve."""
    TEST = "test"


OF_STATE = (Kind.FIRING, Kind.REPEAT, Kind.RESOLVED)
"""Of these only the newest about an alert is worth telling."""

_HEADS = {
    Kind.FIRING: "Firing",
    Kind.RESOLVED: "Resolved",
    Kind.REPEAT: "Still firing",
    Kind.EVENT: "Event",
    Kind.TEST: "Test",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Item:
    """One piece of news; `id` is its number in the outbox, 0 for one that was never there."""

    id: int = 0
    kind: Kind
    alert: Alert

    @property
    def note(self) -> str:
        """When it was, and for how long."""
        if self.kind is Kind.EVENT:
            return moment(self.alert.since)
        if self.alert.ended is not None:
            return f"after {duration(self.alert.ended - self.alert.since)}"
        return f"since {moment(self.alert.since)}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Message:
    """What goes out as one; `id` is the same for all channels of a test, else its own."""

    id: str
    items: Sequence[Item]

    @property
    def severity(self) -> Severity:
        """The most urgent of what it tells."""
        return max((item.alert.severity for item in self.items), key=urgency)

    @property
    def resolved(self) -> bool:
        """Whether it has nothing but good news."""
        return all(item.kind is Kind.RESOLVED for item in self.items)

    @property
    def title(self) -> str:
        """What it is about, in a few words."""
        kinds = {item.kind for item in self.items}
        rules = {item.alert.rule for item in self.items}
        if len(kinds) > 1 or len(rules) > 1:
            return f"{len(self.items)} messages: {_counted(self.items)}"
        many = f" ({len(self.items)})" if len(self.items) > 1 else ""
        return f"{_HEADS[self.items[0].kind]}: {self.items[0].alert.rule}{many}"

    @property
    def rules(self) -> str:
        """How many there are of each rule, for a message about several."""
        counted = Counter(item.alert.rule for item in self.items)
        if len(counted) < 2:
            return ""
        return ", ".join(f"{rule} {many}" for rule, many in counted.most_common())

    @property
    def by_urgency(self) -> Sequence[Item]:
        """Its items, what is most urgent and oldest first; good news last."""
        return sorted(
            self.items,
            key=lambda item: (
                item.kind is Kind.RESOLVED,
                -urgency(item.alert.severity),
                item.alert.since,
                item.id,
            ),
        )


def urgency(severity: Severity) -> int:
    """Rank a severity: the more it asks of people, the higher."""
    return _URGENCY.index(severity)


def duration(seconds: float) -> str:
    """Return a time as people say it: 45 s, 4 min 12 s, 3 h 5 min, 2 d 1 h."""
    whole = max(0, round(seconds))
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60} s"
    if whole < 86400:
        return f"{whole // 3600} h {whole % 3600 // 60} min"
    return f"{whole // 86400} d {whole % 86400 // 3600} h"


def moment(at: float) -> str:
    """Return a time of day in UTC, with its date."""
    return datetime.fromtimestamp(at, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")


def _counted(items: Sequence[Item]) -> str:
    counted = Counter(item.kind for item in items)
    words = {Kind.EVENT: "event", Kind.TEST: "test", Kind.REPEAT: "still firing"}
    return ", ".join(f"{counted[kind]} {words.get(kind, kind)}" for kind in Kind if counted[kind])
