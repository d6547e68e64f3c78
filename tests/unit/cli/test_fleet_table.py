"""The table of the fleet: whatever workers have written, it makes a line that fits."""

from __future__ import annotations

import io
from typing import Any

import pytest
from hypothesis import given as given_any
from hypothesis import settings
from hypothesis import strategies as st
from rich.cells import cell_len
from rich.console import Console

from cli.fleet_table import lines_of, render, totals_of
from ledger import WorkerRow
from ledger.standings import Standing

NOW = 1_000_000.0
CARD = {
    "gpu": "0",
    "uuid": "GPU-1",
    "temperature_celsius": 88,
    "utilization_percent": 97.0,
    "memory_used_bytes": 80 * 10**9,
    "memory_total_bytes": 96 * 10**9,
    "power_watts": 400.0,
    "xid": {"79": 1},
}
FACTS: dict[str, Any] = {
    "model": "queenbee-spine",
    "backend": "cuda",
    "gpus": ["GPU-1"],
    "in_flight": 17,
    "places": 20,
    "tokens_per_s": 1234.5,
    "cost_per_hour": 2.5,
    "tags": ["fast", "eu"],
    "readings": [CARD],
}
plain = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=30),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=9), inner),
    max_leaves=15,
)
rows = st.builds(
    WorkerRow,
    worker=st.text(max_size=80),
    node=st.none() | st.text(max_size=5),
    session=st.none(),
    state=st.sampled_from(["idle", "busy", "stale", "failed"]) | st.text(max_size=12),
    facts=st.fixed_dictionaries({}, optional=dict.fromkeys(FACTS, plain)) | plain,
    seen_at=st.none() | st.floats(0, 2 * NOW),
    drain=st.booleans(),
    stop=st.booleans(),
)


def row(worker: str, state: str = "idle", *, age_s: float = 5.0, **facts: Any) -> WorkerRow:
    """A worker's row."""
    return WorkerRow(
        worker=worker,
        node="n",
        session="s",
        state=state,
        facts=facts,
        seen_at=NOW - age_s,
        drain=False,
    )


def standing(*given: WorkerRow, leased: bool = True) -> list[Standing]:
    """How these workers stand, whose sessions go on."""
    return [Standing(worker=one, leased=leased) for one in given]


def drawn(*given: WorkerRow, width: int = 160) -> str:
    """The table as it is printed."""
    file = io.StringIO()
    console = Console(file=file, width=width, markup=False, highlight=False)
    console.print(render(lines_of(standing(*given), NOW), width=width))
    return file.getvalue()


@settings(max_examples=40, deadline=None)
@given_any(st.lists(rows, max_size=4), st.sampled_from([80, 100, 160]))
def test_whatever_stands_in_the_ledger_is_drawn(given: list[WorkerRow], width: int) -> None:
    """No error, no line wider than the terminal, nothing that could repaint it."""
    lines = drawn(*given, width=width).splitlines()
    assert all(cell_len(line) <= width for line in lines)
    assert "\x1b" not in "".join(lines)


def test_a_worker_at_work_is_one_line_with_all_its_figures() -> None:
    """Card, places, tokens, age, cost and tags."""
    (line,) = [one for one in drawn(row("w@n", "busy", **FACTS)).splitlines() if "w@n" in one]
    for part in (
        *("busy", "queenbee-spine", "cuda", "Xid 79", "88 °C", "97 %", "80.0/96 GB"),
        *("17/20", "1234", "5 s ago", "2.50", "fast, eu"),
    ):
        assert part in line


@pytest.mark.parametrize("width", [80, 100, 120, 160])
def test_what_matters_most_is_seen_on_every_terminal(width: int) -> None:
    """The name, the state, the card's temperature, and how long it is silent."""
    line = next(
        one
        for one in drawn(row("gpu0@hive", "busy", **FACTS), width=width).splitlines()
        if "gpu0@hive" in one
    )
    assert all(part in line for part in ("busy", "88 °C", "17/20", "5 s ago")), line


def test_a_silent_workers_figures_are_not_shown_as_if_they_were_of_now() -> None:
    """Stale, failed and stopped ones count in the states alone."""
    gone = [row(state, state, age_s=7200, **FACTS) for state in ("stale", "failed", "stopped")]
    shown = drawn(*gone, row("w", **FACTS))
    assert 1 == shown.count("88 °C")
    assert "2 h ago" in shown
    totals = totals_of(lines_of(standing(*gone, row("w", **FACTS)), NOW))
    assert (4, 17, 20, 1, 2.5) == (
        totals["workers"],
        totals["in_flight"],
        totals["places"],
        totals["gpus"],
        totals["cost_per_hour"],
    )
    assert {"idle": 1, "stopped": 1, "stale": 1, "failed": 1} == totals["states"]


def test_cards_that_are_not_read_are_said_to_be() -> None:
    """Not drawn as they were, nor as lost; one without cards has nothing to read."""
    hung = {**FACTS, "readings": [], "machine_age_s": 300.0}
    shown = drawn(row("w", **hung), row("m", machine_age_s=300.0))
    assert 1 == shown.count("not read for 5 min")
    assert "not read  " in drawn(row("w", **{**hung, "machine_age_s": 1.0}))
    assert "lost" not in shown


def test_a_card_that_two_workers_share_is_counted_once() -> None:
    """Its power as well."""
    totals = totals_of(lines_of(standing(row("a", **FACTS), row("b", **FACTS)), NOW))
    assert (1, 400.0, 40) == (totals["gpus"], totals["power_watts"], totals["places"])


def test_nobody_is_told_how_to_begin() -> None:
    """An empty ledger is no empty table."""
    assert "honeyflow up" in drawn()


def test_a_worker_whose_lease_is_over_is_stale_at_once() -> None:
    """Whatever it said half a minute ago: its figures are not of now, and count no more."""
    gone = standing(row("w", "busy", age_s=20.0, **FACTS), leased=False)
    (line,) = lines_of(gone, NOW)
    assert ("stale", False) == (line.state, line.here)
    assert (0, 0.0) == (totals_of([line])["in_flight"], totals_of([line])["cost_per_hour"])
    (left,) = lines_of(standing(row("v", "stopped"), leased=False), NOW)
    assert left.state == "stopped"
