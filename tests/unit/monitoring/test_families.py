"""What the heartbeats and the ledger's rows make of each family."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from ledger import Figures, Standing, WorkerRow
from monitoring.alerts.message import Kind as MessageKind
from monitoring.broker_watch import BrokerFacts
from monitoring.families import Family, broker, counted, machines, rows, workers
from monitoring.families.workers import WorkerNow
from monitoring.heartbeat import Hardware, Heartbeat, Host, Reading
from monitoring.metrics import PREFIX, WORKER_STATES
from monitoring.tally import Total
from monitoring.worker_states import state_of

BEAT = Heartbeat(
    model="spine",
    backend="cuda",
    version="1.2",
    in_flight=3,
    places=64,
    waiting=1,
    cost_per_hour=1.5,
    hardware=Hardware(gpu_name="H100"),
    host=Host(memory_available_bytes=5, memory_total_bytes=9),
    engine_up=True,
    kv_cache_usage=0.25,
    progress_at=99.0,
    logged_errors=2,
    machine_age_s=4.0,
    readings=(
        Reading(
            gpu="0",
            uuid="GPU-1",
            temperature_celsius=61.0,
            xid={"79": 1, "999": 2, "998": 1},
            throttle_seconds={"thermal": 1.5},
            ecc_errors={},
        ),
        Reading(gpu="1", uuid="GPU-2"),
    ),
)
FIGURES = Figures(
    now=1000.0,
    oldest_queued={"spine": 990.0},
    oldest_running={},
    unsealed_receipts=3,
    oldest_unsealed=900.0,
    sealed_batches=7,
    cosignatures=2,
    pending_uploads=1,
    open_reviews=4,
    oldest_open_review=1001.0,
    quarantined={"MESSAGE_SHAPE": 2, "K_OUT_OF_RANGE": 3},
    alerts_sent={("ops", "firing", "ok"): 5},
    alerts_waiting={"ops": 2},
    alerts_delivered={"ops": 980.0, "spare": None},
    noted={"beat": 995.0},
    positions={"beat.errors": 4},
)


def now(state: str = "busy", name: str = "w", beat: Heartbeat = BEAT) -> WorkerNow:
    """A worker in that state."""
    return WorkerNow(name=name, state=state, seen_at=100.0, beat=beat)


def series(families: list[Family]) -> dict[str, dict[tuple[str, ...], float]]:
    """The values of all families by short name."""
    return {one.metric.name.removeprefix(PREFIX): dict(one.values) for one in families}


def of_fleet(*fleet: WorkerNow) -> dict[str, dict[tuple[str, ...], float]]:
    """What workers and machines show."""
    return series([*workers.families(fleet), *machines.families(fleet)])


def test_a_worker_at_work_shows_all_it_said() -> None:
    """By its name, and its model where the metric has one."""
    found = of_fleet(now())
    assert found["worker_info"] == {("w", "spine", "cuda", "1.2", "H100"): 1.0}
    assert found["worker_last_heartbeat_timestamp_seconds"] == {("w",): 100.0}
    assert found["worker_slots"] == {("w", "spine"): 64}
    assert found["engine_up"] == {("w", "spine"): 1.0}
    assert found["engine_requests_running"] == {("w", "spine"): 3}
    assert found["engine_kv_cache_usage_ratio"] == {("w", "spine"): 0.25}
    assert found["gpu_temperature_celsius"] == {("w", "0"): 61.0}
    assert found["host_memory_available_bytes"] == {("w",): 5}
    assert found["machine_last_read_timestamp_seconds"] == {("w",): 96.0}
    assert found["engine_tokens_per_second"] == {}


def test_workers_are_counted_in_every_state() -> None:
    """A state without a worker is 0 and not missing; what runs on something else counts apart."""
    found = of_fleet(now("busy", "a"), now("idle", "b"), now("stopped", "c", Heartbeat()))
    assert len(found["workers"]) == 2 * len(WORKER_STATES)
    busy = {labels for labels, value in found["workers"].items() if value}
    assert busy == {
        ("spine", "cuda", "busy"),
        ("spine", "cuda", "idle"),
        ("none", "none", "stopped"),
    }


def test_errors_of_those_that_send_no_heartbeats_are_beside_the_workers() -> None:
    """By their names; who tells of none has none."""
    found = series(workers.families([now(), now(name="x", beat=Heartbeat())], {"beat": 4}))
    assert found["logged_errors_total"] == {("w",): 2, ("beat",): 4}


def test_a_stopped_worker_has_no_series_of_its_own() -> None:
    """Only the count of stopped ones."""
    found = of_fleet(now("stopped"))
    assert {name for name, values in found.items() if values} == {"workers"}


@pytest.mark.parametrize("state", ["stale", "failed"])
def test_one_that_is_gone_shows_what_is_still_true(state: str) -> None:
    """When it was heard of, that its engine is down, and what it had counted: not its gauges."""
    found = of_fleet(now(state))
    heard = found.pop("worker_last_heartbeat_timestamp_seconds")
    # One that has failed has said so: it is not silent.
    assert heard == ({} if state == "failed" else {("w",): 100.0})
    assert found["engine_up"] == {("w", "spine"): 0.0}
    shown = {name for name, values in found.items() if values}
    assert shown == {
        "worker_info",
        "workers",
        "logged_errors_total",
        "engine_up",
        "gpu_xid_errors_total",
        "gpu_throttle_seconds_total",
        "gpu_ecc_errors_total",
    }


def test_faults_have_a_closed_set_of_names_and_begin_at_nothing() -> None:
    """Rare ones share a series; a card that tells nothing has none."""
    found = of_fleet(now())
    assert len(found["gpu_xid_errors_total"]) == len(machines.XIDS) + 1
    seen = {labels: value for labels, value in found["gpu_xid_errors_total"].items() if value}
    assert seen == {("w", "0", "other"): 3, ("w", "0", "79"): 1}
    assert found["gpu_throttle_seconds_total"] == {
        ("w", "0", "thermal"): 1.5,
        ("w", "0", "power"): 0,
        ("w", "0", "hw"): 0,
    }
    assert found["gpu_ecc_errors_total"] == {
        ("w", "0", "corrected"): 0,
        ("w", "0", "uncorrected"): 0,
    }


def test_a_worker_without_a_model_has_no_engine() -> None:
    """The maintenance worker is there and counts among its own kind."""
    found = of_fleet(now("idle", "maintenance", Heartbeat(version="1.2")))
    assert found["workers"]["none", "none", "idle"] == 1
    assert not any(values for name, values in found.items() if name.startswith("engine_"))


@pytest.mark.parametrize(
    ("told", "leased", "state"),
    [
        ("busy", True, "busy"),
        ("busy", False, "stale"),
        ("draining", False, "stale"),
        ("stopped", False, "stopped"),
        ("failed", False, "failed"),
        ("stale", True, "stale"),
        ("something newer", True, "starting"),
    ],
)
def test_a_state_is_what_was_said_unless_the_lease_says_otherwise(
    told: str, leased: bool, state: str
) -> None:
    """A killed worker said nothing of it; its lease is over."""
    row = WorkerRow(
        worker="w", node="n", session="s", state=told, facts={}, seen_at=1.0, drain=False
    )
    assert state_of(Standing(worker=row, leased=leased)) == state


def test_ages_are_those_of_the_ledgers_clock() -> None:
    """Each model has one; nothing waits for a negative time."""
    found = series(rows.families(FIGURES, ["spine", "chest"]))
    assert found["oldest_queued_job_age_seconds"] == {("spine",): 10.0, ("chest",): 0.0}
    assert found["oldest_running_job_age_seconds"] == {("spine",): 0.0, ("chest",): 0.0}
    assert found["review_oldest_open_age_seconds"] == {(): 0.0}


def test_models_beyond_the_first_share_the_oldest_age() -> None:
    """As where their jobs are counted; the names that a series may have stay few."""
    since = {f"m{number}": 990.0 - number for number in range(100)}
    found = series(rows.families(replace(FIGURES, oldest_queued=since), ["spine"]))
    ages = found["oldest_queued_job_age_seconds"]
    assert len(ages) == 65
    assert ages["other",] == 109.0
    assert ages["spine",] == 0.0


def test_what_was_never_done_has_no_moment() -> None:
    """A beat that never ran is absent, which is not 1970; an empty log's oldest receipt is 0."""
    found = series(rows.families(FIGURES, []))
    assert found["beat_last_run_timestamp_seconds"] == {(): 995.0}
    assert found["reconciler_last_run_timestamp_seconds"] == {}
    assert found["receipts_oldest_unsealed_timestamp_seconds"] == {(): 900.0}
    empty = series(rows.families(replace(FIGURES, oldest_unsealed=None), []))
    assert empty["receipts_oldest_unsealed_timestamp_seconds"] == {(): 0.0}


