"""One alert: a rule that holds for one set of labels, or has stopped to."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum


class Severity(StrEnum):
    """How much an alert asks of people."""

    PAGE = "page"
    """Somebody gets up."""
    TICKET = "ticket"
    """Somebody looks within days."""
    WARNING = "warning"
    """Worth knowing now; whoever is awake looks."""
    INFO = "info"
    """An event that asks for nothing."""
    NONE = "none"
    """For machines alone: the sign that alerts are judged at all."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Alert:
    """What people are told. Times are seconds since 1970.

    `labels` tell what it is about (a model, a worker, a GPU) without the name of the rule and
    without the severity. `since` is when it began to fire and stays that when it has ended.
    """

    rule: str
    labels: Mapping[str, str] = field(default_factory=dict)
    severity: Severity
    firing: bool
    since: float
    ended: float | None = None
    """When it stopped firing; None while it does."""
    value: float
    summary: str
    description: str
    runbook: str = ""
    """Where it is told what to do."""
    dashboard: str = ""
    """The board that shows it, with its variables filled in."""

    @property
    def key(self) -> str:
        """What tells it from any other alert: its rule and its labels, in a fixed order."""
        return key(self.rule, self.labels)


def key(rule: str, labels: Mapping[str, str]) -> str:
    """Return a rule's name with a set of labels, as Prometheus writes it."""
    told = ",".join(f"{name}={_quoted(labels[name])}" for name in sorted(labels))
    return f"{rule}{{{told}}}"


def _quoted(text: str) -> str:
    escaped = text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
    return f'"{escaped}"'
