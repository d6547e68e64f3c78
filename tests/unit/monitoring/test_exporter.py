"""A scrape has every metric of the table, none beside it, and not too many series."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from prometheus_client.openmetrics.parser import text_string_to_metric_families

from benchmarks.big_ledgers import GPUS, MODELS, WORKERS, heartbeat
from ledger import Ledger, alert_channels, bookmarks, quarantine, sessions, workers
from ledger.alert_channels import ChannelRow
from monitoring.broker_watch import BrokerFacts
from monitoring.exporter import Counted, Exporter
from monitoring.log_counter import BEAT_ERRORS
from monitoring.metrics import METRICS, OTHER, Kind
from monitoring.series import at_rest
from monitoring.tally import Series, Total

MOST_SERIES = 12_000
REASONS = ("NO_MODEL", "GPU_TOO_SMALL", "OUT_OF_MEMORY", "ENGINE_UNKNOWN")
BROKER = BrokerFacts(
    up=1, memory_used_bytes=9, memory_max_bytes=0, aof_enabled=1, connected_clients=40
)

PROMTOOL_COMPLAINTS: dict[str, str] = {}
"""Lines of `promtool check metrics` that are meant, and why; it finds nothing by now."""


@pytest.fixture(scope="module")
def filled(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A ledger that knows 32 workers and three channels, to be copied."""
    path = tmp_path_factory.mktemp("filled") / "ledger.db"
    with Ledger.open(f"sqlite:///{path}", migrate=True) as opened, opened.write() as tx:
        for number, worker in enumerate(WORKERS):
            session = sessions.open(
                tx,
                worker=worker,
                node="node",
                pid=1,
                pid_started=1.0,
                pid_namespace="",
                boot_id="boot",
                lease_s=3600.0,
            ).id
            facts = heartbeat(number).to_facts()
            workers.beat(tx, worker=worker, session=session, state="busy", facts=facts)
        for channel in ("discord", "telegram", "webhook"):
            alert_channels.note(tx, ChannelRow(channel=channel, delivered_at=tx.now))
        quarantine.add(tx, queue="q", reason="SOMETHING_ELSE", detail="", data=b"x", worker="w")
    return path


@pytest.fixture
def ledger(filled: Path, tmp_path: Path) -> Iterator[Ledger]:
    """A copy of it."""
    path = shutil.copy(filled, tmp_path / "ledger.db")
    with Ledger.open(f"sqlite:///{path}") as opened:
        yield opened


def everything() -> dict[Series, Total]:
    """Every series that can be counted."""
    totals = at_rest(models=[*MODELS, OTHER], workers=[*WORKERS, OTHER])
    for worker in (*WORKERS, OTHER):
        for reason in REASONS:
            totals["swarmos_worker_start_failures_total", (worker, reason)] = Total(1.0)
    for model in MODELS:
        totals["swarmos_canary_last_success_timestamp_seconds", (model,)] = Total(1.0)
    return totals


def exporter(ledger: Ledger, totals: dict[Series, Total]) -> Exporter:
    """One that shows these totals."""
    return Exporter(
        ledger,
        counted=lambda: Counted(totals=totals, lag=0),
        broker_facts=lambda: BROKER,
        models=MODELS,
        version="1.2.3",
        canaries=True,
        limits={"WorkerStale": 60.0},
    )


def test_errors_of_beat_and_of_the_exporter_are_exported(ledger: Ledger) -> None:
    """Those of beat from the ledger, 0 before there are any; its own only if it knows them."""

    def shown(**more: Any) -> dict[str, float]:
        made = Exporter(
            ledger,
            counted=lambda: Counted(totals={}, lag=0),
            broker_facts=lambda: BROKER,
            version="1.2.3",
            **more,
        )
        (found,) = [one for one in made.collect() if one.name == "swarmos_logged_errors"]
        return {s.labels["worker"]: s.value for s in found.samples if s.name.endswith("_total")}

    before = shown()
    with ledger.write() as tx:
        bookmarks.move(tx, BEAT_ERRORS, expected=0, to=7)

    assert (0, 7) == (before["beat"], shown()["beat"])
    assert "metrics" not in before
    assert 3 == shown(logged_errors=lambda: 3)["metrics"]


