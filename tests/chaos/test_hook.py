"""Calls that succeed and say that they timed out; and the other faults of the harness at work."""

from __future__ import annotations

import contextlib
import subprocess
import sys
import time
from pathlib import Path

import pytest
import redis

from ledger import LedgerUnavailable
from tests.chaos import faults, hook
from tests.chaos.harness import NewCluster
from tests.chaos.history import read


def test_a_command_is_carried_out_before_it_times_out(cluster: NewCluster) -> None:
    """And afterwards everything is as it was."""
    client = cluster().redis()
    client.ping()

    with hook.execute_and_timeout(redis=1.0), pytest.raises(redis.TimeoutError):
        client.set("key", "value")

    assert b"value" == client.get("key")


def test_a_write_is_committed_before_it_times_out(cluster: NewCluster) -> None:
    """Nobody can know whether the job was accepted: it is told as unknown, and is there."""
    home = cluster()

    with hook.execute_and_timeout(ledger=1.0):
        assert [] == home.submit()

    (told,) = read(home.history.path).of("submission")
    assert ("unknown", "LEDGER_UNAVAILABLE") == (told["told"], told["code"])
    assert "queued" == home.state(told["id"])
    home.client.cancel(told["id"])


def test_a_seed_says_which_calls_time_out(cluster: NewCluster) -> None:
    """About as many as the rate says, and the same ones again."""
    ledger = cluster().client.ledger

    def struck() -> list[int]:
        found = []
        with hook.execute_and_timeout(ledger=0.2, seed=7):
            for number in range(50):
                with contextlib.suppress(LedgerUnavailable):
                    with ledger.write():
                        pass
                    continue
                found.append(number)
        return found

    first = struck()
    assert 3 <= len(first) <= 20
    assert first == struck()


def test_a_worker_is_changed_by_its_environment(tmp_path: Path) -> None:
    """Its Python does it at its start, and writes each fault down."""
    program = (
        "import sys, ledger\n"
        "with ledger.Ledger.open(sys.argv[1], migrate=True) as opened:\n"
        "    try:\n"
        "        with opened.write(): pass\n"
        "    except ledger.LedgerUnavailable: print('timed out')\n"
    )
    log = tmp_path / "log"
    done = subprocess.run(
        [sys.executable, "-c", program, f"sqlite:///{tmp_path}/ledger.db"],
        env=hook.enable(ledger=1.0, log=log),
        capture_output=True,
        text=True,
    )

    assert "timed out\n" == done.stdout, done.stderr
    assert log.read_text().endswith(" ledger\n")


def test_a_small_disk_is_full_and_gone(tmp_path: Path) -> None:
    """Nothing more fits; when the block is over nothing is mounted."""
    with faults.tmpfs(tmp_path / "small", megabytes=1) as disk:
        ballast = faults.fill(disk, leave_bytes=4096)
        with pytest.raises(OSError, match="No space left"):
            (disk / "more").write_bytes(b"x" * 100_000)
        ballast.unlink()
        (disk / "more").write_bytes(b"x" * 100_000)
    assert not (tmp_path / "small" / "more").exists()


def test_one_process_has_another_time() -> None:
    """Its wall clock is two hours ahead, its monotonic one is not."""
    program = "import time; print(time.time(), time.monotonic())"
    told = subprocess.run(
        [sys.executable, "-c", program],
        env=faults.clock("+2h"),
        capture_output=True,
        text=True,
        check=True,
    ).stdout.split()

    assert 7_190 < float(told[0]) - time.time() < 7_210
    assert abs(float(told[1]) - time.monotonic()) < 10
