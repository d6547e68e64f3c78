"""What every panel asks is asked of a real Prometheus, which gives what is known to be right."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from typing import Any

import pytest

from monitoring.dashboards import BOARDS
from monitoring.metrics import metric
from tests import prometheus
from tests.integration.known_series import (
    BORN,
    END,
    LATE,
    LEVEL,
    OBSERVED,
    OLD,
    STEP_S,
    lines,
    middle,
)
from tests.prometheus import Prometheus

RANGE_S, RATE_S = 3600, 240
A_STEP = 1 / STEP_S
"""By how much a counter's series grows in a second."""
GROWN = RANGE_S / STEP_S
"""And in the time shown."""


def inside(name: str, share: float) -> float:
    """A quantile where all observations fell into one bucket: Prometheus spreads them evenly."""
    bounds = metric(name).buckets
    return bounds[OBSERVED - 1] + share * (bounds[OBSERVED] - bounds[OBSERVED - 1])


def mean(name: str) -> float:
    """What every observation of a histogram was."""
    return middle(metric(name))


HEAT = RATE_S / STEP_S
# What each query of a panel must give: every series of the result has this value. Where a panel has
# several queries there is a value for each.
EXPECTED: dict[str, dict[str, float | tuple[float, ...]]] = {
    "honeyflow-overview": {
        "Jobs answered": 2 * GROWN,
        "Jobs that failed": 3 * 2 * GROWN,
        "Error budget left": 1 - 0.75 / 0.005,
        "Waiting": 2 * LEVEL,
        "Workers that can work": 2 * 2 * LEVEL,
        "Workers in trouble": 2 * 2 * LEVEL,
        "Jobs a minute": 60 * 2 * A_STEP,
        "Share of jobs that fail": 0.75,
        "Wait for a worker, 95 of 100": inside("job_queue_wait_seconds", 0.95),
        "From acceptance to the end, 95 of 100": inside("job_duration_seconds", 0.95),
        "Samples in flight": (4 * LEVEL, 4 * LEVEL),
        "Last canary answered": LEVEL,
        "Firing alerts": 0,
        "Cost an hour": 2 * LEVEL,
        "Limits that follow settings": LEVEL,
        "Exporter's arrears": LEVEL,
    },
    "honeyflow-jobs": {
        "Jobs ended, by model": 60 * 5 * A_STEP,
        "Jobs accepted, by origin": 60 * 2 * 4 * A_STEP,
        "Open jobs, by state": 2 * 4 * LEVEL,
        "Time on the engine": (
            inside("inference_duration_seconds", 0.5),
            inside("inference_duration_seconds", 0.95),
        ),
        "Time on the engine, all": 2 * HEAT,
        "Runs, by how they ended": 60 * 2 * A_STEP,
        "Samples an answer rests on": mean("k_samples_used"),
        "Samples drawn, by what became of them": 2 * A_STEP,
        "Confidence": mean("confidence_score"),
        "Confidence, all": 2 * HEAT,
        "Answers in doubt, in a row": LEVEL,
        "Tokens": 2 * A_STEP,
        "From a call-off to its effect": inside("cancel_duration_seconds", 0.95),
        "Jobs that shared another's execution": 60 * 2 * A_STEP,
        "Canaries, whole": inside("canary_duration_seconds", 0.5),
        "Longest run now": LEVEL,
    },
    "honeyflow-workers": {
        "Workers, by state": 2 * LEVEL,
        "Last heard of": LEVEL,
        "Who they are": LEVEL,
        "Engines that can answer": LEVEL,
        "Samples in flight": 2 * LEVEL,
        "Samples that wait for a place": 2 * LEVEL,
        "Tokens written": 2 * LEVEL,
        "KV cache": LEVEL,
        "Last progress": LEVEL,
        "Time to the first token": inside("time_to_first_token_seconds", 0.95),
        "Time between two tokens": inside("inter_token_latency_seconds", 0.95),
        "Time to load a model": inside("model_load_duration_seconds", 0.5),
        "Starts": GROWN,
        "Starts that failed": 2 * GROWN,
        "Found unwell": 2 * GROWN,
        "Silent for too long": GROWN,
        "Errors in the logs": GROWN,
        "Versions": LEVEL,
    },
    "honeyflow-gpu": {
        "Utilisation": LEVEL,
        "Temperature": LEVEL,
        "Power": LEVEL,
        "Memory in use": 0.25,
        "Energy": GROWN,
        "Slowed down": A_STEP,
        "Faults reported by the driver": GROWN,
        "Memory errors": GROWN,
        "Last read": LEVEL,
        "Memory left on the machine": LEVEL,
        "Memory of the machine": LEVEL,
        "Room on the data disk": 10,
        "Data disk in use": 0.75,
    },
    "honeyflow-queue": {
        "Waiting, by model": LEVEL,
        "Waiting, by priority": 2 * LEVEL,
        "First in line": LEVEL,
        "Wait, half and 99 of 100": (
            inside("job_queue_wait_seconds", 0.5),
            inside("job_queue_wait_seconds", 0.99),
        ),
        "Put in order by the reconciler": GROWN,
        "Quarantined": GROWN,
        "Reconciler, last look": LEVEL,
        "Beat, last run": LEVEL,
        "Redis answers": LEVEL,
        "Redis keeps its file": LEVEL,
        "Redis, memory": (LEVEL, LEVEL),
        "Redis, connections": LEVEL,
    },
    "honeyflow-receipts": {
        "Receipts written": 60 * A_STEP,
        "Not in a log yet": LEVEL,
        "Oldest that is not in a log": LEVEL,
        "Batches sealed": GROWN,
        "Signatures of witnesses": GROWN,
        "Waiting for IPFS": LEVEL,
        "For people to look at": LEVEL,
        "The oldest of them": LEVEL,
        "Messages to people": 2 * GROWN,
        "Not delivered yet": LEVEL,
        "Last message delivered": LEVEL,
    },
}
CHANNELS = (None, "x", "y")
# What each panel of grown counters must give of series that were born with 1: faults among them.
BORN_WITH = {
    "honeyflow-overview": {
        "Jobs answered": 1,
        "Jobs that failed": 3,
        "Share of jobs that fail": 0.75,
    },
    "honeyflow-workers": {
        "Starts": 1,
        "Starts that failed": 1,
        "Found unwell": 1,
        "Silent for too long": 1,
        "Errors in the logs": 1,
    },
    "honeyflow-gpu": {"Faults reported by the driver": 1},
    "honeyflow-receipts": {"Messages to people": 2},
}
# Their series are there from the first scrape on, or have no name that could come later.
NEVER_BORN = {
    "Put in order by the reconciler",
    "Quarantined",
    "Batches sealed",
    "Signatures of witnesses",
}
PANELS = [(board, panel) for board in BOARDS for panel in board.panels]
IDS = [f"{board.uid}-{panel.title}" for board, panel in PANELS]


