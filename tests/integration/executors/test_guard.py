"""No engine outlives its worker, however the worker ends."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import psutil
import pytest

from executors.guard import Guard
from executors.guard_process import start_time
from tests.stack import wait_for

WORKER = Path(__file__).with_name("hold_process.py")


@pytest.fixture
def worker() -> Iterator[Any]:
    """Start small workers; whatever is left of them is killed after the test."""
    started: list[tuple[subprocess.Popen[str], dict[str, Any]]] = []

    def begin() -> tuple[subprocess.Popen[str], dict[str, Any]]:
        process = subprocess.Popen([sys.executable, str(WORKER)], stdout=subprocess.PIPE, text=True)
        assert process.stdout is not None
        line = ""
        while not line.startswith("{"):
            line = process.stdout.readline()
            assert line, "the worker ended before it was ready"
        started.append((process, json.loads(line)))
        return started[-1]

    yield begin
    for process, told in started:
        process.kill()
        process.wait()
        assert process.stdout is not None
        process.stdout.close()
        for pid in [*told["watched"], told["guard"]]:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)


def _gone(pids: list[int], *, within_s: float) -> bool:
    deadline = time.monotonic() + within_s
    while time.monotonic() < deadline:
        if all(start_time(pid) is None for pid in pids):
            return True
        time.sleep(0.02)
    return False


def _ignores(pid: int, number: signal.Signals) -> bool:
    status = Path(f"/proc/{pid}/status").read_text()
    (mask,) = (line.split()[1] for line in status.splitlines() if line.startswith("SigIgn"))
    return bool(int(mask, 16) & 1 << (number - 1))


def test_a_killed_worker_leaves_no_process_behind(worker: Any) -> None:
    """SIGKILL of the worker ends the watched process, its child and the guard itself."""
    process, told = worker()
    assert len(told["watched"]) == 2

    process.kill()

    assert _gone([*told["watched"], told["guard"]], within_s=5.0)


def test_the_guard_outlives_a_signal_to_the_whole_group(worker: Any) -> None:
    """Signals that end a terminal's or a supervisor's processes do not end the guard first."""
    process, told = worker()
    wait_for(lambda: _ignores(told["guard"], signal.SIGQUIT))
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        os.kill(told["guard"], number)
    time.sleep(0.1)
    assert start_time(told["guard"]) is not None
    assert os.getsid(told["guard"]) != os.getsid(process.pid)

    process.kill()

    assert _gone(told["watched"], within_s=5.0)


def test_a_closed_guard_kills_what_is_left_and_ends() -> None:
    """`close` is for a worker that lives on; it can be called twice."""
    guard = Guard()
    left = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
    guard.watch(left.pid)
    guard.watch(left.pid)

    guard.close()
    guard.close()

    assert left.wait(timeout=5) == -signal.SIGKILL
    assert start_time(guard.pid) is None


def test_a_process_with_a_reused_pid_is_not_hit() -> None:
    """A process that started at another time than announced is somebody else's."""
    guard = Guard()
    stranger = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
    assert guard._process.stdin is not None
    guard._process.stdin.write(f"watch {stranger.pid} 1\n".encode())

    guard.close()

    assert stranger.poll() is None
    stranger.kill()
    stranger.wait()


def test_the_guard_is_small() -> None:
    """It waits for as long as a worker lives, so it may not hold much."""
    guard = Guard()
    try:
        # It has started up once it has taken its signals.
        wait_for(lambda: _ignores(guard.pid, signal.SIGQUIT))
        assert psutil.Process(guard.pid).memory_info().rss < 20 * 1024**2
    finally:
        guard.close()
