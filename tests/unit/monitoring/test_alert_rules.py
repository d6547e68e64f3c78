"""The rules in the real promtool: when each fires, when not, when it ends, and what is told."""

from __future__ import annotations

import subprocess
from pathlib import Path

from monitoring.alerts.__main__ import PAGE, RULES_FILE, main
from monitoring.alerts.page import page
from monitoring.alerts.prometheus import rules_yaml
from monitoring.alerts.rules import RULES
from tests.unit.monitoring.alert_cases import case, shipped_case
from tests.unit.monitoring.alert_scenario import labels_of
from tests.unit.monitoring.alert_scenarios import SCENARIOS
from tests.unit.monitoring.promtool import failures, promtool


def test_the_file_of_rules_and_the_page_are_what_the_table_says() -> None:
    assert RULES_FILE.read_text(encoding="utf-8") == rules_yaml()
    assert PAGE.read_text(encoding="utf-8") == page()


def test_the_file_can_be_written_with_links_of_ones_own(tmp_path: Path) -> None:
    written = tmp_path / "rules.yml"
    assert main(["--output", str(written), "--dashboards", "https://a.example"]) == 0
    assert written.read_text() == rules_yaml().replace("http://127.0.0.1:3000", "https://a.example")


def test_promtool_has_nothing_against_the_file() -> None:
    checked = [promtool(), "check", "rules", "--lint=all", "--lint-fatal", str(RULES_FILE)]
    done = subprocess.run(checked, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stdout + done.stderr


def test_every_rule_fires_and_ends_and_is_silent_without_data() -> None:
    tried = {rule.name: [one for one in SCENARIOS if one.rule == rule.name] for rule in RULES}
    for name, scenarios in tried.items():
        spans = [span for one in scenarios for each in one.fires.values() for span in each]
        gaps = [one for one in scenarios for each in one.series.values() if None in each]
        assert spans, name
        if name != "Watchdog":
            assert any(until is not None for _, until in spans), name
            assert gaps, name


def test_the_series_of_a_scenario_are_equally_long() -> None:
    lengths = {one.name: {len(values) for values in one.series.values()} for one in SCENARIOS}
    assert {name: each for name, each in lengths.items() if len(each) > 1} == {}


def test_every_rule_fires_exactly_when_it_should(tmp_path: Path) -> None:
    assert failures((case(scenario) for scenario in SCENARIOS), tmp_path) == {}


def test_what_prometheus_alone_sees_is_told_with_its_value_and_unit(tmp_path: Path) -> None:
    scenarios = [one for one in SCENARIOS if one.value or one.asked.unseen]
    begins = [
        shipped_case(
            scenario,
            {
                since: [(labels_of(labels), scenario.value)]
                for labels, spans in scenario.fires.items()
                for since, _ in spans
                if len(scenario.firing(since)) == 1
            },
        )
        for scenario in scenarios
    ]
    assert failures(begins, tmp_path) == {}
