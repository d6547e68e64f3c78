"""What the builtin judge remembers between two looks, and its form as plain JSON."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from typing import Any

from monitoring.alerts.alert import Alert, Severity
from monitoring.alerts.history import History

VERSION = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Watched:
    """An alert that holds: since when, since when it fires, and since when it holds no more."""

    alert: Alert
    begun_at: float
    fired_at: float | None = None
    fading_at: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Memory:
    """When was last judged, what was watched then, and how counters went."""

    judged_at: float | None = None
    watched: Mapping[str, Watched] = field(default_factory=dict)
    history: History = field(default_factory=History)

    def moved(self, by: float) -> Memory:
        """The same, with every moment so many seconds later."""

        def then(at: float | None) -> float | None:
            return None if at is None else at + by

        return Memory(
            judged_at=then(self.judged_at),
            watched={
                key: replace(
                    seen,
                    begun_at=seen.begun_at + by,
                    fired_at=then(seen.fired_at),
                    fading_at=then(seen.fading_at),
                )
                for key, seen in self.watched.items()
            },
            history=self.history.moved(by),
        )

    def to_json(self) -> dict[str, Any]:
        """The same as plain JSON values."""
        return {
            "version": VERSION,
            "judged_at": self.judged_at,
            "watched": [asdict(seen) for seen in self.watched.values()],
            "history": self.history.to_json(),
        }

    @classmethod
    def from_json(cls, told: Mapping[str, Any] | None) -> Memory:
        """What `to_json` told; nothing is remembered if this is something else."""
        if not told or told.get("version") != VERSION:
            return cls()
        try:
            watched = [_watched(seen) for seen in told["watched"]]
            return cls(
                judged_at=float(told["judged_at"]),
                watched={seen.alert.key: seen for seen in watched},
                history=History.from_json(told["history"]),
            )
        except (KeyError, TypeError, ValueError):
            return cls()


def _watched(told: Mapping[str, Any]) -> Watched:
    alert = {**told["alert"], "severity": Severity(told["alert"]["severity"])}
    return Watched(**{**told, "alert": Alert(**alert)})
