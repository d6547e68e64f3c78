"""Every alert has its runbook, and what that says to type exists."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import click
import pytest
import typer

from cli.main import app
from monitoring.alerts.exporter_watch import NAME, RUNBOOK
from monitoring.alerts.happenings import TELLINGS
from monitoring.alerts.rule import BOARD_VARIABLES, Rule
from monitoring.alerts.rules import GROUP_INTERVAL_S, GROUP_WAIT_S, RULES
from monitoring.dashboards.boards import BOARDS

DOCS = Path(__file__).parents[3] / "docs"
TEXT = (DOCS / "runbooks.md").read_text(encoding="utf-8")
SECTIONS = {
    part.split("\n", 1)[0].strip(): part.split("\n", 1)[1] for part in TEXT.split("\n## ")[1:]
}
ANCHORS = {re.sub(r"[^\w -]", "", heading).lower().replace(" ", "-") for heading in SECTIONS}


OWN = {NAME: RUNBOOK}
"""What is told without a rule, and lasts."""
EVENTS = {telling.name: telling.runbook for telling in TELLINGS.values() if telling.runbook}


def test_each_alert_has_a_section_and_each_section_an_alert() -> None:
    assert list(SECTIONS)[1:] == [*(rule.name for rule in RULES), *OWN, *EVENTS]
    assert {rule.anchor for rule in RULES} <= ANCHORS
    for name, runbook in (OWN | EVENTS).items():
        assert runbook == f"docs/runbooks.md#{name.lower()}"


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.name)
def test_a_section_says_what_it_means_where_to_look_and_what_to_do(rule: Rule) -> None:
    text = SECTIONS[rule.name]
    assert re.findall(r"^\*\*(.+?)\.\*\*", text, re.MULTILINE) == [
        "What it means",
        "First look",
        "What to do",
    ]
    assert ("Only Prometheus" in text.replace("\n", " ")) is bool(rule.unseen)
    assert (f"`{rule.name}`" in SECTIONS["What builtin cannot see"]) is bool(rule.unseen)


def test_links_between_sections_and_to_other_pages_lead_somewhere() -> None:
    for page in ("runbooks.md", "alerts.md"):
        text = (DOCS / page).read_text(encoding="utf-8")
        for target in re.findall(r"\]\(([^)]+)\)", text):
            file, _, anchor = target.partition("#")
            assert not file or (DOCS / file).exists(), target
            assert not anchor or file not in {"", "runbooks.md"} or anchor in ANCHORS, target


def test_every_command_of_ours_that_is_named_exists() -> None:
    root: Any = typer.main.get_command(app)
    context = click.Context(root)
    quoted = re.findall(r"`(honeyflow [^`]+)`", TEXT) + re.findall(
        r"^(honeyflow [^#\n]+)", TEXT, re.MULTILINE
    )
    assert len(quoted) > 40
    for command in quoted:
        found = root
        for word in command.split()[1:]:
            if word.startswith("-"):
                assert word in {name for one in found.params for name in one.opts}, command
            elif hasattr(found, "get_command") and not word.isupper():
                found = found.get_command(context, word)
                assert found is not None, command


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.name)
def test_the_board_of_an_alert_exists_and_has_its_variables(rule: Rule) -> None:
    (board,) = (board for board in BOARDS if board.uid == rule.board)
    asked = set(BOARD_VARIABLES) & set(rule.labels)
    assert asked <= {str(variable) for variable in board.variables}


def test_prometheus_and_alertmanager_are_shipped_with_the_timings_of_the_page() -> None:
    compose = DOCS.parent / "compose"
    alertmanager = (compose / "alertmanager" / "alertmanager.yml").read_text(encoding="utf-8")
    assert f"group_wait: {GROUP_WAIT_S}s" in alertmanager
    assert f"group_interval: {GROUP_INTERVAL_S}s" in alertmanager
