"""Alerts as plain JSON, as they are kept in the ledger, and back."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from ledger.values import cleaned
from monitoring.alerts.alert import Alert, Severity


def to_json(alert: Alert) -> dict[str, Any]:
    """Return plain JSON that any store takes, and from which the alert can be made again."""
    return {
        "rule": cleaned(alert.rule),
        "labels": {cleaned(name): cleaned(value) for name, value in alert.labels.items()},
        "severity": str(alert.severity),
        "firing": alert.firing,
        "since": alert.since,
        "ended": alert.ended,
        "value": alert.value if math.isfinite(alert.value) else None,
        "summary": cleaned(alert.summary),
        "description": cleaned(alert.description),
        "runbook": cleaned(alert.runbook),
        "dashboard": cleaned(alert.dashboard),
    }


def from_json(stored: Mapping[str, Any]) -> Alert:
    """Return the alert; what an older version did not write is left empty."""
    ended, value = stored.get("ended"), stored.get("value")
    return Alert(
        rule=str(stored["rule"]),
        labels={str(name): str(text) for name, text in stored.get("labels", {}).items()},
        severity=Severity(stored["severity"]),
        firing=bool(stored["firing"]),
        since=float(stored["since"]),
        ended=None if ended is None else float(ended),
        value=math.nan if value is None else float(value),
        summary=str(stored.get("summary", "")),
        description=str(stored.get("description", "")),
        runbook=str(stored.get("runbook", "")),
        dashboard=str(stored.get("dashboard", "")),
    )