def filled_in(expr: str, *, chosen: str = ".*", range_s: int = RANGE_S) -> str:
    """An expression as Grafana sends it, with these models and workers chosen."""
    known = {
        "__rate_interval": f"{RATE_S}s",
        "__range": f"{range_s}s",
        "model": chosen,
        "worker": chosen,
    }
    return re.sub(r"\$(\w+)", lambda found: known[found[1]], expr)


@pytest.fixture(scope="module")
def asked(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Prometheus]:
    """A Prometheus that knows two hours of every metric."""
    if prometheus.binary("prometheus") is None:
        pytest.skip("prometheus is missing (Debian: prometheus)")
    folder = tmp_path_factory.mktemp("prometheus")
    with prometheus.running(folder, data=prometheus.backfill(lines(), folder)) as running:
        yield running


def test_every_panel_is_expected_to_show_something() -> None:
    """A new one needs its known answer."""
    assert {board.uid: {panel.title for panel in board.panels} for board in BOARDS} == {
        uid: set(panels) for uid, panels in EXPECTED.items()
    }


@pytest.mark.parametrize(("board", "panel"), PANELS, ids=IDS)
def test_a_panel_shows_what_is_known(asked: Prometheus, board: Any, panel: Any) -> None:
    """Now and all along the last ten minutes, in every series, and nothing that is no number."""
    expected = EXPECTED[board.uid][panel.title]
    values = expected if isinstance(expected, tuple) else (expected,)
    assert len(values) == len(panel.queries)
    for query, value in zip(panel.queries, values, strict=True):
        expr = filled_in(query.expr, chosen="a|b|w1|w2")
        found = [one for one in asked.now(expr, END) if one["metric"].get("channel") in CHANNELS]
        assert found, expr
        for series in found:
            if le := series["metric"].get("le"):
                # Of a heat map, whose lower buckets are empty.
                assert float(series["value"][1]) in (0, pytest.approx(value, rel=0.01)), le
                continue
            assert pytest.approx(value, rel=0.01) == float(series["value"][1]), series
        for series in asked.over(expr, END - 600, END, STEP_S):
            if series["metric"].get("channel") == LATE:
                continue
            assert 21 == len(series["values"])
            assert not any(math.isnan(float(value)) for _, value in series["values"])


def test_every_panel_of_what_has_grown_is_expected_to_see_a_birth() -> None:
    """Or its series cannot be born."""
    grown = {panel.title for _, panel in PANELS if "label_replace(" in panel.queries[0].expr}
    assert grown == {title for panels in BORN_WITH.values() for title in panels} | NEVER_BORN


@pytest.mark.parametrize(
    ("uid", "title"), [(uid, title) for uid, panels in BORN_WITH.items() for title in panels]
)
def test_a_panel_counts_the_fault_that_a_series_is_born_with(
    asked: Prometheus, uid: str, title: str
) -> None:
    """Soon after it and as long as it is in the time shown; nothing before it, nothing later."""
    (query,) = next(p.queries for board, p in PANELS if (board.uid, p.title) == (uid, title))

    def shown(at: float, chosen: str = LATE, range_s: int = RANGE_S) -> set[float]:
        found = asked.now(filled_in(query.expr, chosen=chosen, range_s=range_s), at)
        return {
            round(float(one["value"][1]), 9)
            for one in found
            if one["metric"].get("channel") in (None, chosen)
        }

    whole = {BORN_WITH[uid][title]}
    assert whole == shown(BORN)
    assert whole == shown(BORN + STEP_S)
    assert shown(BORN - STEP_S) <= {0.0}
    assert shown(END, range_s=600) <= {0.0}
    if "$__range" in query.expr:
        assert whole == shown(END)
        # Longer than anything is known.
        assert whole == shown(END, range_s=6 * 3600)
        assert {0.0} == shown(END, chosen=OLD, range_s=6 * 3600)
