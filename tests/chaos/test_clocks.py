"""Clocks that are wrong, and two who would do what only one may do at a time."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path

import pytest
import redis
import sqlalchemy as sa

from ledger import bodies, jobs, samples, sessions, tables
from tests.chaos import faults
from tests.chaos.harness import YES, Cluster, NewCluster
from tests.chaos.reporting import Report, fault
from tests.chaos.scale import scaled
from tests.chaos.workers import ChaosWorker
from tests.stack import TIMING, wait_for

TAKEOVER_S = 15.0
BOTH = ("right", "wrong")
SCRIPT = {
    "rules": [
        {"marker": "LONG", "answers": [{"text": "word " * 20}], "token_s": 0.25},
        {"answers": [{"text": "yes"}], "first_token_s": 0.05},
    ]
}


@pytest.mark.chaos_slow
@pytest.mark.parametrize(
    ("offset", "skew_s"), [("+2h", 7200), ("-2h", -7200), ("+30s", 30), ("-30s", -30)]
)
@fault(
    "T34", "the clock of one worker is wrong (PostgreSQL)", required="0 run twice, flagged > 5 s"
)
def test_one_wrong_clock_takes_nobodys_lease(
    cluster: NewCluster, report: Report, postgres_url: Callable[[], str], offset: str, skew_s: int
) -> None:
    """The server's clock decides; both work side by side, and the dead one's jobs go on.

    The reports of the one that is wrong say by how much.
    """
    env = faults.clock(offset)
    home = cluster(ledger_url=postgres_url())
    home.script(SCRIPT)
    right = home.start_worker(name="right")
    long = home.submit(2, prompt="LONG", policy="fixed:9")
    wait_for(lambda: len(home.held_by(right)) == 2)
    wrong = home.start_worker(name="wrong", env=env)
    asked = [*home.submit(20), *home.submit(2, expires_s=60.0), *home.submit(2, delay_s=1.0)]

    home.wait_all([*asked, *long], timeout=40)
    told = {name: [_skew(home, one) for one in asked if _ran(home, one) == name] for name in BOTH}
    assert {("succeeded", 1)} == {(home.state(one), home.job(one).fence) for one in [*asked, *long]}
    held = home.submit(2, prompt="LONG", policy="fixed:9")
    wait_for(lambda: {"running"} == {home.state(one) for one in held})
    victim = home.worker_of(held[0])
    victim.kill_group()
    home.wait_all(held, timeout=40)

    negative = _negative_durations(home, [*asked, *long, *held])
    twice = sum(home.job(one).fence > 1 for one in [*asked, *long])
    flagged = sum(skew is not None for skew in told["wrong"])
    report(
        f"{twice} run twice, {negative} negative durations, "
        f"{flagged} of {len(told['wrong'])} reports flagged"
    )
    assert 0 == negative
    assert {None} == set(told["right"])
    assert told["wrong"]
    assert all(skew is not None and abs(skew - skew_s) <= 1 for skew in told["wrong"])
    assert [right, wrong].count(victim) == 1


@pytest.mark.chaos_slow
@pytest.mark.chaos_sample
@fault("T34", "the machine's clock is set 2 h on, then back (SQLite)", required="0 leases lost")
def test_a_clock_that_is_set_loses_no_lease(
    cluster: NewCluster, report: Report, tmp_path: Path
) -> None:
    """Leases run on the clock since boot, which nobody can set."""
    told = tmp_path / "clock"
    told.write_text("+0")
    env = {
        **{name: value for name, value in faults.clock("+0").items() if name != "FAKETIME"},
        "FAKETIME_TIMESTAMP_FILE": str(told),
        "FAKETIME_NO_CACHE": "1",
    }
    home = cluster()
    home.script(SCRIPT)
    worker = home.start_worker(env=env)
    long = home.submit(2, prompt="LONG", policy="fixed:9")
    wait_for(lambda: {"running"} == {home.state(one) for one in long})

    for offset in ("+2h", "-2h", "+0"):
        told.write_text(offset)
        home.wait_all(home.submit(3), timeout=20)
        # Longer than a lease, which is what a wrong clock would end.
        _let_pass(home, worker, TIMING["lease_s"] / 2)
    home.wait_all(long, timeout=40)

    assert {("succeeded", 1)} == {(home.state(one), home.job(one).fence) for one in long}
    with home.client.ledger.read() as tx:
        opened = tx.execute(sa.select(sa.func.count()).select_from(tables.sessions)).scalar_one()
    negative = _negative_durations(home, long)
    report(f"{opened - 1} sessions lost, {negative} negative durations")
    assert (1, 0) == (opened, negative)


@pytest.mark.chaos_slow
@fault("T35", "two reconcilers alive, the leader frozen, then killed", required="<= 15 s, twice 0")
def test_two_reconcilers_send_nothing_twice(cluster: NewCluster, report: Report) -> None:
    """Each lost message is sent again exactly once, by whoever leads."""
    home = cluster()
    home.script(YES)
    for number in range(2):
        home.start_worker(name=f"keeper{number}", options=["--maintenance"], ready=False)
    for worker in home.workers:
        worker.wait_ready()
    ids = home.submit(scaled(40, 500))
    client = home.redis()

    client.flushall()
    _sent(home, ids, 2)
    wait_for(lambda: len(ids) == _messages(client))
    first = wait_for(lambda: _leader(home))
    first.freeze()
    client.flushall()
    _sent(home, ids, 3)
    second = wait_for(lambda: _leader(home))
    first.thaw()
    _let_pass(home, second, 1.0)
    messages = _messages(client)
    numbers = {home.job(one).sent_number for one in ids}

    second.kill_group()
    killed = time.monotonic()
    wait_for(lambda: _leader(home) is first, 30)
    taken = time.monotonic() - killed
    home.start_worker()
    home.wait_all(ids)

    assert first is not second
    report(f"taken over after {taken:.1f} s; {messages} messages for {len(ids)} jobs")
    assert ({3}, len(ids)) == (numbers, messages)
    assert taken <= TAKEOVER_S


def _ran(home: Cluster, job_id: str) -> str:
    """The name of the worker that a job ran on."""
    with home.client.ledger.read() as tx:
        last = jobs.history(tx, job_id)[-1]
        session = sessions.get(tx, last.session or "")
    return "" if session is None else session.worker.partition("@")[0]


def _skew(home: Cluster, job_id: str) -> int | None:
    """By how many seconds a job's report says that the worker's clock was off."""
    with home.client.ledger.read() as tx:
        stored = bodies.get(tx, home.job(job_id).report_digest or "")
    companion = json.loads(stored or b"{}")["companion"]
    skew: int | None = companion.get("clock_skew_s")
    return skew


def _leader(home: Cluster) -> ChaosWorker | None:
    """The worker that holds the reconcilers' lease now."""
    with home.client.ledger.read() as tx:
        lease = tx.row(sa.select(tables.leases).where(tables.leases.c.name == "reconciler"))
        if lease is None or lease["lease_until"] < tx.lease_now:
            return None
        session = sessions.get(tx, lease["holder"])
    return next((one for one in home.workers if session and one.pid == session.pid), None)


def _messages(client: redis.Redis) -> int:
    """How many messages wait in the queue of the model."""
    keys: list[bytes] = client.keys("model.fake-a*")  # type: ignore[assignment]
    return sum(client.llen(key) for key in keys)


def _sent(home: Cluster, ids: list[str], number: int) -> None:
    """Wait until each job was sent so often."""
    wait_for(lambda: {number} == {home.job(one).sent_number for one in ids}, 30, home.tail)


def _let_pass(home: Cluster, worker: ChaosWorker, seconds: float) -> None:
    """Watch a worker live on for a while."""
    until = time.monotonic() + seconds
    wait_for(lambda: not worker.alive or time.monotonic() > until, seconds + 1, home.tail)
    assert worker.alive


def _negative_durations(home: Cluster, ids: list[str]) -> int:
    """How many spans of these jobs and their samples are below zero."""
    spans: list[float] = []
    with home.client.ledger.read() as tx:
        for one in ids:
            spans += [row.duration_ms for row in samples.of(tx, one)]
    for one in ids:
        moves = home.changes(one)
        spans += [after.at - before.at for before, after in pairwise(moves)]
    return sum(span < 0 for span in spans)
