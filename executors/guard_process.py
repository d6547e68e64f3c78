"""The guard's own program: when the worker is gone, kill what it was told to.

It is run by path in an isolated interpreter, so it imports nothing of this project and little else,
and holds about ten megabytes. It reads lines `watch <pid> <start time>` from standard input.

1. The worker is gone when its pipe closes, or when the process itself is (its pipe may live on in
   some child that forked).
2. What is killed is each watched process that still has the start time it was announced with, so
   that a reused pid is never hit, and all of its descendants at that moment.
3. It ignores the signals that end a group of processes: it must outlive the worker.
"""

from __future__ import annotations

import os
import select
import signal
import sys
from pathlib import Path

ROUNDS = 5

Process = tuple[int, str]


def start_time(pid: int) -> str | None:
    """When a process started, in clock ticks since boot; None if it is gone or a zombie."""
    fields = _stat(pid)
    return None if fields is None or fields[0] in ("Z", "X") else fields[19]


def descendants(roots: set[Process]) -> set[Process]:
    """The processes below these that run now."""
    parents: dict[int, int] = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            fields = _stat(int(entry.name))
            if fields is not None:
                parents[int(entry.name)] = int(fields[1])
    family = {pid for pid, started in roots if start_time(pid) == started}
    grown = True
    while grown:
        below = {pid for pid, parent in parents.items() if parent in family} - family
        family |= below
        grown = bool(below)
    return {(pid, started) for pid in family if (started := start_time(pid)) is not None}


def kill(process: Process) -> None:
    """SIGKILL a process that is still the one meant."""
    pid, started = process
    try:
        handle = os.pidfd_open(pid)
    except OSError:
        return
    try:
        # The handle pins the process: if the start time is right now, the signal cannot go astray.
        if start_time(pid) == started:
            signal.pidfd_send_signal(handle, signal.SIGKILL)
    except OSError:
        pass
    finally:
        os.close(handle)


def wait_for_the_end(worker: int) -> set[Process]:
    """Collect what is to be watched until the worker is gone."""
    watched: set[Process] = set()
    buffer = b""
    poller = select.poll()
    poller.register(0, select.POLLIN | select.POLLHUP)
    try:
        handle = os.pidfd_open(worker)
        poller.register(handle, select.POLLIN)
    except OSError:
        # Gone already, or an old kernel: the pipe tells.
        handle = -1
    while True:
        ready = {descriptor for descriptor, _ in poller.poll()}
        if 0 in ready:
            data = os.read(0, 4096)
            *lines, buffer = (buffer + data).split(b"\n")
            for line in lines:
                _, pid, started = line.decode("ascii").split()
                watched.add((int(pid), started))
            if not data:
                return watched
        elif handle in ready:
            return watched


def main(worker: int) -> None:
    """Wait for the worker's end, then leave nothing of what it told us about."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT):
        signal.signal(number, signal.SIG_IGN)
    os.chdir("/")
    watched = wait_for_the_end(worker)
    # A dying parent may still start a child between the look and the kill, so look again.
    family = descendants(watched)
    for _ in range(ROUNDS):
        if not family:
            return
        for process in family:
            kill(process)
        family = descendants(watched | family)


def _stat(pid: int) -> list[str] | None:
    try:
        text = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return None
    # The second field is the name in parentheses and may hold anything, so split after it.
    return text.rpartition(")")[2].split()


if __name__ == "__main__":
    main(int(sys.argv[1]))
