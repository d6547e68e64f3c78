"""Where there is no Prometheus, rules fire and end as they do there."""

from __future__ import annotations

import json
import random
import re
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from monitoring import metrics
from monitoring.alerts.alert import Alert, Severity
from monitoring.alerts.builtin import evaluate
from monitoring.alerts.history import Key, Snapshot
from monitoring.alerts.rule import Links, Rule
from monitoring.alerts.rules import BUILTIN, BY_NAME, RULES
from tests.unit.monitoring.alert_cases import shipped_case
from tests.unit.monitoring.alert_scenario import Scenario
from tests.unit.monitoring.alert_scenarios import SCENARIOS
from tests.unit.monitoring.promtool import Values, failures

OURS = [
    scenario
    for scenario in SCENARIOS
    if scenario.asked.builtin and all(name.startswith("swarmos_") for name in scenario.series)
]
BACKLOG = BY_NAME["QueueBacklog"]


def key(name: str) -> Key:
    """A series written `name{label="value"}`, as snapshots name it; other labels are left out."""
    metric, _, labels = name.partition("{")
    told = dict(re.findall(r'(\w+)="([^"]*)"', labels))
    return metric, tuple(told.get(label, "") for label in metrics.BY_NAME[metric].labels)


def snapshots(scenario: Scenario) -> Iterator[Snapshot]:
    keys = {key(name): values for name, values in scenario.series.items()}
    assert len(keys) == len(scenario.series)
    for step, at in enumerate(scenario.moments):
        now = {one: values[step] for one, values in keys.items() if step < len(values)}
        yield Snapshot(at=at, values={one: v for one, v in now.items() if v is not None})


def judged(scenario: Scenario) -> dict[int, tuple[Alert, ...]]:
    """What is told at each moment, with the state written and read in between."""
    told, state = {}, None
    for seen in snapshots(scenario):
        alerts, state = evaluate([scenario.asked], seen, state, seen.at)
        state = json.loads(json.dumps(state))
        told[int(seen.at)] = alerts
    return told


def firing(alerts: tuple[Alert, ...]) -> list[tuple[Mapping[str, str], float]]:
    return [(alert.labels, alert.value) for alert in alerts if alert.firing]


def queue(at: float, **waiting: float) -> Snapshot:
    return Snapshot(
        at=at, values={("swarmos_queue_length", (model,)): n for model, n in waiting.items()}
    )


def course(*snapshots: Snapshot, state: Any = None, rule: Rule = BACKLOG) -> Any:
    """What the last of these snapshots tells, and the state after it."""
    alerts: tuple[Alert, ...] = ()
    for seen in snapshots:
        alerts, state = evaluate([rule], seen, state, seen.at)
    return alerts, state


@pytest.mark.parametrize("scenario", OURS, ids=lambda one: f"{one.rule}: {one.name}")
def test_a_rule_fires_and_ends_when_it_should(scenario: Scenario) -> None:
    told = judged(scenario)
    for at, alerts in told.items():
        fires = sorted(alert.key for alert in alerts if alert.firing)
        assert fires == sorted(
            Alert(**{**BLANK, "rule": scenario.rule, "labels": labels}).key
            for labels in scenario.firing(at)
        ), at


BLANK: dict[str, Any] = {
    "severity": Severity.PAGE,
    "firing": True,
    "since": 0,
    "value": 0,
    "summary": "",
    "description": "",
}


def test_every_rule_that_can_be_judged_here_is_tried() -> None:
    assert {scenario.rule for scenario in OURS} == {rule.name for rule in BUILTIN}


def test_the_rules_of_the_first_alerts_are_among_them() -> None:
    first = {"HighErrorRate", "LowConfidenceStreak", "GpuHot", "JobTimeout", "QueueBacklog"}
    assert first | {"WorkerStale"} <= {rule.name for rule in BUILTIN}


def test_prometheus_says_the_same_at_every_evaluation_word_for_word(tmp_path: Path) -> None:
    cases = [
        shipped_case(scenario, {at: firing(alerts) for at, alerts in judged(scenario).items()})
        for scenario in [*OURS, *map(weather, {one.rule: one for one in OURS}.values())]
    ]
    assert failures(cases, tmp_path) == {}


def weather(scenario: Scenario) -> Scenario:
    """The same series with other values: random ones, with gaps, and counters that begin anew."""
    chance = random.Random(scenario.name)
    return replace(
        scenario,
        name=f"{scenario.name} (random)",
        series={name: blown(chance, name, values) for name, values in scenario.series.items()},
    )


def blown(chance: random.Random, name: str, values: Values) -> Values:
    known = sorted({value for value in values if value is not None})
    told: list[float | None] = []
    total = 0.0
    while len(told) < 90:
        steps = chance.randint(1, 20)
        mood = chance.choice(["gap", "reset", *["go on"] * 6])
        if mood == "gap":
            told += [None] * steps
        elif metrics.BY_NAME[key(name)[0]].kind is metrics.Kind.COUNTER:
            total = 0.0 if mood == "reset" else total
            rise = chance.choice([0, 0, 1, 3])
            for _ in range(steps):
                total += rise
                told.append(total)
        else:
            told += [chance.choice(known)] * steps
    return told[:90]


def test_an_alert_tells_since_when_it_fires_and_once_that_it_has_ended() -> None:
    waiting = [queue(at, spine=101) for at in range(0, 200, 10)]
    alerts, state = course(*waiting)
    (alert,) = alerts
    assert (alert.firing, alert.since, alert.ended) == (True, 120, None)
    assert alert.summary == "101 jobs wait for spine"
    assert alert.runbook == "docs/runbooks.md#queuebacklog"
    assert alert.dashboard == "http://127.0.0.1:3000/d/honeyflow-queue?var-model=spine"
    over = [queue(at, spine=0) for at in range(200, 321, 10)]
    alerts, state = course(*over, state=state)
    (alert,) = alerts
    assert (alert.firing, alert.since, alert.ended, alert.value) == (False, 120, 320, 101)
    assert course(queue(330, spine=0), state=state)[0] == ()