def test_every_metric_of_the_table_is_exported_and_none_beside_it(ledger: Ledger) -> None:
    """With its kind and its help, and its own labels on each series."""
    text, content_type = exporter(ledger, everything()).text("application/openmetrics-text")
    assert content_type.startswith("application/openmetrics-text; version=1.0.0")
    read = {family.name: family for family in text_string_to_metric_families(text.decode())}
    named = {
        metric.name.removesuffix("_total") if metric.kind is Kind.COUNTER else metric.name: metric
        for metric in METRICS
    }
    assert read.keys() == named.keys()
    for name, metric in named.items():
        found = read[name]
        assert (found.type, found.documentation) == (str(metric.kind), metric.help)
        labels = {frozenset(sample.labels) - {"le"} for sample in found.samples}
        assert labels <= {frozenset(metric.labels)}
    without = {name for name, family in read.items() if not family.samples}
    # Nobody has noted these two yet.
    assert without == {
        "swarmos_beat_last_run_timestamp_seconds",
        "swarmos_reconciler_last_run_timestamp_seconds",
    }


def test_a_cluster_has_at_most_twelve_thousand_series(ledger: Ledger) -> None:
    """Eight models and 32 workers of eight GPUs, each of which has failed in several ways."""
    assert (len(MODELS), len(WORKERS), GPUS) == (8, 32, 8)
    text, _ = exporter(ledger, everything()).text()
    series = sum(not line.startswith(b"#") for line in text.splitlines())
    assert 7_000 < series <= MOST_SERIES


def test_promtool_finds_nothing_to_complain_about(ledger: Ledger) -> None:
    """Names, units, suffixes and help texts."""
    promtool = shutil.which("promtool")
    if promtool is None:
        pytest.skip("promtool is not installed (Debian package prometheus)")
    text, content_type = exporter(ledger, everything()).text()
    assert content_type.startswith("text/plain; version=0.0.4")
    checked = subprocess.run(
        [promtool, "check", "metrics"], input=text, capture_output=True, timeout=60
    )
    found = (checked.stdout + checked.stderr).decode().splitlines()
    assert [] == [line for line in found if line not in PROMTOOL_COMPLAINTS]
    assert checked.returncode == 0 or PROMTOOL_COMPLAINTS


@pytest.mark.parametrize(
    ("accept", "openmetrics"),
    [
        ("", False),
        ("*/*", False),
        ("text/plain;version=0.0.4", False),
        ("application/openmetrics-text", True),
        ("application/openmetrics-text;version=1.0.0;q=0.5,text/plain;q=0.3", True),
        ("application/openmetrics-text;version=x", False),
        ("application/vnd.google.protobuf,text/plain;version=x", False),
    ],
)
def test_a_scraper_gets_the_format_that_it_accepts(
    ledger: Ledger, accept: str, openmetrics: bool
) -> None:
    """And plain text where what it says cannot be understood."""
    text, content_type = exporter(ledger, {}).text(accept)
    assert text.endswith(b"# EOF\n") is openmetrics
    assert ("openmetrics" in content_type) is openmetrics


def test_a_killed_worker_is_not_busy_when_its_lease_is_over(ledger: Ledger) -> None:
    """It said that it was, and nothing since; a forgotten one is gone altogether."""
    shown = exporter(ledger, {})
    assert b'swarmos_workers{backend="cuda",model="model-0",state="busy"} 4.0' in shown.text()[0]
    with ledger.write() as tx:
        row = next(row for row in workers.list(tx) if row.worker == WORKERS[0])
        assert row.session is not None
        sessions.close(tx, row.session, crashed=True, reason="the process died")
    text = shown.text()[0]
    assert b'swarmos_workers{backend="cuda",model="model-0",state="busy"} 3.0' in text
    assert b'swarmos_workers{backend="cuda",model="model-0",state="stale"} 1.0' in text
    assert b'swarmos_engine_up{model="model-0",worker="host0-gpu0"} 0.0' in text
    assert b'swarmos_worker_last_heartbeat_timestamp_seconds{worker="host0-gpu0"}' in text
    assert b'swarmos_worker_slots{model="model-0",worker="host0-gpu0"}' not in text
    with ledger.write() as tx:
        assert workers.forget(tx, WORKERS[0])
    assert b'worker="host0-gpu0"' not in shown.text()[0]


def test_a_heartbeat_is_shown_with_the_next_scrape(ledger: Ledger) -> None:
    """Not the one before it, which was read already."""
    shown = exporter(ledger, {})
    slots = b'swarmos_engine_requests_running{model="model-0",worker="host0-gpu0"} %d.0'
    assert slots % 60 in shown.text()[0]
    with ledger.write() as tx:
        row = next(row for row in workers.list(tx) if row.worker == WORKERS[0])
        assert row.session is not None
        facts = replace(heartbeat(0), in_flight=7).to_facts()
        workers.beat(tx, worker=WORKERS[0], session=row.session, state="busy", facts=facts)
    assert slots % 7 in shown.text()[0]
