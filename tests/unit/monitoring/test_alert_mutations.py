"""A rule with any limit, comparison or time changed fails its scenarios.

All of these are tried at every run; those of one rule are judged side by side over its scenarios.
With HONEYFLOW_THOROUGH=1 windows, picked values, `and` and `unless` are changed as well.
"""

from __future__ import annotations

from pathlib import Path

from monitoring.alerts.rules import RULES
from tests.chaos.scale import THOROUGH
from tests.unit.monitoring.alert_cases import Variant, case, recordings_of
from tests.unit.monitoring.alert_mutants import mutants
from tests.unit.monitoring.alert_scenarios import SCENARIOS
from tests.unit.monitoring.promtool import failed_rules, failures

EQUAL = {
    "Watchdog: keep_firing_s 0 -> 10",  # it never ends
}
"""Mistakes that change nothing."""


def test_every_mistake_in_a_rule_is_noticed(tmp_path: Path) -> None:
    tried: list[Variant] = []
    cases = []
    for rule in RULES:
        scenarios = [scenario for scenario in SCENARIOS if scenario.rule == rule.name]
        wrong = mutants(rule, recordings_of(rule), scenarios[0].step_s, all_kinds=THOROUGH)
        tried += wrong
        cases += [case(scenario, wrong) for scenario in scenarios]
    noticed = set().union(*map(failed_rules, failures(cases, tmp_path).values()))
    missed = {f"{one.rule.name}: {one.mistake}" for one in tried if one.name not in noticed}
    assert missed == EQUAL
    assert len(tried) > (250 if THOROUGH else 150)
