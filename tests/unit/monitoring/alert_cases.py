"""Scenarios as tests for promtool."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from monitoring.alerts.prometheus import rules_yaml
from monitoring.alerts.rule import Recording, Rule
from monitoring.alerts.rules import GROUPS, Group
from tests.unit.monitoring.alert_scenario import Scenario
from tests.unit.monitoring.promtool import Case, Expected


@dataclass(frozen=True, slots=True, kw_only=True)
class Variant:
    """A rule under a name of its own, and what is recorded for it under a name of its own."""

    name: str
    rule: Rule
    recordings: tuple[Recording, ...] = ()
    mistake: str = ""


def recordings_of(rule: Rule) -> tuple[Recording, ...]:
    """What is recorded for a rule."""
    asked = rule.expression.promql()
    return tuple(one for group in GROUPS for one in group.recordings if one.name in asked)


def case(scenario: Scenario, variants: Iterable[Variant] = ()) -> Case:
    """Who fires when, with the rule of the scenario or with others; texts are left out."""
    tried = list(variants) or [Variant(name=scenario.rule, rule=scenario.asked)]
    rules: list[dict[str, Any]] = [
        {"record": one.name, "expr": one.expression.promql()}
        for one in recordings_of(scenario.asked)
    ]
    for variant in tried:
        asked = variant.rule.expression.promql()
        for one in variant.recordings:
            own = f"{one.name}_{variant.name}"
            asked = asked.replace(one.name, own)
            rules.append({"record": own, "expr": one.expression.promql()})
        rules.append(
            {
                "alert": variant.name,
                "expr": asked,
                "for": f"{variant.rule.for_s}s",
                "keep_firing_for": f"{variant.rule.keep_firing_s}s",
            }
        )
    return Case(
        name=scenario.name,
        rules=json.dumps({"groups": [{"name": "one", "rules": rules}]}),
        series=scenario.series,
        step_s=scenario.step_s,
        expected=[
            Expected(at=at, rule=variant.name, alerts=[(one, {}) for one in scenario.firing(at)])
            for variant in tried
            for at in scenario.moments
        ],
    )


def shipped_case(
    scenario: Scenario, fires: Mapping[int, Sequence[tuple[Mapping[str, str], float]]]
) -> Case:
    """What is told when, word for word, by the rule as it is shipped; `fires` has the values."""
    rule = scenario.asked
    group = Group(
        name="one",
        interval_s=scenario.step_s,
        rules=(rule,),
        recordings=recordings_of(rule),
    )
    return Case(
        name=scenario.name,
        rules=rules_yaml([group]),
        series=scenario.series,
        step_s=scenario.step_s,
        expected=[
            Expected(
                at=at,
                rule=rule.name,
                alerts=[
                    ({**labels, "severity": rule.severity}, told(rule, labels, value))
                    for labels, value in alerts
                ],
            )
            for at, alerts in fires.items()
        ],
    )


def told(rule: Rule, labels: Mapping[str, str], value: float) -> dict[str, str]:
    """All texts of an alert."""
    return {
        "summary": rule.filled(rule.summary, labels, value),
        "description": rule.filled(rule.description, labels, value),
        "runbook": rule.runbook(),
        "dashboard": rule.dashboard(labels),
    }
