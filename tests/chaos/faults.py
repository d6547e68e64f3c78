"""Faults that need the system: a small disk, a wrong clock, a process that stands still.

The first two skip where they are not allowed.
"""

from __future__ import annotations

import os
import shutil
import sqlite3
import subprocess
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest

from tests.chaos.harness import Cluster
from tests.chaos.workers import ChaosWorker

_LIBRARIES = ("/usr/lib/*/faketime/libfaketime.so.1", "/usr/local/lib/faketime/libfaketime.so.1")


@contextmanager
def tmpfs(path: Path, *, megabytes: int) -> Iterator[Path]:
    """A file system of that size at a path, for as long as the block lasts."""
    path.mkdir(parents=True, exist_ok=True)
    size = f"size={megabytes}m"
    mount = ["mount", "-t", "tmpfs", "-o", size, "honeyflow-chaos", str(path)]
    done = subprocess.run(mount, capture_output=True, text=True)
    if done.returncode:
        pytest.skip(f"no tmpfs can be mounted here: {done.stderr.strip()}")
    try:
        yield path
    finally:
        # Lazily: a process that died slowly must not leave it mounted.
        subprocess.run(["umount", "--lazy", str(path)], check=True)


def fill(folder: Path, *, leave_bytes: int = 0) -> Path:
    """Fill a file system up to a few bytes; gives the file that does, to be removed."""
    ballast = folder / "ballast"
    with ballast.open("wb", buffering=0) as file:
        try:
            while True:
                file.write(b"\0" * 65_536)
        except OSError:
            pass
    os.truncate(ballast, max(0, ballast.stat().st_size - leave_bytes))
    return ballast


def clock(offset: str) -> dict[str, str]:
    """The environment of a process whose wall clock is off, as `+2h`, `-2h` or `+0 x1.01`.

    Needs Debian's package faketime. Its monotonic clocks stay true, as they do when somebody sets
    a machine's clock; on SQLite, where leases are measured with them, the whole machine is meant.
    """
    if shutil.which("faketime") is None:
        pytest.skip("faketime is not installed (Debian: apt-get install faketime)")
    found = [path for pattern in _LIBRARIES for path in Path("/").glob(pattern[1:])]
    if not found:
        pytest.skip("libfaketime is not where Debian puts it")
    return {
        "LD_PRELOAD": str(found[0]),
        "FAKETIME": offset,
        "FAKETIME_DONT_FAKE_MONOTONIC": "1",
        "DONT_FAKE_MONOTONIC": "1",
    }


def freeze(home: Cluster, worker: ChaosWorker) -> None:
    """Freeze a worker, but not in a write to SQLite: nobody else could write until it goes on."""
    worker.freeze()
    while not _can_write(home, patience_s=0.1):
        worker.thaw()
        assert _can_write(home, patience_s=10.0)
        worker.freeze()


def _can_write(home: Cluster, *, patience_s: float) -> bool:
    with closing(sqlite3.connect(home.home / "data" / "ledger.db", timeout=patience_s)) as ledger:
        try:
            ledger.execute("BEGIN IMMEDIATE")
        except sqlite3.OperationalError:
            return False
        return True
