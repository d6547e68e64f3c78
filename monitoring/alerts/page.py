"""The page about alerts, `docs/alerts.md`, made from the table of rules."""

from __future__ import annotations

from monitoring.alerts.alert import Severity
from monitoring.alerts.rule import Rule
from monitoring.alerts.rules import (
    BUDGET_EVALUATION_S,
    EVALUATION_S,
    GROUP_INTERVAL_S,
    GROUP_WAIT_S,
    GROUPS,
    REPEAT_INTERVAL_S,
    RULES,
)
from monitoring.alerts.series import duration

_MEANINGS = {
    Severity.PAGE: "somebody gets up: users notice, or will within the hour",
    Severity.TICKET: "somebody looks within days",
    Severity.WARNING: "a cause that may lead to more; whoever is awake looks",
    Severity.INFO: "an event that asks for nothing",
    Severity.NONE: "for machines alone",
}


def page() -> str:
    """Return the page's text."""
    severities = "\n".join(f"| `{name}` | {meaning} |" for name, meaning in _MEANINGS.items())
    often, seldom = duration(EVALUATION_S), duration(BUDGET_EVALUATION_S)
    unseen = "\n".join(f"| {_link(rule)} | {rule.unseen} |" for rule in RULES if rule.unseen)
    groups = "\n\n".join(
        f"**{group.name}**\n\n| alert | severity | for | ends after | fires while |\n"
        "| --- | --- | --- | --- | --- |\n" + "\n".join(map(_row, group.rules))
        for group in GROUPS
    )
    return f"""<!-- Written by `python -m monitoring.alerts`; change monitoring/alerts/ instead. -->
# Alerts

{len(RULES)} rules, in one table in code (`monitoring/alerts/rules.py`). Prometheus reads them as
`monitoring/alerts/rules.yml`; where there is no Prometheus, beat judges those it can see. What to
do about each is in [runbooks.md](runbooks.md). That a worker started or stopped is an event, not
a rule: it is told whoever judges the rules.

| severity | what it asks of people |
| --- | --- |
{severities}

## Who judges

`alerts.source` is `prometheus` or `builtin`, and exactly one of them is active. Both mean the same:
tests run every rule that both can judge over the same series in both, and they fire and end at the
same evaluation with the same words.

| timing | |
| --- | --- |
| rules are judged | every {often}; those of the error budget every {seldom} |
| Alertmanager waits for more of a group (`group_wait`) | {duration(GROUP_WAIT_S)} |
| between two messages of a group (`group_interval`) | {duration(GROUP_INTERVAL_S)} |
| it is said again while it lasts (`repeat_interval`) | {duration(REPEAT_INTERVAL_S)} |

What `builtin` cannot see:

| alert | why |
| --- | --- |
{unseen}

It also cannot tell that it has stopped itself: beat and the maintenance worker drive it. Have
somebody outside look at `honeyflow metrics`, or run Prometheus and receive `Watchdog` elsewhere.

## The rules

"For" is how long it must hold before it fires, "ends after" how long it must have ended before it
clears. Rules over counters clear when their window has passed.

{groups}

Rules of your own go into a file of their own beside this one; write this one with your own links
with `python -m monitoring.alerts --output rules.yml --dashboards URL --runbooks URL`.
"""


def _link(rule: Rule) -> str:
    return f"[{rule.name}](runbooks.md#{rule.anchor})"


def _row(rule: Rule) -> str:
    asked = rule.expression.promql().replace("|", "\\|")
    waits = duration(rule.for_s) if rule.for_s else ""
    ends = duration(rule.keep_firing_s) if rule.keep_firing_s else ""
    return f"| {_link(rule)} | {rule.severity} | {waits} | {ends} | `{asked}` |"
