"""Processes that a benchmark starts, measures and ends, with everything below them."""

from __future__ import annotations

import signal
import subprocess
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from types import FrameType

import psutil

STOP_TIMEOUT_S = 40.0


def family(pid: int) -> list[psutil.Process]:
    """A process and all its descendants that still run."""
    try:
        process = psutil.Process(pid)
        return [process, *process.children(recursive=True)]
    except psutil.NoSuchProcess:
        return []


def cpu_seconds(pids: Iterable[int]) -> float:
    """CPU seconds, user and system, that these processes and their descendants have used."""
    total = 0.0
    for process in (member for pid in pids for member in family(pid)):
        try:
            times = process.cpu_times()
        except psutil.NoSuchProcess:
            continue
        total += times.user + times.system
    return total


def stop(process: subprocess.Popen[bytes], *, timeout_s: float = STOP_TIMEOUT_S) -> None:
    """End a process as its user would, then whatever is left of its family by force."""
    members = family(process.pid)
    if process.poll() is None:
        # A stopped process does not hear that it shall end.
        process.send_signal(signal.SIGCONT)
        process.terminate()
    try:
        process.wait(timeout_s)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
    finally:
        for member in members:
            try:
                member.kill()
            except psutil.NoSuchProcess:
                continue


@contextmanager
def paused(process: subprocess.Popen[bytes]) -> Iterator[None]:
    """Hold a process still while its queue is filled; it goes on at the end of the block."""
    process.send_signal(signal.SIGSTOP)
    try:
        yield
    finally:
        process.send_signal(signal.SIGCONT)


def end_on_sigterm() -> None:
    """Let SIGTERM unwind this process, as Ctrl-C does, so that nothing it started is left."""

    def unwind(number: int, _frame: FrameType | None) -> None:
        raise SystemExit(128 + number)

    signal.signal(signal.SIGTERM, unwind)
