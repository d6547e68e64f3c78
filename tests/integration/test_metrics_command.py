"""`honeyflow metrics` over a real cluster: exact, in turn, and soon right after a kill -9."""

from __future__ import annotations

import http.client
import json
import os
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from prometheus_client.parser import text_string_to_metric_families

from ledger import TERMINAL, jobs
from tasks.client import Client
from tests.stack import BIN, Worker, wait_for

AS_SHIPPED = "lease_s=15,renew_s=5,heartbeat_s=30"
MODELS = ("fake-a", "fake-b")
"""Jobs of others, which other tests ask for in vain, are counted as `other`."""
MOST_S = 20.0
"""How long a killed worker may be shown as busy."""

Samples = dict[tuple[str, frozenset[tuple[str, str]]], float]


class Exporter:
    """One `honeyflow metrics` process on a port of its own."""

    def __init__(self, home: Path, *options: str) -> None:
        self.process = subprocess.Popen(
            [str(BIN / "honeyflow"), "metrics", "--port", "0", *options],
            env={**os.environ, "HONEYFLOW_CONFIG": str(home / "honeyflow.toml")},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        self.port = 0

    def wait_ready(self) -> Exporter:
        """Wait until it listens."""
        assert self.process.stdout is not None
        for line in self.process.stdout:
            if line.startswith("metrics at "):
                self.port = int(line.rpartition(":")[2].removesuffix("/metrics\n"))
                return self
        raise AssertionError(f"it ended with {self.process.wait()}")

    def get(self, path: str) -> tuple[int, str]:
        """The status and the text of one answer."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=10)
        try:
            connection.request("GET", path)
            answer = connection.getresponse()
            return answer.status, answer.read().decode()
        finally:
            connection.close()

    def role(self) -> str:
        """What it says that it does."""
        return str(json.loads(self.get("/healthz")[1])["role"])

    def samples(self) -> Samples:
        """All series of one scrape."""
        status, text = self.get("/metrics")
        assert status == 200, text
        return {
            (sample.name, frozenset(sample.labels.items())): sample.value
            for family in text_string_to_metric_families(text)
            for sample in family.samples
        }


@pytest.fixture
def export(home: Path, client: Client) -> Iterator[Callable[[], Exporter]]:
    """Start exporters that end with the test; they are not ready yet."""
    started: list[Exporter] = []

    def begin() -> Exporter:
        one = Exporter(home)
        started.append(one)
        return one

    yield begin
    for one in started:
        one.process.kill()
        one.process.wait()
        assert one.process.stdout is not None
        one.process.stdout.close()


def workers_in(samples: Samples, state: str) -> float:
    """How many workers of the model are in a state."""
    labels = {"model": "fake-a", "backend": "cpu", "state": state}
    return samples["swarmos_workers", frozenset(labels.items())]


def test_a_killed_worker_is_not_busy_within_twenty_seconds(
    start: Callable[..., Worker], export: Callable[[], Exporter], client: Client
) -> None:
    """With the timers as shipped; its heartbeat's time stays, its gauges go, its engine is down."""
    slow: dict[str, Any] = {"rules": [{"answers": [{"text": "word " * 400}], "token_s": 0.3}]}
    exporters = [export(), export()]
    worker = start(script=slow, env={"HONEYFLOW_TIMING": AS_SHIPPED})
    client.submit(model="fake-a", prompt="Is there a fracture?")
    both = [one.wait_ready() for one in exporters]
    wait_for(lambda: sorted(one.role() for one in both) == ["leader", "standby"])
    leader, standby = sorted(both, key=Exporter.role)
    wait_for(lambda: workers_in(leader.samples(), "busy") == 1)
    # Of other tests, in the same ledger.
    others = workers_in(leader.samples(), "stale")
    named = next(
        dict(labels)["worker"]
        for (name, labels), _ in leader.samples().items()
        if name == "swarmos_worker_slots" and ("model", "fake-a") in labels
    )

    worker.signal(signal.SIGKILL)
    killed = time.monotonic()
    wait_for(lambda: workers_in(leader.samples(), "busy") == 0, timeout=MOST_S)
    assert time.monotonic() - killed <= MOST_S

    found = leader.samples()
    assert workers_in(found, "stale") == others + 1
    shown = {name: value for (name, labels), value in found.items() if ("worker", named) in labels}
    assert time.time() - shown["swarmos_worker_last_heartbeat_timestamp_seconds"] < 60
    assert shown["swarmos_engine_up"] == 0
    assert not {"swarmos_worker_slots", "swarmos_engine_requests_running"} & shown.keys()

    status, sentence = standby.get("/metrics")
    assert (status, standby.role()) == (503, "standby")
    assert "stands by" in sentence
    leader.process.send_signal(signal.SIGTERM)
    assert leader.process.wait(20) == 0
    wait_for(lambda: standby.role() == "leader", timeout=5)
    assert workers_in(standby.samples(), "stale") == others + 1


def test_what_is_scraped_equals_the_ledger(
    start: Callable[..., Worker], export: Callable[[], Exporter], client: Client, home: Path
) -> None:
    """For every known model and status; a second one has no port left."""
    exporter = export()
    start(script={"rules": [{"answers": [{"text": "yes"}]}]})
    for number in range(3):
        client.submit(model="fake-a", prompt=f"Question {number}?").result(timeout_s=30)
    exporter.wait_ready()
    wait_for(lambda: exporter.role() == "leader")

    def counted() -> bool:
        with client.ledger.read() as tx:
            true = {
                (model, str(state)): many
                for (model, state), many in jobs.counts(tx).items()
                if state in TERMINAL and model in MODELS
            }
        shown = {
            (dict(labels)["model"], dict(labels)["status"]): value
            for (name, labels), value in exporter.samples().items()
            if name == "swarmos_jobs_total" and value and dict(labels)["model"] in MODELS
        }
        return shown == true

    wait_for(counted, timeout=10)
    found = exporter.samples()
    assert found["swarmos_broker_up", frozenset()] == 1
    assert found["swarmos_broker_aof_enabled", frozenset()] == 1

    second = subprocess.run(
        [str(BIN / "honeyflow"), "metrics", "--port", str(exporter.port)],
        env={**os.environ, "HONEYFLOW_CONFIG": str(home / "honeyflow.toml")},
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert second.returncode == 1
    assert "METRICS_ADDRESS_UNUSABLE" in second.stderr
    assert "Traceback" not in second.stderr
