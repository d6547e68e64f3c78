"""A short history of counters, as rules need it that ask how far something has risen.

Only what changed is kept, so that a quiet cluster's history is short. A rise is extrapolated to its
whole window as Prometheus 2 does (Prometheus documentation, "Query functions", `increase`).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any, TypeAlias

from monitoring import metrics
from monitoring.alerts.series import Labels, Rise, Vector

Key: TypeAlias = tuple[str, tuple[str, ...]]
"""A metric's name, and the values of its labels in the order of the table of metrics."""

_NEAR = 1.1
"""A window's end is near the last sample if it is no farther than this many usual distances."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Snapshot:
    """What all series are at one moment; a series that is not in it is not there."""

    at: float
    values: Mapping[Key, float]


@dataclass(slots=True, kw_only=True)
class History:
    """When was looked, and from when on each counter had which value (None: it was gone)."""

    times: list[float] = field(default_factory=list)
    runs: dict[Key, list[tuple[float, float | None]]] = field(default_factory=dict)

    def note(self, snapshot: Snapshot, rises: Sequence[Rise]) -> None:
        """Add what one moment shows of the series that these ask for, and forget what is old.

        A moment that is not later than the last one is left out.
        """
        if self.times and snapshot.at <= self.times[-1]:
            return
        windows = _windows({*snapshot.values, *self.runs}, rises)
        self.times.append(snapshot.at)
        for key in windows:
            value, run = snapshot.values.get(key), self.runs.setdefault(key, [])
            if (run[-1][1] if run else None) != value:
                run.append((snapshot.at, value))
        longest = max((rise.window_s for rise in rises), default=0.0)
        self.times = [at for at in self.times if at >= snapshot.at - longest]
        self.runs = {
            key: kept
            for key, window in windows.items()
            if (kept := _recent(self.runs[key], snapshot.at - window))
        }

    def rises(self, rise: Rise, now: float) -> Vector:
        """How far counters have risen within a window that ends now, extrapolated to all of it."""
        found: Vector = {}
        for key, run in self.runs.items():
            if key[0] != rise.of.metric:
                continue
            labels = labels_of(key)
            if labels is None or not rise.of.matches(dict(labels)):
                continue
            samples = self._samples(run, now - rise.window_s, now)
            if len(samples) > 1:
                found[labels] = _risen(samples, rise, now)
        return found

    def _samples(
        self, run: Sequence[tuple[float, float | None]], since: float, until: float
    ) -> list[tuple[float, float]]:
        samples, place = [], -1
        for at in self.times:
            while place + 1 < len(run) and run[place + 1][0] <= at:
                place += 1
            value = run[place][1] if place >= 0 else None
            if since <= at <= until and value is not None:
                samples.append((at, value))
        return samples

    def moved(self, by: float) -> History:
        """The same, with every moment so many seconds later."""
        return History(
            times=[at + by for at in self.times],
            runs={key: [(at + by, value) for at, value in run] for key, run in self.runs.items()},
        )

    def to_json(self) -> dict[str, Any]:
        """The same as plain JSON values."""
        return {
            "times": self.times,
            "runs": [[name, list(values), run] for (name, values), run in self.runs.items()],
        }

    @classmethod
    def from_json(cls, told: Mapping[str, Any]) -> History:
        """The history that `to_json` told.

        Raises:
            KeyError, TypeError, ValueError: it is none.
        """
        return cls(
            times=[float(at) for at in told["times"]],
            runs={
                (str(name), tuple(map(str, values))): [
                    (float(at), None if value is None else float(value)) for at, value in run
                ]
                for name, values, run in told["runs"]
            },
        )


def labels_of(key: Key) -> Labels | None:
    """The labels of a series, by name, without empty ones; None if there can be no such series."""
    known = metrics.BY_NAME.get(key[0])
    if known is None or len(known.labels) != len(key[1]):
        return None
    named = zip(known.labels, key[1], strict=True)
    return tuple(sorted((name, value) for name, value in named if value))


def _windows(keys: Iterable[Key], rises: Sequence[Rise]) -> dict[Key, float]:
    """How long each series must be kept that any of these asks for."""
    asked: dict[str, list[Rise]] = {}
    for rise in rises:
        asked.setdefault(rise.of.metric, []).append(rise)
    windows: dict[Key, float] = {}
    for key in sorted(key for key in keys if key[0] in asked):
        labels = dict(labels_of(key) or ())
        wanted = [rise.window_s for rise in asked[key[0]] if rise.of.matches(labels)]
        if wanted:
            windows[key] = max(wanted)
    return windows


def _recent(
    run: Sequence[tuple[float, float | None]], since: float
) -> list[tuple[float, float | None]]:
    """What happened since then, and the value before; nothing if it has been gone since then."""
    first = max((place for place, (at, _) in enumerate(run) if at <= since), default=0)
    kept = list(run[first:])
    return [] if len(kept) == 1 and kept[0][1] is None else kept


def _risen(samples: Sequence[tuple[float, float]], rise: Rise, now: float) -> float:
    """How far a counter has risen; a value below the one before means that it began anew."""
    (first_at, first), (last_at, _) = samples[0], samples[-1]
    risen = sum(b - a if b >= a else b for (_, a), (_, b) in pairwise(samples))
    covered = last_at - first_at
    usual = covered / (len(samples) - 1)
    before, after = first_at - (now - rise.window_s), now - last_at
    if risen > 0 and first >= 0:
        # It began at zero: no further back than where it would have been zero.
        before = min(before, covered * first / risen)
    ends = sum(gap if gap < usual * _NEAR else usual / 2 for gap in (before, after))
    factor = (covered + ends) / covered
    return risen * (factor / rise.window_s if rise.per_second else factor)
