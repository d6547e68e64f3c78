"""A board as Grafana reads it: JSON in the form of its dashboards, schema 39.

The data source is a variable of the board, so that it fits whatever Prometheus is called where it
is imported. Source: Grafana's documentation, "Dashboard JSON model".
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from typing import Any

from monitoring.dashboards.board import Board, Kind, Panel, Query, Variable
from monitoring.metrics import metric

SCHEMA = 39
COLUMNS = 24
REFRESH = "10s"
DATA_SOURCE = {"type": "prometheus", "uid": "${datasource}"}
_VALUES_OF = {Variable.MODEL: "jobs_current", Variable.WORKER: "worker_info"}
_REF_IDS = "ABCDEFGH"


def as_json(board: Board) -> str:
    """The board's file."""
    return json.dumps(_dashboard(board), indent=2, ensure_ascii=False) + "\n"


def _dashboard(board: Board) -> dict[str, Any]:
    return {
        "uid": board.uid,
        "title": board.title,
        "description": board.description,
        "tags": ["honeyflow"],
        "schemaVersion": SCHEMA,
        "version": 1,
        "editable": False,
        "graphTooltip": 1,
        "refresh": REFRESH,
        "time": {"from": "now-6h", "to": "now"},
        "timezone": "browser",
        "links": [
            {
                "type": "dashboards",
                "tags": ["honeyflow"],
                "title": "honeyflow",
                "asDropdown": True,
                "includeVars": True,
                "keepTime": True,
            }
        ],
        "templating": {"list": [_source(), *map(_variable, board.variables)]},
        "annotations": {"list": []},
        "panels": list(_panels(board.panels)),
    }


def _source() -> dict[str, Any]:
    return {
        "type": "datasource",
        "name": "datasource",
        "label": "Prometheus",
        "query": "prometheus",
        "hide": 0,
    }


def _variable(variable: Variable) -> dict[str, Any]:
    query = f"label_values({metric(_VALUES_OF[variable]).name}, {variable})"
    return {
        "type": "query",
        "name": str(variable),
        "label": variable.capitalize(),
        "datasource": DATA_SOURCE,
        "query": {"query": query, "refId": variable},
        "definition": query,
        "includeAll": True,
        "allValue": ".*",
        "multi": True,
        "refresh": 2,
        "sort": 1,
        "current": {"text": "All", "value": "$__all"},
    }


def _panels(panels: Sequence[Panel]) -> Iterator[dict[str, Any]]:
    """Panels side by side, in a new row where one does not fit any more."""
    x = y = row = 0
    for number, panel in enumerate(panels, start=1):
        if x + panel.width > COLUMNS:
            x, y, row = 0, y + row, 0
        yield _panel(panel, number, {"x": x, "y": y, "w": panel.width, "h": panel.height})
        x += panel.width
        row = max(row, panel.height)


def _panel(panel: Panel, number: int, place: dict[str, int]) -> dict[str, Any]:
    defaults: dict[str, Any] = {
        "unit": str(panel.unit),
        "min": 0,
        "thresholds": {"mode": "absolute", "steps": _steps(panel)},
    }
    if panel.top is not None:
        defaults["max"] = panel.top
    if panel.kind is Kind.LINES:
        defaults["custom"] = {
            "fillOpacity": 10,
            "showPoints": "never",
            "stacking": {"mode": "normal" if panel.stacked else "none"},
            "thresholdsStyle": {"mode": "line" if panel.steps else "off"},
        }
    return {
        "id": number,
        "type": str(panel.kind),
        "title": panel.title,
        "description": panel.description,
        "datasource": DATA_SOURCE,
        "gridPos": place,
        "fieldConfig": {"defaults": defaults, "overrides": []},
        "options": _options(panel),
        "targets": [
            _target(panel, query, ref) for query, ref in zip(panel.queries, _REF_IDS, strict=False)
        ],
    }


def _steps(panel: Panel) -> list[dict[str, Any]]:
    steps = [{"color": colour, "value": at} for at, colour in sorted(panel.steps.items())]
    return [{"color": "green", "value": None}, *steps]


def _options(panel: Panel) -> dict[str, Any]:
    match panel.kind:
        case Kind.NUMBER:
            last = {"calcs": ["lastNotNull"], "fields": "", "values": False}
            graph = "none" if panel.at_once else "area"
            return {"reduceOptions": last, "colorMode": "value", "graphMode": graph}
        case Kind.LINES:
            return {
                "legend": {"displayMode": "list", "placement": "bottom"},
                "tooltip": {"mode": "multi", "sort": "desc"},
            }
        case Kind.HEATMAP:
            return {"calculate": False, "yAxis": {"unit": str(panel.unit)}}
        case _:
            return {}


def _target(panel: Panel, query: Query, ref: str) -> dict[str, Any]:
    at_once = panel.at_once or panel.kind is Kind.TABLE
    target: dict[str, Any] = {
        "refId": ref,
        "datasource": DATA_SOURCE,
        "expr": query.expr,
        "legendFormat": query.legend or "__auto",
        "instant": at_once,
        "range": not at_once,
    }
    if panel.kind is Kind.HEATMAP:
        target["format"] = "heatmap"
    if panel.kind is Kind.TABLE:
        target["format"] = "table"
    return target
