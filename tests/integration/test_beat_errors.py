"""What beat logs of level error is counted, whatever is away, and is exported with the rest."""

from __future__ import annotations

import json
import os
import signal
import subprocess
from pathlib import Path

from ledger import bookmarks
from monitoring.log_counter import BEAT_ERRORS
from tasks.client import Client
from tests.integration.test_metrics_command import Exporter
from tests.stack import BIN, wait_for


def beat_without_redis(log: Path) -> int:
    """Run a beat until it has told that Redis is away; gives how often it has."""
    words = ["celery", "-A", "tasks", "beat", "-l", "INFO", "--pidfile=", "-s", f"{log}.schedule"]
    with log.open("wb") as output:
        process = subprocess.Popen(
            [BIN / words[0], *words[1:]],
            stdout=output,
            stderr=subprocess.STDOUT,
            env={**os.environ, "HONEYFLOW_REDIS_URL": "redis://127.0.0.1:1/0"},
        )
    try:
        wait_for(lambda: "Connection error" in log.read_text())
        process.send_signal(signal.SIGTERM)
        assert 0 == process.wait(20)
    finally:
        process.kill()
        process.wait()
    lines = [json.loads(line) for line in log.read_text().splitlines() if line.startswith("{")]
    return sum(line["level"] == "error" for line in lines)


def counted(client: Client) -> int:
    """How many the ledger has."""
    with client.ledger.read() as tx:
        found = bookmarks.get(tx, BEAT_ERRORS)
    return 0 if found is None else found.position


def test_errors_of_beat_are_counted_on_from_one_to_the_next(
    broker: None, client: Client, home: Path, tmp_path: Path
) -> None:
    """Up to the last one of each, and shown beside the exporter's own."""
    before = counted(client)

    logged = [beat_without_redis(tmp_path / f"beat{number}.log") for number in range(2)]

    assert all(logged)
    assert before + sum(logged) == counted(client)
    exporter = Exporter(home)
    try:
        exporter.wait_ready()
        wait_for(lambda: exporter.role() == "leader")
        found = exporter.samples()
    finally:
        exporter.process.kill()
        exporter.process.communicate()
    shown = {
        dict(labels)["worker"]: value
        for (name, labels), value in found.items()
        if name == "swarmos_logged_errors_total"
    }
    assert (before + sum(logged), 0) == (shown["beat"], shown["metrics"])
