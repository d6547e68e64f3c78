"""Every panel shows something over a cluster that runs; those of faults show 0 and not nothing."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from monitoring.dashboards import BOARDS
from tests import prometheus
from tests.chaos.harness import YES, Cluster
from tests.integration.test_boards import filled_in
from tests.prometheus import Prometheus
from tests.stack import BIN, wait_for

NOTHING = {
    "Last canary answered": "no canaries are sent unless asked for",
    "Canaries, whole": "no canaries are sent unless asked for",
    "KV cache": "the fake engine has none",
    "Utilisation": "there is no GPU",
    "Temperature": "there is no GPU",
    "Power": "there is no GPU",
    "Memory in use": "there is no GPU",
    "Energy": "there is no GPU",
    "Last message delivered": "there is no channel",
    "From a call-off to its effect": "nothing was called off",
}
"""Panels that may show nothing here, and why."""
FAULTS = {
    "Jobs that failed",
    "Workers in trouble",
    "Share of jobs that fail",
    "Starts that failed",
    "Silent for too long",
    "Errors in the logs",
    "Slowed down",
    "Faults reported by the driver",
    "Memory errors",
    "Quarantined",
    "Firing alerts",
    "Jobs that shared another's execution",
}
SCRAPING = """
global: {{scrape_interval: 1s}}
scrape_configs:
  - job_name: honeyflow
    static_configs: [{{targets: ["{target}"]}}]
"""


@contextmanager
def exported(place: Cluster) -> Iterator[str]:
    """`honeyflow metrics` over a cluster; gives its host and port, and ends with exit code 0."""
    log = place.home / "metrics.log"
    with log.open("wb") as output:
        process = subprocess.Popen(
            [str(BIN / "honeyflow"), "metrics", "--port", "0"],
            env={**os.environ, **place.env},
            stdout=output,
            stderr=subprocess.STDOUT,
        )
    try:
        told = wait_for(
            lambda: re.search(r"metrics at http://(\S+)/metrics", log.read_text()),
            30,
            log.read_text,
        )
        yield told[1]
        process.send_signal(signal.SIGTERM)
        assert 0 == process.wait(20)
    finally:
        process.kill()
        process.wait()


def silent(asked: Prometheus) -> dict[str, str]:
    """The panels that show nothing now, and what they ask."""
    return {
        panel.title: filled_in(query.expr)
        for board in BOARDS
        for panel in board.panels
        for query in panel.queries
        if not asked.now(filled_in(query.expr))
    }


def test_every_panel_shows_a_running_cluster(place: Cluster) -> None:
    """Twice as many jobs as it takes to have a rate, a maintenance worker, and no fault."""
    if prometheus.binary("prometheus") is None:
        pytest.skip("prometheus is missing (Debian: prometheus)")
    place.script(YES)
    place.start_worker()
    place.start_worker(name="maintenance@testnode", options=["--maintenance"])
    with (
        exported(place) as target,
        prometheus.running(place.home, config=SCRAPING.format(target=target)) as asked,
    ):
        # A series that is born with its first job has no rate before the second.
        for _ in range(2):
            place.wait_all(place.submit(4), timeout=30)
            place.client.app.send_task("tasks.sweep_workers", queue="control")
            time.sleep(3)
        wait_for(lambda: set(silent(asked)) <= set(NOTHING), 30, lambda: repr(silent(asked)))
        for panel in (panel for board in BOARDS for panel in board.panels):
            if panel.title in FAULTS:
                (query,) = panel.queries
                found = asked.now(filled_in(query.expr))
                assert found, panel.title
                assert {0.0} == {float(one["value"][1]) for one in found}, panel.title

        def shown(title: str) -> dict[str, float]:
            (panel,) = (one for board in BOARDS for one in board.panels if one.title == title)
            found = asked.now(filled_in(panel.queries[0].expr))
            return {"".join(one["metric"].values()): float(one["value"][1]) for one in found}

        # Series that are born with what they tell of: nobody has failed like this before.
        place.script({"load": {"fails": "start", "message": "no such weights"}})
        assert 1 == place.start_worker(name="broken", ready=False).wait_exit()
        wait_for(
            lambda: shown("Starts that failed").get("ENGINE_START_FAILED") == 1,
            20,
            lambda: repr(shown("Starts that failed")),
        )
