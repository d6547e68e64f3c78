"""Memory and disks that are full, under Redis and under the ledger."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import redis

from ledger import workers
from monitoring import redis_checks, redis_problems
from tasks.errors import HoneyflowError
from tests.chaos import faults
from tests.chaos.harness import Cluster, NewCluster
from tests.chaos.reporting import Report, fault
from tests.stack import wait_for

BACK_S = 10.0
SCRIPT = {
    "rules": [
        {"marker": "LONG", "answers": [{"text": "word " * 16}], "token_s": 0.25},
        {"answers": [{"text": "yes"}], "first_token_s": 0.1},
    ]
}


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of a few megabytes; asked for before `cluster`, so that it outlives it."""
    with faults.tmpfs(tmp_path / "disk", megabytes=6) as path:
        yield path


@pytest.mark.chaos_slow
@pytest.mark.chaos_sample
@fault("T28", "Redis at maxmemory, noeviction", required="<= 10 s after; nothing repeated")
def test_a_full_redis_stops_nothing(cluster: NewCluster, report: Report) -> None:
    """What runs is committed, what comes is accepted, and all of it is done when there is room."""
    home = cluster()
    home.script(SCRIPT)
    worker = home.start_worker()
    client = home.redis()
    done = home.submit(5)
    running = home.submit(2, prompt="LONG", policy="fixed:9")
    wait_for(lambda: {"running"} == {home.state(one) for one in running})
    before = home.submit(5)

    for _ in range(100):
        client.rpush("ballast", b"\0" * 40_000)
    client.config_set("maxmemory", client.info("memory")["used_memory"] - 500_000)
    during = home.submit(10, together=False)
    memory = next(one for one in redis_checks(client, address="x") if one.name == "redis memory")
    home.wait_all(running)
    with pytest.raises(redis.OutOfMemoryError):
        client.set("more", b"\0")
    assert worker.alive

    client.config_set("maxmemory", 0)
    freed = time.monotonic()
    every = [*done, *running, *before, *during]
    home.wait_all([*every, *home.submit()], timeout=60)
    taken = time.monotonic() - freed

    assert worker.alive
    assert memory.ok is False
    assert 10 == len(during)
    assert {1} == {home.job(one).fence for one in every}
    report(f"{taken:.1f} s after, {len(during)} accepted meanwhile, lost {home.lost(every)}")
    assert taken <= BACK_S


@fault("T28", "a worker is drained while Redis is full", required="same process, lost 0")
def test_a_worker_drained_at_a_full_redis_keeps_nothing(
    cluster: NewCluster, report: Report
) -> None:
    """What waits in its hand cannot be put back, and is done by another one when there is room."""
    home = cluster()
    home.script(SCRIPT)
    worker = home.start_worker()
    client = home.redis()
    (running,) = home.submit(prompt="LONG", policy="fixed:16")
    home.wait_state(running, "running")
    waiting = home.submit(3, policy="fixed:16")
    wait_for(lambda: client.hlen("unacked"))
    client.config_set("maxmemory", client.info("memory")["used_memory"] - 500_000)

    with home.client.ledger.write() as tx:
        workers.set_flag(tx, worker.name, drain=True)
    wait_for(lambda: "told to drain" in worker.text())
    time.sleep(1.0)  # it tries, and begins again with the broker
    client.config_set("maxmemory", 0)
    freed = time.monotonic()
    home.start_worker()
    home.wait_all([running, *waiting])
    taken = time.monotonic() - freed

    report(f"done {taken:.1f} s after, lost {home.lost([running, *waiting])}")
    assert worker.alive
    assert {1} == {home.job(one).fence for one in [running, *waiting]}
    wait_for(lambda: 0 == client.hlen("unacked"))


