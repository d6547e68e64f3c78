"""The boards of Grafana, made from values: what a panel asks, and how it is drawn.

`python -m monitoring.dashboards` writes one JSON file for each board beside this one.
"""

from __future__ import annotations

from monitoring.dashboards.board import Board, Kind, Panel, Query, Unit, Variable
from monitoring.dashboards.boards import BOARDS
from monitoring.dashboards.grafana import as_json

__all__ = ["BOARDS", "Board", "Kind", "Panel", "Query", "Unit", "Variable", "as_json"]
