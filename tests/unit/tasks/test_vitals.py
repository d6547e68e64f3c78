"""What a worker knows of itself: told whole, in its state, with or without a Redis."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from monitoring.heartbeat import Heartbeat, Host
from routing import CONTROL
from tasks import settings
from tasks.facts import WorkerState
from tasks.pinning import Pin
from tasks.vitals import Vitals
from tests.stack import wait_for

PIN = Pin(name="maintenance@n", node="n", queues=(CONTROL,), engine=None)


@pytest.fixture
def noted() -> list[tuple[str, Mapping[str, Any]]]:
    """The events that were written."""
    return []


@pytest.fixture
def vitals(tmp_path: Path, noted: list[tuple[str, Mapping[str, Any]]]) -> Iterator[Vitals]:
    """Those of a maintenance worker whose Redis is away."""
    told = settings.read(
        {
            "XDG_CONFIG_HOME": "/nowhere",
            "HONEYFLOW_DATA_DIR": str(tmp_path / "not" / "yet"),
            "HONEYFLOW_REDIS_URL": "redis://127.0.0.1:1/0",
            "WORKER_TAGS": "night",
        }
    )
    made = Vitals(
        settings=told, pin=PIN, worker=PIN.name, note=lambda kind, told: noted.append((kind, told))
    )
    made.start()
    yield made
    made.stop()
    logging.getLogger().removeHandler(made.errors)


def test_the_first_heartbeat_tells_the_machine(vitals: Vitals) -> None:
    """Also of a data directory that is not there yet; no engine, no places, no cards."""
    state, facts = vitals.tell(None, consuming=True, closed=False)
    heartbeat = Heartbeat.from_facts(facts)
    assert "starting" == state
    assert (heartbeat.host.memory_available_bytes or 0) > 0
    assert (heartbeat.hardware.disk_total_bytes or 0) > 0
    assert (("night",), 1.0, ()) == (heartbeat.tags, heartbeat.cost_per_hour, heartbeat.readings)
    assert not {"places", "model", "tokens_per_s", "engine_up"} & set(facts)


def test_what_was_seen_too_long_ago_is_not_told(
    vitals: Vitals, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Three heartbeats without a look, as where a driver hangs; what the machine is stays so."""
    looked_at = time.monotonic()
    monkeypatch.setattr(vitals, "_clock", lambda: looked_at + 89.0)
    still = Heartbeat.from_facts(vitals.tell(None, consuming=True, closed=False)[1])
    monkeypatch.setattr(vitals, "_clock", lambda: looked_at + 95.0)
    facts = vitals.tell(None, consuming=True, closed=False)[1]
    old = Heartbeat.from_facts(facts)
    assert (still.host.memory_available_bytes or 0) > 0
    assert 88 < (still.machine_age_s or 0) < 90
    assert Host() == old.host
    assert 94 < (old.machine_age_s or 0) < 100
    assert (old.hardware.disk_total_bytes or 0) > 0


def test_a_redis_that_is_away_costs_a_line_for_those_who_debug(
    vitals: Vitals, caplog: pytest.LogCaptureFixture
) -> None:
    """Nothing above that level, and the next heartbeat is tried again."""
    with caplog.at_level(logging.DEBUG, logger="tasks.vitals"):
        for _ in range(2):
            vitals.sent("idle", {"model": "m"})
        wait_for(lambda: 2 == caplog.text.count("not copied to Redis"))
    told = [record for record in caplog.records if record.name == "tasks.vitals"]
    assert {logging.DEBUG} == {record.levelno for record in told}


def test_errors_in_the_log_are_counted(vitals: Vitals) -> None:
    """Of any logger; warnings are none."""

    def counted() -> int:
        return int(vitals.tell(None, consuming=True, closed=False)[1]["logged_errors"])

    before = counted()
    logging.getLogger("elsewhere").warning("careful")
    logging.getLogger("elsewhere").error("no")
    logging.getLogger("celery.worker").critical("worse")
    assert 2 == counted() - before


@pytest.mark.parametrize(
    ("consuming", "closed", "state"),
    [(True, False, "idle"), (False, False, "draining"), (False, True, "stopping")],
)
def test_once_it_has_started_what_it_does_is_told(
    vitals: Vitals,
    noted: list[tuple[str, Mapping[str, Any]]],
    consuming: bool,
    closed: bool,
    state: str,
) -> None:
    """And that it has started is an event."""
    vitals.say_started()
    assert state == vitals.tell(None, consuming=consuming, closed=closed)[0]
    assert [("worker_started", {"model": None, "device": None})] == noted


def test_a_load_is_told_with_its_time_and_only_if_it_ends_well(
    vitals: Vitals, noted: list[tuple[str, Mapping[str, Any]]]
) -> None:
    """The state changes before it begins."""
    states: list[str] = []

    def tell() -> None:
        states.append(vitals.tell(None, consuming=True, closed=False)[0])

    with pytest.raises(RuntimeError), vitals.loading(tell):
        raise RuntimeError("no weights")
    assert [] == noted
    with vitals.loading(tell):
        pass
    assert ["loading", "loading"] == states
    (event,) = noted
    assert "model_loaded" == event[0]
    assert 0 <= event[1]["seconds"] < 60


def test_every_state_is_one_that_the_metrics_know() -> None:
    """In the order of the table of metrics."""
    from monitoring.metrics import WORKER_STATES

    assert [*WORKER_STATES] == [state.value for state in WorkerState]
