"""A worker in small: it guards a process tree of its own and then waits to be killed.

Run as a program, it prints one line of JSON once everything is up: the pids of the guard and of
what is guarded.
"""

from __future__ import annotations

import json
import subprocess
import sys
import time

import psutil

from executors.guard import Guard

# A child with a child of its own, both deaf to friendly signals.
TREE = """
import signal, subprocess, sys, time
signal.signal(signal.SIGTERM, signal.SIG_IGN)
if len(sys.argv) == 1:
    subprocess.Popen([sys.executable, "-c", {source!r}, "leaf"])
time.sleep(120)
"""


def hold_tree() -> None:
    """Guard a plain process and its child."""
    guard = Guard()
    source = "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); time.sleep(120)"
    root = subprocess.Popen([sys.executable, "-c", TREE.format(source=source)])
    guard.watch(root.pid)
    while not (children := psutil.Process(root.pid).children()):
        time.sleep(0.01)
    _tell(guard.pid, [root.pid, *(child.pid for child in children)])


def _tell(guard: int, watched: list[int]) -> None:
    print(json.dumps({"guard": guard, "watched": watched}), flush=True)
    time.sleep(120)


if __name__ == "__main__":
    hold_tree()
