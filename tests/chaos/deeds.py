"""What a worker does to itself in a test: a job that eats its memory, a loop that stands still.

`deeds(home, "hog", "endings")` is the environment for `start_worker(env=…)`:

| deed | what it does |
| --- | --- |
| `hog` | a prompt with HOG allocates until the process may have no more, and aborts, as C++ does |
| `block` | a prompt with BLOCK makes the engine's loop stand still for good |
| `mute` | no heartbeat after the first reaches the ledger; the lease is renewed as ever |
| `endings` | each run's end is a line in `endings`: the process, the job, what became of it |
"""

from __future__ import annotations

import os
import resource
import time
from pathlib import Path
from typing import Any

from tests.chaos.harness import Cluster

VARIABLE = "HONEYFLOW_CHAOS_DEEDS"
LEEWAY_BYTES = 96 * 1024**2


def deeds(home: Cluster, *names: str) -> dict[str, str]:
    """The environment of a worker that does these things."""
    folder = home.home / "deeds"
    folder.mkdir(exist_ok=True)
    words = f"from tests.chaos import deeds\ndeeds.begin({str(home.home)!r})\n"
    (folder / "sitecustomize.py").write_text(words)
    return {"PYTHONPATH": str(folder), VARIABLE: ",".join(names)}


def endings(home: Cluster) -> list[tuple[int, str, str]]:
    """What became of the runs of workers with that deed: process, job, state."""
    path = home.home / "endings"
    lines = path.read_text().splitlines() if path.exists() else []
    return [(int(pid), job, state) for pid, job, state in map(str.split, lines)]


def set_up(home: Cluster, **values: str) -> None:
    """Change settings of the models in a home's honeyflow.toml, before its workers start."""
    file = home.home / "honeyflow.toml"
    lines = file.read_text().splitlines()
    for name, value in values.items():
        assert any(line.startswith(f"{name} = ") for line in lines)
        lines = [f"{name} = {value}" if line.startswith(f"{name} = ") else line for line in lines]
    file.write_text("\n".join(lines) + "\n")


def begin(home: str) -> None:
    """Change this process as its environment says; called when its Python starts."""
    for name in os.environ.get(VARIABLE, "").split(","):
        if name:
            _DEEDS[name](Path(home))


def _hog(_home: Path) -> None:
    def eat() -> None:
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        pages = int(Path("/proc/self/statm").read_text().split()[0])
        limit = pages * resource.getpagesize() + LEEWAY_BYTES
        resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
        eaten = []
        try:
            while True:
                eaten.append(bytearray(4 * 1024**2))
        except MemoryError:
            os.abort()

    _at_prompt("HOG", eat)


def _block(_home: Path) -> None:
    _at_prompt("BLOCK", lambda: time.sleep(600))


def _mute(_home: Path) -> None:
    from ledger import LedgerUnavailable, workers

    first, original = [True], workers.beat

    def beat(*args: Any, **kwargs: Any) -> None:
        if first and first.pop():
            original(*args, **kwargs)
            return
        raise LedgerUnavailable(
            "The heartbeat does not reach the ledger (a fault of the test).",
            suggested_action="Try again.",
        )

    workers.beat = beat


def _endings(home: Path) -> None:
    from tasks.runner import Runner

    original = Runner.run

    async def run(this: Any, claim: Any, hold: Any) -> Any:
        ending = await original(this, claim, hold)
        with (home / "endings").open("a") as file:
            file.write(f"{os.getpid()} {claim.job.id} {ending.state}\n")
        return ending

    Runner.run = run  # type: ignore[method-assign]


def _at_prompt(marker: str, act: Any) -> None:
    from executors.fake import FakeExecutor

    original = FakeExecutor.generate

    def generate(this: Any, request: Any) -> Any:
        if marker in (request.prompt.text or ""):
            act()
        return original(this, request)

    FakeExecutor.generate = generate  # type: ignore[method-assign]


_DEEDS = {"hog": _hog, "block": _block, "mute": _mute, "endings": _endings}
