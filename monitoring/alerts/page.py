"""The page about alerts, `docs/alerts.md`, made from the table of rules."""

from __future__ import annotations

from collections.abc import Mapping

from monitoring.alerts.alert import Severity
from monitoring.alerts.exporter_watch import NAME
from monitoring.alerts.inhibitions import INHIBITIONS, Inhibition
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

ABSENT: Mapping[str, str] = {
    "`ReviewOverdue` by tier, each with a time of its own": (
        "answers in doubt have no tiers yet (they come with the review console); one limit, that "
        "of routine work (24 h), holds for all of them"
    ),
    "rules about requests to the gateway": "they come with the gateway",
    "rules about how long jobs take (95 % within 80 s)": (
        "the boards show it; what makes jobs late has rules of its own (QueueBacklog, "
        "NoWorkerForModel, EngineStuck, JobTimeout)"
    ),
    "`redis_aof_enabled`, `redis_memory_used_bytes` and others of a Redis exporter": (
        "ours shows the same as `swarmos_broker_…`, so RedisNoAof and RedisMemoryHigh need no "
        "second exporter"
    ),
    "DeadLetters while any dead job is kept": (
        "dead jobs stay in the ledger for ever; the rule fires when one has died within the hour"
    ),
    "TargetDown for each target": "of several exporters all but one stand by and answer 503",
}
"""What a plan of rules had that is not there, or not so, and why."""


def page() -> str:
    """Return the page's text."""
    severities = "\n".join(f"| `{name}` | {meaning} |" for name, meaning in _MEANINGS.items())
    often, seldom = duration(EVALUATION_S), duration(BUDGET_EVALUATION_S)
    unseen = "\n".join(f"| {_link(rule)} | {rule.unseen} |" for rule in RULES if rule.unseen)
    quiet = "\n".join(map(_quieting, INHIBITIONS))
    absent = "\n".join(f"| {what} | {why} |" for what, why in ABSENT.items())
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

`builtin` also cannot tell that it has stopped itself: beat and the maintenance worker drive it.
Have somebody outside look at `honeyflow metrics`, or run Prometheus and receive `Watchdog`
elsewhere.

## What is told without a rule

With `prometheus` everything reaches people through `honeyflow metrics`, to which Alertmanager
posts. The maintenance worker watches that one: [{NAME}]({_runbook(NAME)}) (page)
fires when no exporter has counted for `timing.stale_s` (60 s), also where none was ever started,
and ends when one does. With `builtin` no exporter is needed, and nothing is said of it. How many
alerts of a group Alertmanager left out is `AlertsLeftOut`.

## What keeps what quiet

What still fires when the reason is gone is told then.

| while this fires | this is not told |
| --- | --- |
{quiet}

## The rules

"For" is how long it must hold before it fires, "ends after" how long it must have ended before it
clears. Rules over counters clear when their window has passed.

{groups}

## Not there, and why

| what was planned | why |
| --- | --- |
{absent}

Rules of your own go into a file of their own beside this one; write this one with your own links
with `python -m monitoring.alerts --output rules.yml --dashboards URL --runbooks URL`.
"""


def _runbook(name: str) -> str:
    return f"runbooks.md#{name.lower()}"


def _link(rule: Rule) -> str:
    return f"[{rule.name}]({_runbook(rule.name)})"


def _quieting(rule: Inhibition) -> str:
    where = "".join(f" of the {name} `{value}`" for name, value in rule.where.items())
    same = "".join(f" of the same {name}" for name in rule.equal)
    return f"| {rule.source}{where} | {rule.target or 'any other'}{same} |"


def _row(rule: Rule) -> str:
    asked = rule.expression.promql().replace("|", "\\|")
    waits = duration(rule.for_s) if rule.for_s else ""
    ends = duration(rule.keep_firing_s) if rule.keep_firing_s else ""
    return f"| {_link(rule)} | {rule.severity} | {waits} | {ends} | `{asked}` |"