def test_links_of_ones_own_are_told() -> None:
    links = Links(dashboards="https://grafana.example", runbooks="https://books.example/r")
    rule = replace(BACKLOG, for_s=0)
    (alert,), _ = evaluate([rule], queue(0, **{"a b&c": 101}), None, 0, links=links)
    assert alert.runbook == "https://books.example/r#queuebacklog"
    assert alert.dashboard == "https://grafana.example/d/honeyflow-queue?var-model=a+b%26c"


def test_a_judge_that_was_away_for_long_waits_anew_and_ends_nothing_that_still_holds() -> None:
    _, waiting = course(queue(0, spine=101), queue(10, spine=101))
    assert course(queue(1000, spine=101), state=waiting)[0] == ()
    _, fired = course(*(queue(at, spine=101) for at in range(0, 130, 10)))
    (alert,), _ = course(queue(1000, spine=101), state=fired)
    assert (alert.firing, alert.since) == (True, 120)


def test_a_judge_that_was_away_for_a_moment_goes_on_waiting() -> None:
    _, waiting = course(queue(0, spine=101), queue(10, spine=101))
    assert len(course(queue(120, spine=101), state=waiting)[0]) == 1


@pytest.mark.parametrize(
    "state",
    [None, {}, {"version": 0}, {"version": 1}, {"version": 1, "judged_at": "x", "watched": 3}],
    ids=repr,
)
def test_a_state_that_cannot_be_read_is_a_beginning(state: Any) -> None:
    alerts, written = evaluate([replace(BACKLOG, for_s=0)], queue(0, spine=101), state, 0)
    assert len(alerts) == 1
    assert json.loads(json.dumps(written)) == written


def test_an_alert_of_a_rule_that_is_no_more_ends() -> None:
    _, state = course(*(queue(at, spine=101) for at in range(0, 130, 10)))
    (alert,), _ = evaluate([], queue(130, spine=101), state, 130)
    assert (alert.rule, alert.firing, alert.ended) == ("QueueBacklog", False, 130)


def test_a_snapshot_that_is_too_old_says_nothing() -> None:
    rule = replace(BACKLOG, for_s=0)
    assert evaluate([rule], queue(0, spine=101), None, 300)[0] != ()
    assert evaluate([rule], queue(0, spine=101), None, 301)[0] == ()


def test_a_snapshot_that_was_judged_before_adds_nothing_to_the_history() -> None:
    dead = BY_NAME["DeadLetters"]
    seen = [
        Snapshot(at=at, values={("swarmos_jobs_total", ("dead", "spine")): n})
        for at, n in ((0, 0), (10, 1), (10, 1), (5, 7))
    ]
    alerts, _ = course(*seen, rule=dead)
    assert [alert.value for alert in alerts] == [1]


def test_a_clock_that_was_set_back_makes_nobody_wait() -> None:
    """What has held, fired, faded and been counted stays as long ago as it was."""
    back = 3600
    _, state = course(*(queue(at, spine=101) for at in range(0, 70, 10)))
    later = [queue(at - back, spine=101) for at in range(70, 140, 10)]
    (alert,), state = course(*later, state=state)
    assert alert.firing
    assert alert.since <= later[-1].at
    over = [queue(at - 2 * back, spine=0) for at in range(140, 280, 10)]
    ends = []
    for seen in over:
        alerts, state = evaluate([BACKLOG], seen, state, seen.at)
        ends += [alert for alert in alerts if not alert.firing]
    (alert,) = ends
    assert alert.ended is not None
    assert alert.ended > alert.since


def test_counters_go_on_where_a_clock_was_set_back() -> None:
    """Neither the past is lost nor what comes."""
    dead = BY_NAME["DeadLetters"]
    counted = [0, 0, 1, 1, 1, 2]
    moments = [0, 10, 20, -3580, -3570, -3560]
    told = []
    state: Any = None
    for at, n in zip(moments, counted, strict=True):
        seen = Snapshot(at=at, values={("swarmos_jobs_total", ("dead", "spine")): n})
        alerts, state = evaluate([dead], seen, state, at)
        told.append([round(alert.value) for alert in alerts])
    assert told == [[], [], [1], [1], [1], [2]]


def test_series_that_cannot_be_are_passed_over() -> None:
    rule = replace(BACKLOG, for_s=0)
    odd = Snapshot(at=0, values={("swarmos_queue_length", ()): 500, ("other", ("a",)): 1})
    alerts, _ = evaluate([*RULES, rule], odd, None, 0)
    assert [alert.rule for alert in alerts] == []


def test_the_history_of_a_quiet_cluster_does_not_grow() -> None:
    values = {
        ("swarmos_jobs_total", (status, f"model-{n}")): 1000.0
        for status in metrics.STATUSES
        for n in range(8)
    }
    state: Any = None
    for at in range(0, 200, 10):
        _, state = evaluate(BUILTIN, Snapshot(at=at, values=values), state, at)
    runs = state["history"]["runs"]
    assert len(runs) == len(values)
    assert {len(run) for _, _, run in runs} == {1}


def test_the_history_of_counters_that_are_gone_is_forgotten() -> None:
    state: Any = None
    for at, values in ((0, {("swarmos_jobs_total", ("dead", "spine")): 1.0}), (10, {}), (3700, {})):
        _, state = evaluate(BUILTIN, Snapshot(at=at, values=values), state, at)
    assert state["history"]["runs"] == []