def test_flaws_of_messages_are_there_before_the_first() -> None:
    """Those of submissions share a series."""
    found = series(rows.families(FIGURES, []))["quarantined_messages_total"]
    assert found["MESSAGE_SHAPE",] == 2
    assert found["other",] == 3
    assert found["SIGNATURE_INVALID",] == 0


def test_every_outcome_of_a_channel_is_there_before_the_first() -> None:
    """Of every channel that was used, has something to tell, or is configured."""
    new = series(rows.families(FIGURES, [], ["new"]))
    assert new["alerts_sent_total"]["new", "firing", "failed"] == 0
    assert new["alert_outbox_length"]["new",] == 0
    assert ("new",) not in new["alert_last_delivery_timestamp_seconds"]
    found = series(rows.families(FIGURES, []))
    assert tuple(MessageKind) == rows.ALERT_KINDS
    assert len(found["alerts_sent_total"]) == 2 * len(rows.ALERT_KINDS) * len(rows.ALERT_OUTCOMES)
    assert found["alerts_sent_total"]["ops", "firing", "ok"] == 5
    assert found["alert_outbox_length"] == {("ops",): 2, ("spare",): 0}
    assert found["alert_last_delivery_timestamp_seconds"] == {("ops",): 980.0}


@pytest.mark.parametrize(
    ("facts", "shown"),
    [
        (BrokerFacts(), {}),
        (BrokerFacts(up=0), {"broker_up": 0}),
        (
            BrokerFacts(up=1, memory_used_bytes=9, memory_max_bytes=0, aof_enabled=1),
            {
                "broker_up": 1,
                "broker_memory_used_bytes": 9,
                "broker_memory_max_bytes": 0,
                "broker_aof_enabled": 1,
            },
        ),
    ],
    ids=["not asked yet", "away", "there"],
)
def test_a_broker_shows_what_it_said(facts: BrokerFacts, shown: dict[str, Any]) -> None:
    """One that is away is 0 and has nothing else."""
    found = series(broker.families(facts))
    assert {name: values[()] for name, values in found.items() if values} == shown


def test_what_was_counted_is_shown_by_metric() -> None:
    """A histogram with its counts; a total of another version is left out."""
    found = counted.families(
        {
            ("swarmos_jobs_total", ("succeeded", "spine")): Total(4.0),
            ("swarmos_k_samples_used", ("spine",)): Total(9.0, (0, 0, 3)),
            ("swarmos_gone_total", ()): Total(1.0),
        },
        canaries=True,
    )
    by_name = {one.metric.name: one for one in found}
    assert by_name["swarmos_jobs_total"].values == {("succeeded", "spine"): 4.0}
    assert by_name["swarmos_k_samples_used"].counts == {("spine",): (0, 0, 3)}
    assert "swarmos_gone_total" not in by_name


@pytest.mark.parametrize("sent", [True, False])
def test_the_last_canary_is_told_only_where_any_are_sent(sent: bool) -> None:
    """Where they were given up it would seem overdue for ever."""
    name = "swarmos_canary_last_success_timestamp_seconds"
    found = counted.families({(name, ("spine",)): Total(1700.0)}, canaries=sent)
    (shown,) = (one.values for one in found if one.metric.name == name)
    assert shown == ({("spine",): 1700.0} if sent else {})
