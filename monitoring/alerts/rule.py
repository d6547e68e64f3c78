"""A rule: what is asked, how long it must hold, and what people are told."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from urllib.parse import quote_plus

from monitoring.alerts.alert import Severity
from monitoring.alerts.expressions import Expression, parts
from monitoring.alerts.series import Rise
from monitoring.alerts.units import Unit

_PLACE = re.compile(r"\{(\w+)\}")


class Board(StrEnum):
    """The dashboards, by the uid in their address."""

    OVERVIEW = "honeyflow-overview"
    JOBS = "honeyflow-jobs"
    WORKERS = "honeyflow-workers"
    GPU = "honeyflow-gpu"
    QUEUE = "honeyflow-queue"
    RECEIPTS = "honeyflow-receipts"


BOARD_VARIABLES = ("model", "worker")
"""The labels that a board can be opened with."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Links:
    """Where the pages are that an alert points to."""

    dashboards: str = "http://127.0.0.1:3000"
    runbooks: str = "docs/runbooks.md"


LINKS = Links()


@dataclass(frozen=True, slots=True, kw_only=True)
class Recording:
    """Something that Prometheus works out once and keeps under a name of its own."""

    name: str
    expression: Expression


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """One alert that can be. Spans are in seconds.

    The limits are in the expression. In the texts `{value}` stands for the value with its unit,
    and any other name in braces for the label of that name.
    """

    name: str
    expression: Expression
    severity: Severity
    summary: str
    description: str
    unit: Unit = Unit.COUNT
    board: Board = Board.OVERVIEW
    for_s: float = 0
    """How long it must hold before anybody is told."""
    keep_firing_s: float = 0
    """How long it must have ended before anybody is told that."""
    unseen: str = ""
    """Why it cannot be judged without Prometheus; empty if it can."""

    def __post_init__(self) -> None:
        for text in (self.summary, self.description):
            for place in _PLACE.findall(text):
                if place not in {"value", *self.labels}:
                    raise ValueError(f"{self.name} has no {place!r} to tell in {text!r}")

    @property
    def builtin(self) -> bool:
        """Whether it is judged where there is no Prometheus."""
        return not self.unseen

    @property
    def labels(self) -> tuple[str, ...]:
        """The labels that tell one of its alerts from another."""
        return self.expression.labels

    @property
    def rises(self) -> tuple[Rise, ...]:
        """What it must know the past of."""
        return tuple(part for part in parts(self.expression) if isinstance(part, Rise))

    @property
    def anchor(self) -> str:
        """Its section on the page of runbooks."""
        return self.name.lower()

    def runbook(self, links: Links = LINKS) -> str:
        """Where it is told what to do."""
        return f"{links.runbooks}#{self.anchor}"

    def dashboard(self, labels: Mapping[str, str], links: Links = LINKS) -> str:
        """The address of its board for an alert with these labels."""
        return self._board(links, {name: quote_plus(labels.get(name, "")) for name in self.labels})

    def filled(self, text: str, labels: Mapping[str, str], value: float) -> str:
        """One of its texts for an alert with these labels and this value."""
        told = {**labels, "value": self.unit.told(value)}
        return _PLACE.sub(lambda place: told.get(place[1], ""), text)

    def annotations(self, links: Links = LINKS) -> dict[str, str]:
        """The texts and links as Prometheus fills them in."""
        told = {name: f"{{{{ $labels.{name} }}}}" for name in self.labels}
        told["value"] = self.unit.template
        quoted = {name: f"{{{{ $labels.{name} | urlquery }}}}" for name in self.labels}
        return {
            "summary": _PLACE.sub(lambda place: told[place[1]], self.summary),
            "description": _PLACE.sub(lambda place: told[place[1]], self.description),
            "runbook": self.runbook(links),
            "dashboard": self._board(links, quoted),
        }

    def _board(self, links: Links, told: Mapping[str, str]) -> str:
        asked = "&".join(f"var-{name}={told[name]}" for name in BOARD_VARIABLES if name in told)
        return f"{links.dashboards}/d/{self.board}{'?' if asked else ''}{asked}"
