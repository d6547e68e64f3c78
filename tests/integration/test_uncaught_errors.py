"""Errors that nobody caught in real processes: lines of the log like others, without texts."""

from __future__ import annotations

import json
import os
import signal
import subprocess
from pathlib import Path

import pytest

from tasks.client import Client
from tests.stack import BIN, wait_for

CANARY = "canary-in-an-error"
SITE = f"""
import logging, threading, time

def fail():
    while not logging.getLogger().handlers:
        time.sleep(0.01)
    # Until the log is set up as a whole.
    time.sleep(0.5)
    raise ValueError("{CANARY}")

threading.Thread(target=fail, name="made-up", daemon=True).start()
"""


@pytest.mark.parametrize(
    "words",
    [
        ("celery", "-A", "tasks", "worker", "--maintenance", "-l", "INFO"),
        ("celery", "-A", "tasks", "beat", "-l", "INFO", "--pidfile=", "-s", "schedule"),
        ("honeyflow", "metrics", "--port", "0"),
    ],
    ids=["worker", "beat", "metrics"],
)
def test_an_uncaught_error_of_a_thread_is_a_line(
    broker: None, client: Client, tmp_path: Path, words: tuple[str, ...]
) -> None:
    """Of level error, with the thread's name and the place."""
    (tmp_path / "sitecustomize.py").write_text(SITE)
    log = tmp_path / "process.log"
    places = [str(tmp_path), *filter(None, [os.environ.get("PYTHONPATH")])]
    with log.open("wb") as output:
        process = subprocess.Popen(
            [BIN / words[0], *words[1:]],
            stdout=output,
            stderr=subprocess.STDOUT,
            cwd=tmp_path,
            env={**os.environ, "PYTHONPATH": os.pathsep.join(places)},
        )
    try:
        wait_for(lambda: "thread made-up" in log.read_text(), explain=log.read_text)
    finally:
        process.send_signal(signal.SIGKILL)
        process.wait()

    lines = [line for line in log.read_text().splitlines() if line.startswith("{")]
    (told,) = [one for one in map(json.loads, lines) if "made-up" in one["message"]]
    assert ("error", "monitoring.log_hooks") == (told["level"], told["logger"])
    assert "in fail" in told["traceback"]
    assert CANARY not in log.read_text()
