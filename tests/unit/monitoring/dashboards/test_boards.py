"""The boards are what the code says, ask only for what there is, and can be read."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest

from monitoring.alerts.rule import Board as AlertBoard
from monitoring.dashboards import BOARDS, Board, Kind, Panel, as_json, promql
from monitoring.dashboards.__main__ import FOLDER
from monitoring.metrics import BY_NAME, METRICS, PREFIX, Metric
from monitoring.metrics import Kind as MetricKind

PANELS = [(board, panel) for board in BOARDS for panel in board.panels]
by_panel = pytest.mark.parametrize(
    ("board", "panel"), PANELS, ids=[f"{board.uid}-{panel.title}" for board, panel in PANELS]
)
by_board = pytest.mark.parametrize("board", BOARDS, ids=[board.uid for board in BOARDS])


def asked_for(expr: str) -> list[tuple[str, Metric, set[str]]]:
    """Each series an expression asks for: as written, its metric, and the labels it matches."""
    found = []
    for name, matchers in re.findall(rf"({PREFIX}\w+)(?:\{{([^}}]*)\}})?", expr):
        base = name if name in BY_NAME else re.sub(r"_(bucket|sum|count)$", "", name)
        found.append((name, BY_NAME[base], set(re.findall(r"(\w+)=~", matchers))))
    return found


@by_board
def test_the_file_is_what_the_generator_makes(board: Board) -> None:
    """`python -m monitoring.dashboards` writes it."""
    assert as_json(board) == (FOLDER / f"{board.uid}.json").read_text(encoding="utf-8")


def test_there_is_no_other_file_and_the_alerts_know_the_boards() -> None:
    """A board that is renamed leaves none behind, and no link leads nowhere."""
    assert {f"{board.uid}.json" for board in BOARDS} == {
        file.name for file in FOLDER.glob("*.json")
    }
    assert {board.uid for board in BOARDS} == set(AlertBoard)


def test_every_metric_is_on_a_board() -> None:
    """What nobody looks at need not be measured."""
    shown = {
        metric.name
        for _, panel in PANELS
        for query in panel.queries
        for _, metric, _ in asked_for(query.expr)
    }
    assert {metric.name for metric in METRICS} == shown


@by_panel
def test_a_panel_says_what_it_shows(board: Board, panel: Panel) -> None:
    """With a sentence, within its row."""
    assert panel.title
    assert panel.description.endswith(".")
    assert 0 < panel.width <= 24


@by_panel
def test_a_panel_asks_for_labels_that_there_are(board: Board, panel: Panel) -> None:
    """Also those that it groups by and names its lines with."""
    for query in panel.queries:
        found = asked_for(query.expr)
        # The last two are Prometheus' own.
        own = {"le", "job", "instance"}
        labels = {label for _, metric, _ in found for label in metric.labels} | own
        for name, metric, matched in found:
            assert matched <= set(metric.labels), name
        grouped = {
            word
            for group in re.findall(r"by \(([^)]*)\)", query.expr)
            for word in group.replace(" ", "").split(",")
        }
        assert grouped <= labels
        if not query.expr.startswith("count(ALERTS"):
            assert set(re.findall(r"{{(\w+)}}", query.legend)) <= labels


@by_panel
def test_a_counter_is_only_shown_as_it_grows(board: Board, panel: Panel) -> None:
    """Its level says when the exporter was born; and buckets are summed with their bounds."""
    for query in panel.queries:
        for name, metric, _ in asked_for(query.expr):
            if metric.kind is MetricKind.GAUGE:
                assert not re.search(rf"(rate|increase)\({name}\b", query.expr)
            else:
                assert re.search(rf"(rate|increase)\({name}\b", query.expr), query.expr
                ranges = re.findall(rf"\({name}\b[^\[]*\[([^\]]+)\]", query.expr)
                assert set(ranges) <= {"$__rate_interval", "$__range", "30d"}
            if name.endswith("_bucket"):
                assert re.search(r"by \((?:\w+, )*le\)", query.expr)


@by_panel
def test_a_panel_narrows_by_what_its_board_offers(board: Board, panel: Panel) -> None:
    """A variable that the board does not have would be asked for as it stands."""
    used = {
        name
        for query in panel.queries
        for name in re.findall(r"\$(\w+)", query.expr)
        if not name.startswith("__")
    }
    assert used <= set(board.variables)


@by_board
def test_grafana_finds_its_way(board: Board) -> None:
    """Ids are unique, nothing overlaps, the data source is chosen where the board is used."""
    told: dict[str, Any] = json.loads(as_json(board))
    panels = told["panels"]
    assert len(panels) == len({panel["id"] for panel in panels})
    assert told["editable"] is False
    taken: set[tuple[int, int]] = set()
    for panel in panels:
        place = panel["gridPos"]
        cells = {
            (x, y)
            for x in range(place["x"], place["x"] + place["w"])
            for y in range(place["y"], place["y"] + place["h"])
        }
        assert not cells & taken
        assert place["x"] + place["w"] <= 24
        taken |= cells
        for target in panel["targets"]:
            assert "${datasource}" == target["datasource"]["uid"]
    variables = {one["name"] for one in told["templating"]["list"]}
    assert {"datasource", *board.variables} == variables


def test_a_question_for_what_is_not_there_is_refused() -> None:
    """So that a metric or a label that is renamed breaks the boards that show it."""
    with pytest.raises(KeyError):
        promql.total("nothing_of_the_sort")
    with pytest.raises(KeyError, match="no label"):
        promql.rate("jobs_total", "worker")
    with pytest.raises(KeyError, match="no label"):
        promql.series("broker_up", model="a")
    with pytest.raises(ValueError, match="no counter"):
        promql.rate("queue_length")
    with pytest.raises(ValueError, match="no histogram"):
        promql.quantile(0.5, "queue_length")


def test_only_tables_and_what_costs_much_are_asked_at_once() -> None:
    """Everything else is drawn over a time; 30 days at every moment of it would be too much."""
    for board, panel in PANELS:
        told = next(
            one for one in json.loads(as_json(board))["panels"] if one["title"] == panel.title
        )
        instant = {target["instant"] for target in told["targets"]}
        long = any("[30d]" in query.expr for query in panel.queries)
        assert {panel.kind is Kind.TABLE or long} == instant
