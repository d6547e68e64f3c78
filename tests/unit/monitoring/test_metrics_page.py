"""The page of metrics is the table's, and no metric is there for nobody."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from monitoring import metrics_names, metrics_page
from monitoring.metrics import METRICS, PREFIX

ROOT = Path(__file__).parents[3]
RULES = ROOT / "monitoring" / "alerts" / "rules.yml"
BOARDS = sorted((ROOT / "monitoring" / "dashboards").glob("*.json"))

FOR_NEITHER: dict[str, str] = {}
"""Metrics in no panel and no rule, and why they are there all the same."""

# Not within a recording rule's name, which has colons.
_NAME = re.compile(rf"(?<![:\w]){PREFIX}[a-z_]+(?![:\w])")
_SUFFIX = re.compile(r"_(bucket|count|sum)$")


def names_in(text: str) -> set[str]:
    """The metrics that a text speaks of; a histogram by any of its series."""
    known = {metric.name for metric in METRICS}
    found = set(_NAME.findall(text))
    return {name if name in known else _SUFFIX.sub("", name) for name in found}


def test_the_page_is_current() -> None:
    """`python -m monitoring.metrics_page` writes it."""
    assert metrics_page.PAGE.read_text(encoding="utf-8") == metrics_page.page()


def test_every_metric_has_its_line() -> None:
    """And so has every label its values."""
    page = metrics_page.page()
    assert [] == [
        metric.name for metric in METRICS if f"| `{metric.name}` | {metric.kind}" not in page
    ]
    told = {
        name.partition(" (")[0] for entry, _ in metrics_page.LABELS for name in entry.split(", ")
    }
    assert {label for metric in METRICS for label in metric.labels} == told


def test_every_section_is_of_the_table() -> None:
    """All of it, once."""
    assert METRICS == tuple(metric for _, table in metrics_page.SECTIONS for metric in table)


def test_the_names_of_rbee_lead_somewhere() -> None:
    """Each of ours that is named as a twin is in the table."""
    texts = [*metrics_names.TWINS.values(), *metrics_names.UNDER_OTHER_NAMES.values()]
    named = {name for text in texts for name in re.findall(rf"`({PREFIX}[a-z_]+)", text)}
    named = {name for name in named if not name.endswith("_")}
    assert named
    assert set() == named - {metric.name for metric in METRICS}
    assert set() == {f"{PREFIX}{name}" for name in metrics_names.SEEDS} - {m.name for m in METRICS}


def test_what_is_said_to_be_absent_is() -> None:
    """And what is in the table is not listed as missing."""
    page = " ".join([*metrics_names.ABSENT, *metrics_names.UNDER_OTHER_NAMES])
    assert set() == {metric.name for metric in METRICS} & set(_NAME.findall(page))


@pytest.mark.skipif(not RULES.exists() or not BOARDS, reason="the rules or boards are not there")
def test_every_metric_is_in_a_panel_or_a_rule() -> None:
    """Or on the list of those that are not, with a reason; and they name nothing else."""
    boards = " ".join(json.dumps(json.loads(board.read_text(encoding="utf-8"))) for board in BOARDS)
    used = names_in(RULES.read_text(encoding="utf-8")) | names_in(boards)
    known = {metric.name for metric in METRICS}
    assert known - used == FOR_NEITHER.keys()
    assert set() == used - known
