"""The totals are exact, however often whoever counts is killed."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Self

import pytest

from ledger import Claim, Ledger, Transaction, jobs, leases, samples, sessions, totals
from monitoring.follower import LEASE
from monitoring.metrics import PREFIX
from monitoring.tally import Series, Tally
from tests.chaos import processes
from tests.chaos.scale import scaled
from tests.counters import assert_counters_equal_ledger
from tests.integration.ledger.support import ERROR, new_job, open_session, receipt_of, sample

JOBS = scaled(500, 5_000)
KILLS = scaled(5, 20)
TOGETHER = 5


@pytest.fixture(params=["sqlite", "postgresql"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """An empty ledger."""
    made = f"sqlite:///{tmp_path}/ledger.db"
    if request.param == "postgresql":
        made = request.getfixturevalue("postgres_url")()
    Ledger.open(made, migrate=True).close()
    return made


def test_a_killed_follower_neither_loses_nor_doubles(url: str, tmp_path: Path) -> None:
    """Totals only rise, and in the end each histogram has as many values as there were jobs."""
    chance = random.Random(11)
    done = threading.Event()
    thread = threading.Thread(target=work, args=(url, done))
    with Ledger.open(url) as ledger, Followers(url, tmp_path) as followers:
        thread.start()
        shown: dict[Series, float] = {}
        for _ in range(KILLS):
            with followers.counting():
                time.sleep(chance.uniform(0.0, 0.4))
            shown = risen(ledger, shown)
            # Nobody waits here for the lease of a process that is known to be dead.
            free(ledger)
        assert shown, "nothing was counted before the last kill"
        thread.join(120)
        assert done.is_set()
        assert_counters_equal_ledger(ledger)
        last = risen(ledger, shown)
    for name in ("jobs_total", "job_duration_seconds", "jobs_submitted_total"):
        assert JOBS == sum(
            number for (metric, _), number in last.items() if metric == PREFIX + name
        )


def work(url: str, done: threading.Event) -> None:
    """Submit, run and end jobs, some at a time; most succeed, some fail or are called off."""
    with Ledger.open(url) as ledger:
        for start in range(0, JOBS, TOGETHER):
            with ledger.write() as tx:
                entered = jobs.submit(tx, [new_job(priority=start % 10) for _ in range(TOGETHER)])
            with ledger.write() as tx:
                session = open_session(tx, f"worker-{start}")
                for job in entered:
                    taken = jobs.claim(tx, session=session, job_id=job.id, number=1)
                    assert isinstance(taken, Claim)
                    samples.add(tx, sample(taken.job, first_token_ms=9, completion_tokens=3))
            with ledger.write() as tx:
                for number, job in enumerate(entered):
                    end(tx, job.id, number)
                sessions.close(tx, session, crashed=False, reason="stopped")
    done.set()


def end(tx: Transaction, job_id: str, number: int) -> None:
    """One way or another."""
    if number == 1:
        assert jobs.fail(tx, job_id=job_id, fence=1, error=ERROR)
    elif number == 2:
        assert jobs.finish_cancel(tx, job_id=job_id, fence=1)
    else:
        assert jobs.commit(
            tx,
            job_id=job_id,
            fence=1,
            result=b"{}",
            report=b"{}",
            receipt=receipt_of(job_id),
            confidence=0.5,
            k=1,
            rounds=1,
        )


class Followers:
    """Processes that count, one after the other."""

    def __init__(self, url: str, folder: Path) -> None:
        self._mother = subprocess.Popen(
            [sys.executable, "-m", "tests.chaos.counting", url],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env={**os.environ, **processes.marks(folder)},
        )

    @contextmanager
    def counting(self) -> Iterator[None]:
        """One that counts, killed at the end."""
        assert self._mother.stdin is not None
        assert self._mother.stdout is not None
        self._mother.stdin.write("\n")
        self._mother.stdin.flush()
        pid = int(self._mother.stdout.readline())
        yield
        os.kill(pid, signal.SIGKILL)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._mother.communicate(timeout=30)


def risen(ledger: Ledger, before: dict[Series, float]) -> dict[Series, float]:
    """What is counted now, which is nowhere less than it was."""
    with ledger.read() as tx:
        tally = Tally.of_rows(totals.read(tx), models=())
    now = {
        series: sum(total.counts) if total.counts else total.value
        for series, total in tally.totals.items()
        if total.counts or series[0].endswith("_total")
    }
    assert [] == [series for series, number in before.items() if now[series] < number]
    return now


def free(ledger: Ledger) -> None:
    """Take the lease from whoever had it."""
    with ledger.write() as tx:
        if (holder := leases.holder(tx, LEASE)) is not None:
            leases.release(tx, LEASE, holder)
