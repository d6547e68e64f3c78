"""Every rule, in one table: `rules.yml`, the runbooks' headings and the builtin judge follow it."""

from __future__ import annotations

from dataclasses import dataclass

from monitoring.alerts import budget_rules, job_rules, service_rules, worker_rules
from monitoring.alerts.rule import Recording, Rule

EVALUATION_S, BUDGET_EVALUATION_S = 10, 30
"""How often rules are judged, and those that look back for hours."""
GROUP_WAIT_S, GROUP_INTERVAL_S, REPEAT_INTERVAL_S = 5, 30, 4 * 3600
"""How long Alertmanager waits for more of a group, between two messages, and to say it again."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Group:
    """Rules that are judged together, one after the other."""

    name: str
    interval_s: int
    rules: tuple[Rule, ...]
    recordings: tuple[Recording, ...] = ()


GROUPS = (
    Group(
        name="budget",
        interval_s=BUDGET_EVALUATION_S,
        rules=budget_rules.RULES,
        recordings=budget_rules.RECORDINGS,
    ),
    Group(name="jobs", interval_s=EVALUATION_S, rules=job_rules.RULES),
    Group(name="workers", interval_s=EVALUATION_S, rules=worker_rules.RULES),
    Group(name="services", interval_s=EVALUATION_S, rules=service_rules.RULES),
)
RULES: tuple[Rule, ...] = tuple(rule for group in GROUPS for rule in group.rules)
BUILTIN: tuple[Rule, ...] = tuple(rule for rule in RULES if rule.builtin)
BY_NAME = {rule.name: rule for rule in RULES}
