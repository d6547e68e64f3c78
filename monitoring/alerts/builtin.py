"""Judges rules where there is no Prometheus: over snapshots of the same values, one at a time.

What must be remembered between two looks (what has held since when, how counters went) is one plain
JSON value that the caller keeps. A rule holds, waits, fires and ends as it does in Prometheus; a
restart of the judge changes nothing, unless it was away for as long as Prometheus looks back.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from monitoring.alerts.alert import Alert
from monitoring.alerts.history import History, Snapshot, labels_of
from monitoring.alerts.memory import Memory, Watched
from monitoring.alerts.rule import LINKS, Links, Rule
from monitoring.alerts.series import Rise, Series, Vector

LOOKBACK_S = 300.0
"""A value that was seen longer ago says nothing about now."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Sight:
    """What rules are judged over: one snapshot, and the counters' way there."""

    at: float
    by_metric: Mapping[str, Vector]
    history: History = field(default_factory=History)

    def current(self, series: Series) -> Vector:
        """The values that series have now."""
        found = self.by_metric.get(series.metric, {})
        return {labels: value for labels, value in found.items() if series.matches(dict(labels))}

    def rises(self, rise: Rise) -> Vector:
        """How far counters have risen within a window that ends now."""
        return self.history.rises(rise, self.at)


def evaluate(
    rules: Iterable[Rule],
    snapshot: Snapshot,
    state: Mapping[str, Any] | None,
    now: float,
    *,
    links: Links = LINKS,
) -> tuple[tuple[Alert, ...], dict[str, Any]]:
    """Judge the rules that can be judged here, and return what there is to tell.

    Args:
        rules: those that must be judged elsewhere are passed over.
        snapshot: what all series are, as of `snapshot.at`.
        state: what the last call returned; None, or what cannot be read, for the first.
        now: the moment, in seconds since 1970.
        links: where runbooks and dashboards are.

    Returns:
        all alerts that fire, again at each call, and once each that has just ended, `firing` false;
        and the state for the next call, plain JSON.
    """
    judged = [rule for rule in rules if rule.builtin]
    memory = Memory.from_json(state)
    if memory.judged_at is not None and memory.judged_at > now:
        # A clock was set back: what was remembered was as long ago as it was.
        memory = memory.moved(now - memory.judged_at)
    memory.history.note(snapshot, [rise for rule in judged for rise in rule.rises])
    sight = _sight(snapshot, memory.history, now)
    away = memory.judged_at is not None and now - memory.judged_at > LOOKBACK_S
    before = {
        key: seen for key, seen in memory.watched.items() if not (away and seen.fired_at is None)
    }
    after: dict[str, Watched] = {}
    for rule in judged:
        after |= _judge(rule, sight, before, links)
    ended = tuple(
        replace(seen.alert, firing=False, since=seen.fired_at, ended=max(now, seen.fired_at))
        for key, seen in before.items()
        if key not in after and seen.fired_at is not None
    )
    firing = tuple(
        replace(seen.alert, since=seen.fired_at)
        for seen in after.values()
        if seen.fired_at is not None
    )
    return firing + ended, Memory(judged_at=now, watched=after, history=memory.history).to_json()


def _sight(snapshot: Snapshot, history: History, now: float) -> Sight:
    by_metric: dict[str, Vector] = {}
    if now - snapshot.at <= LOOKBACK_S:
        for key, value in snapshot.values.items():
            labels = labels_of(key)
            if labels is not None:
                by_metric.setdefault(key[0], {})[labels] = value
    return Sight(at=now, by_metric=by_metric, history=history)


def _judge(
    rule: Rule, sight: Sight, before: Mapping[str, Watched], links: Links
) -> dict[str, Watched]:
    """All that holds of one rule, or held until a moment ago."""
    found: dict[str, Watched] = {}
    for labels, value in rule.expression.over(sight).items():
        alert = _alert(rule, dict(labels), value, sight.at, links)
        known = before.get(alert.key)
        begun = known.begun_at if known else sight.at
        fired = known.fired_at if known else None
        if fired is None and sight.at - begun >= rule.for_s:
            fired = sight.at
        found[alert.key] = Watched(alert=alert, begun_at=begun, fired_at=fired)
    for key, known in before.items():
        if key in found or known.alert.rule != rule.name or known.fired_at is None:
            continue
        fading = sight.at if known.fading_at is None else known.fading_at
        if rule.keep_firing_s and sight.at - fading < rule.keep_firing_s:
            found[key] = replace(known, fading_at=fading)
    return found


def _alert(rule: Rule, labels: Mapping[str, str], value: float, now: float, links: Links) -> Alert:
    return Alert(
        rule=rule.name,
        labels=labels,
        severity=rule.severity,
        firing=True,
        since=now,
        value=value,
        summary=rule.filled(rule.summary, labels, value),
        description=rule.filled(rule.description, labels, value),
        runbook=rule.runbook(links),
        dashboard=rule.dashboard(labels, links),
    )
