"""Keeping a worker's engine from outliving it, also when the worker is killed with SIGKILL.

An engine in a process of its own holds a GPU's memory for as long as it lives, and nothing in it
notices that its parent is gone. A `Guard` is a small process (`guard_process.py`) in a session of
its own, which holds the reading end of a pipe. The worker alone holds the writing end,
close-on-exec, so that it closes however the worker ends. Then the guard kills what the worker
announced.
"""

from __future__ import annotations

import contextlib
import logging
import os
import subprocess
import sys
from pathlib import Path

from executors.guard_process import start_time

logger = logging.getLogger(__name__)

PROGRAM = Path(__file__).with_name("guard_process.py")
CLOSE_TIMEOUT_S = 10.0


class Guard:
    """A running guard process. Make it before the process that it is to watch."""

    def __init__(self) -> None:
        # Isolated and without site packages: quick to start, and small for as long as it waits.
        self._process = subprocess.Popen(
            [sys.executable, "-I", "-S", str(PROGRAM), str(os.getpid())],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            start_new_session=True,
        )
        self._watched: set[int] = set()

    @property
    def pid(self) -> int:
        """The guard's own process id."""
        return self._process.pid

    def watch(self, pid: int) -> None:
        """Have this process and its descendants killed when this one is gone; idempotent."""
        started = start_time(pid)
        if pid in self._watched or started is None or self._process.stdin is None:
            return
        self._watched.add(pid)
        try:
            self._process.stdin.write(f"watch {pid} {started}\n".encode("ascii"))
            self._process.stdin.flush()
        except BrokenPipeError:
            logger.warning(
                "the guard process is gone; a killed worker would leave its engine behind",
                extra={"action": "guard_lost", "guard_pid": self.pid},
            )

    def close(self) -> None:
        """Have whatever still runs of the watched killed now, and end the guard; idempotent."""
        if self._process.stdin is not None and not self._process.stdin.closed:
            with contextlib.suppress(BrokenPipeError):
                self._process.stdin.close()
        try:
            self._process.wait(timeout=CLOSE_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
