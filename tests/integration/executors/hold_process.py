"""A worker in small: it guards a process tree of its own and then waits to be killed.

Run as a program with the kind of tree, and for vLLM a model directory. Once everything is up it
prints one line of JSON: the pids of the guard and of what is guarded.
"""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
import time
from pathlib import Path

import psutil

from executors.config import EngineConfig
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


def hold_vllm(path: str) -> None:
    """Hold a loaded vLLM engine."""
    from executors.vllm_engine import VllmExecutor

    config = EngineConfig(
        model="tiny", path=Path(path), device="cpu", engine="vllm", max_model_len=128
    )

    async def main() -> None:
        executor = VllmExecutor(config)
        await executor.load(lambda _: None)
        start = executor._start
        assert start is not None
        guard = start._guard
        assert guard is not None
        family = [psutil.Process(pid) for pid in start.pids]
        family += [child for process in family for child in process.children(recursive=True)]
        _tell(guard.pid, [process.pid for process in family])

    asyncio.run(main())


def _tell(guard: int, watched: list[int]) -> None:
    print(json.dumps({"guard": guard, "watched": watched}), flush=True)
    time.sleep(120)


if __name__ == "__main__":
    if sys.argv[1] == "tree":
        hold_tree()
    else:
        hold_vllm(sys.argv[2])