@pytest.mark.chaos_slow
@pytest.mark.parametrize("fsync", ["everysec", "always"])
@fault("T30", "disk full under Redis", required="typed or accepted, lost 0, told by a check")
def test_a_full_disk_under_redis_loses_nothing(
    disk: Path, cluster: NewCluster, report: Report, fsync: str
) -> None:
    """Redis refuses to write, or ends; the ledger has what was accepted."""
    home = cluster(redis_dir=disk / "redis", redis={"appendfsync": fsync})
    home.script(SCRIPT)
    worker = home.start_worker()
    running = home.submit(2, prompt="LONG", policy="fixed:9")
    wait_for(lambda: {"running"} == {home.state(one) for one in running})

    ballast = faults.fill(disk)
    full = time.monotonic()
    during = _submit_until_noticed(home)
    home.wait_all(running)
    told = time.monotonic() - full
    during += home.submit(5, together=False)

    ballast.unlink()
    if not home.broker.alive:
        home.broker.start()
    freed = time.monotonic()
    every = [*running, *during, *home.submit()]
    home.wait_all(every, timeout=60)
    taken = time.monotonic() - freed

    assert worker.alive
    assert {1} == {home.job(one).fence for one in running}
    report(f"noticed after {told:.1f} s, {taken:.1f} s after freeing, lost {home.lost(every)}")
    assert told <= 60
    assert taken <= 20


@pytest.mark.chaos_slow
@fault("T30", "disk full under the ledger", required="typed 503, lost 0")
def test_a_full_disk_under_the_ledger_loses_nothing(
    disk: Path, cluster: NewCluster, report: Report
) -> None:
    """Submissions are refused with a typed error; what was accepted is done when there is room."""
    home = cluster(ledger_url=f"sqlite:///{disk}/ledger.db")
    home.script(SCRIPT)
    home.supervise()
    done = home.submit(5)
    home.wait_all(done)
    running = home.submit(2, prompt="LONG", policy="fixed:9")
    wait_for(lambda: {"running"} == {home.state(one) for one in running})

    ballast = faults.fill(disk)
    refused = _refusals(home)
    wait_for(lambda: time.monotonic() > refused[0].at + 4.0)

    ballast.unlink()
    freed = time.monotonic()
    every = [*done, *running, *home.submit(3)]
    home.wait_all(every, timeout=60)
    taken = time.monotonic() - freed

    codes = {one.code for one in refused}
    assert all((one.status, one.retriable) == (503, True) for one in refused), refused
    report(f"{len(refused)} refused as {', '.join(sorted(codes))}, done {taken:.1f} s after")
    assert taken <= 20


class Refusal:
    """What a client was told when the ledger took nothing."""

    def __init__(self, error: HoneyflowError) -> None:
        self.at = time.monotonic()
        self.code, self.status, self.retriable = error.code, error.http_status, error.retriable

    def __repr__(self) -> str:
        return f"{self.code} {self.status} {self.retriable}"


def _refusals(home: Cluster) -> list[Refusal]:
    """Submit large requests until three are refused."""
    refused: list[Refusal] = []
    for number in range(60):
        request = {"model": "fake-a", "prompt": f"{number} " + "x" * 100_000, "policy": "fixed:1"}
        try:
            ticket = home.client.submit(request)
        except HoneyflowError as error:
            refused.append(Refusal(error))
            if len(refused) == 3:
                return refused
        else:
            home.tell([ticket.job_id], "accepted")
    raise AssertionError("the disk is not full")


def _submit_until_noticed(home: Cluster) -> list[str]:
    """Submit until Redis says that it cannot write, or is gone; gives what was accepted."""
    accepted: list[str] = []
    with home.broker.client() as client:
        for _ in range(300):
            accepted += home.submit()
            if not home.broker.alive:
                return accepted
            try:
                if any(problem.code == "REDIS_NO_AOF" for problem in redis_problems(client)):
                    return accepted
            except redis.RedisError:
                return accepted
            time.sleep(0.02)  # Redis writes its file once a second
    raise AssertionError("Redis has noticed nothing")
