"""The broker forgets, dies and repeats itself; the ledger and the workers make up for it."""

from __future__ import annotations

import time
from typing import Any

import pytest
from celery import chain, chord

from ledger import jobs
from tasks import publish
from tests.chaos.harness import Cluster, NewCluster
from tests.chaos.history import ACCEPTED
from tests.chaos.reporting import Report, fault
from tests.chaos.scale import scaled
from tests.stack import wait_for

BUSY = {
    "rules": [
        {"marker": "BUSY", "answers": [{"text": "done"}], "first_token_s": 2.0},
        {"answers": [{"text": "yes"}]},
    ]
}


def url_of(request: pytest.FixtureRequest, store: str) -> str | None:
    """A new ledger on a store; None is SQLite in the home."""
    return None if store == "sqlite" else str(request.getfixturevalue("postgres_url")())


def fill(home: Cluster, number: int) -> tuple[list[str], list[str]]:
    """Two running jobs that leave no place free, and as many queued ones as asked for."""
    running = home.submit(2, prompt="BUSY", policy="fixed:9")
    wait_for(lambda: 2 == len(home.running()))
    return running, home.submit(number)


@pytest.mark.parametrize(
    "store", ["sqlite", pytest.param("postgresql", marks=pytest.mark.chaos_slow)]
)
@fault("T20", "FLUSHALL: many queued, two running, a chain, a chord", required="<= 30 s, lost 0")
def test_a_flushed_broker_loses_nothing(
    cluster: NewCluster, report: Report, request: pytest.FixtureRequest, store: str
) -> None:
    """Every waiting job is sent again, and canvas goes on."""
    home = cluster(ledger_url=url_of(request, store))
    home.script(BUSY)
    home.start_worker()
    running, queued = fill(home, scaled(40, 500))
    steps = chain(home.infer("first"), home.infer("then ${previous}"))()
    whole = chord([home.infer(f"part {i}") for i in range(3)], home.infer("all ${previous}"))()
    header: Any = whole.parent
    canvas = [steps.parent.id, steps.id, *(part.id for part in header.results), whole.id]
    home.tell(canvas, ACCEPTED)
    waiting = [one for one in queued if home.state(one) == "queued"]

    flushed = time.monotonic()
    home.redis().flushall()
    wait_for(lambda: all(home.job(one).sent_number > 1 or _left(home, one) for one in waiting), 40)
    sent = time.monotonic() - flushed
    home.wait_all([*running, *queued, *canvas], timeout=scaled(20, 60))

    assert len(waiting) >= len(queued) // 2
    assert {1} == {home.job(one).fence for one in running}
    report(f"{sent:.1f} s for {len(waiting)} queued, {store}, lost {home.lost([*queued, *canvas])}")
    assert sent <= 30


@fault("T21", "kill -9 of the broker, started again with its AOF", required="<= 10 s, lost 0")
def test_a_killed_broker_is_found_again(cluster: NewCluster, report: Report) -> None:
    """The same worker processes consume again, and what ran has not stopped."""
    home = cluster()
    home.script(BUSY)
    worker = home.start_worker()
    running, queued = fill(home, scaled(40, 500))

    home.broker.kill()
    time.sleep(1.0)
    home.broker.start()
    back = time.monotonic()
    after = home.submit(priority=0)
    home.wait_all(after, timeout=30)
    taken = time.monotonic() - back
    home.wait_all([*running, *queued], timeout=scaled(20, 60))

    assert worker.alive
    assert {1} == {home.job(one).fence for one in running}
    report(f"consuming after {taken:.1f} s, lost {home.lost([*running, *queued, *after])}")
    assert taken <= 10


@fault("T40", "ten copies of each message, to several workers", required="1 engine call per job")
def test_a_repeated_message_is_dropped_before_the_engine(
    cluster: NewCluster, report: Report
) -> None:
    """Whoever claims first runs the job; the other copies are acked and forgotten."""
    home = cluster()
    home.script({"rules": [{"answers": [{"text": "yes"}], "first_token_s": 0.2}]})
    home.start_workers(scaled(2, 4), hooked={"trace": True})
    request = {"model": "fake-a", "prompt": "x", "policy": "fixed:1"}
    client = home.client
    with client.ledger.write() as tx:
        entered = jobs.submit(tx, [client.draft(request) for _ in range(scaled(3, 20))])
    ids = [job.id for job in entered]
    home.tell(ids, ACCEPTED)

    for _ in range(10):
        publish.send(client.app, entered, ledger_uuid=client.ledger.uuid)
    home.wait_all(ids)
    redis = home.redis()
    wait_for(lambda: 0 == redis.hlen("unacked") + redis.llen("model.fake-a\x06\x163"))

    calls = home.engine_calls()
    report(f"{len(calls)} engine calls for {len(ids)} jobs with {10 * len(ids)} messages")
    assert sorted(f"{one}.1.0" for one in ids) == sorted(calls)


def _left(home: Cluster, job_id: str) -> bool:
    return home.state(job_id) != "queued"
