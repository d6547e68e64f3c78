"""The processes of a test: found by a mark in their environment, however they were started."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import psutil

HOME = "HONEYFLOW_CHAOS_HOME"
OWNER = "HONEYFLOW_CHAOS_OWNER"


def marks(home: Path) -> dict[str, str]:
    """What every process of a home has in its environment, and its children after it."""
    own = psutil.Process()
    # A title that Celery sets would be written over the environment.
    return {HOME: str(home), OWNER: f"{own.pid}:{own.create_time()}", "SPT_NOENV": "1"}


def of_home(home: Path) -> list[psutil.Process]:
    """The living processes of a home."""
    return [process for process, told in _marked() if told == str(home)]


def send(pid: int, number: signal.Signals) -> None:
    """Signal one process, if it is still there."""
    try:
        os.kill(pid, number)
    except ProcessLookupError:
        pass


def send_group(pid: int, number: signal.Signals) -> None:
    """Signal the process group that a process leads: the worker and its engine's children."""
    try:
        os.killpg(pid, number)
    except ProcessLookupError:
        pass


def end_all(home: Path, *, patience_s: float = 5.0) -> list[str]:
    """Kill all processes of a home by their groups; gives those that are still there."""
    until = time.monotonic() + patience_s
    while left := of_home(home):
        for process in left:
            try:
                group = os.getpgid(process.pid)
            except ProcessLookupError:
                continue
            # Its own group only: a child that made none belongs to a worker's, never to ours.
            if group != os.getpgid(0):
                send_group(group, signal.SIGKILL)
        if time.monotonic() > until:
            return [shown(process) for process in left]
        time.sleep(0.05)
    return []


def reap_orphans() -> None:
    """End what a test run left behind that was itself killed."""
    for process, _ in list(_marked()):
        try:
            owner, began = process.environ()[OWNER].split(":")
            alive = psutil.Process(int(owner)).create_time() == float(began)
        except psutil.NoSuchProcess:
            alive = False
        except (psutil.Error, KeyError, ValueError):
            continue
        if not alive:
            send(process.pid, signal.SIGKILL)


def shown(process: psutil.Process) -> str:
    """A process in words."""
    try:
        return f"{process.pid} {' '.join(process.cmdline())[:120]}"
    except psutil.Error:
        return f"{process.pid} (gone)"


def _marked() -> Iterator[tuple[psutil.Process, str]]:
    for process in psutil.process_iter():
        if process.pid == os.getpid():
            continue
        try:
            told = process.environ().get(HOME)
            if told is not None and process.status() != psutil.STATUS_ZOMBIE:
                yield process, told
        except psutil.Error:
            continue
