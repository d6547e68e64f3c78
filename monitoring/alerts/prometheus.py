"""The rules as a file for Prometheus."""

from __future__ import annotations

import json
from collections.abc import Iterable

from monitoring.alerts.rule import LINKS, Links, Recording, Rule
from monitoring.alerts.rules import GROUPS, Group
from monitoring.alerts.series import duration

_HEAD = "# Written by `python -m monitoring.alerts` from monitoring/alerts/rules.py.\n"


def rules_yaml(groups: Iterable[Group] = GROUPS, links: Links = LINKS) -> str:
    """Return the file's text."""
    return _HEAD + "groups:\n" + "".join(_group(group, links) for group in groups)


def _group(group: Group, links: Links) -> str:
    text = f"- name: {group.name}\n  interval: {duration(group.interval_s)}\n  rules:\n"
    text += "".join(_recording(recording) for recording in group.recordings)
    return text + "".join(_rule(rule, links) for rule in group.rules)


def _recording(recording: Recording) -> str:
    return f"  - record: {recording.name}\n    expr: |-\n      {recording.expression.promql()}\n"


def _rule(rule: Rule, links: Links) -> str:
    text = f"  - alert: {rule.name}\n    expr: |-\n      {rule.expression.promql()}\n"
    if rule.for_s:
        text += f"    for: {duration(rule.for_s)}\n"
    if rule.keep_firing_s:
        text += f"    keep_firing_for: {duration(rule.keep_firing_s)}\n"
    text += f"    labels:\n      severity: {rule.severity}\n    annotations:\n"
    for name, told in rule.annotations(links).items():
        # A JSON string is a YAML string.
        text += f"      {name}: {json.dumps(told, ensure_ascii=False)}\n"
    return text
