"""A board, its panels and their queries, as values; `monitoring.dashboards.grafana` draws them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum


class Kind(StrEnum):
    """How a panel is drawn, by Grafana's name."""

    LINES = "timeseries"
    NUMBER = "stat"
    TABLE = "table"
    HEATMAP = "heatmap"
    TIMELINE = "state-timeline"


class Unit(StrEnum):
    """What a value is, by Grafana's name."""

    COUNT = "short"
    PER_SECOND = "ops"
    PER_MINUTE = "opm"
    SECONDS = "s"
    MOMENT = "dateTimeFromNow"
    RATIO = "percentunit"
    PERCENT = "percent"
    BYTES = "bytes"
    CELSIUS = "celsius"
    WATTS = "watt"
    JOULES = "joule"
    DOLLARS_PER_HOUR = "currencyUSD"
    YES_OR_NO = "bool_yes_no"


class Variable(StrEnum):
    """What a board can be narrowed to; the values are label values of a metric."""

    MODEL = "model"
    WORKER = "worker"


@dataclass(frozen=True, slots=True, kw_only=True)
class Query:
    """One PromQL expression; `legend` names its series by their labels."""

    expr: str
    legend: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Panel:
    """One picture. `width` is in twenty-fourths of a row.

    `steps` are a colour by the value it begins at; what is below the first is green. `top` ends the
    scale. A panel that is asked `at_once` has no line behind its number: what it asks is too much
    to be asked for every moment of the time shown.
    """

    title: str
    description: str
    unit: Unit
    queries: tuple[Query, ...]
    kind: Kind = Kind.LINES
    width: int = 8
    height: int = 8
    steps: Mapping[float, str] = field(default_factory=dict)
    stacked: bool = False
    top: float | None = None
    at_once: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Board:
    """A page of panels; `uid` stands in its address and never changes."""

    uid: str
    title: str
    description: str
    panels: tuple[Panel, ...]
    variables: tuple[Variable, ...] = ()
