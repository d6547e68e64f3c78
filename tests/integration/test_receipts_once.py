"""A job has one receipt, however often it is sent, tried, or told: the first one's bytes."""

from __future__ import annotations

import signal
from collections.abc import Sequence
from pathlib import Path

import sqlalchemy as sa

from ledger import receipts, tables, trees
from routing import list_keys
from tests.chaos.harness import YES, Cluster
from tests.stack import wait_for

DIES = """
import os, signal
from pathlib import Path
from tasks.finisher import Finisher

finish = Finisher.finish

def dies(self, slot, ending):
    if ending.state == "succeeded" and not Path({once!r}).exists():
        Path({once!r}).touch()
        os.kill(os.getpid(), signal.SIGKILL)
    finish(self, slot, ending)

Finisher.finish = dies
"""
"""In a worker: it is killed once, when a job is committed and nobody has been told of it."""


def issued(place: Cluster, job_id: str) -> list[tuple[bytes, bytes, str]]:
    """The receipts that a job has: their bytes, their signatures and their digests."""
    table = tables.receipts
    asked = sa.select(table).where(table.c.job_id == job_id)
    with place.client.ledger.read() as tx:
        rows = tx.rows(asked)
    return [(row["canonical"], row["signature"], row["digest"]) for row in rows]


def told(place: Cluster, job_id: str) -> set[str]:
    """The receipts that whoever asks for the result is told, by each way there is."""
    client = place.client
    answers = [
        client.app.AsyncResult(job_id).get(timeout=10)["receipt"],
        client.wait(job_id, timeout_s=10).receipt,
        client.result_of(client.job(job_id)).receipt,
    ]
    with client.ledger.read() as tx:
        row = receipts.get(tx, job_id)
    assert row is not None
    return {row.digest, *map(str, answers)}


def messages(place: Cluster, queue: str) -> list[bytes]:
    """What lies in a queue."""
    with place.broker.client() as redis:
        return [one for key in list_keys(queue) for one in redis.lrange(key, 0, -1)]


def deliver(place: Cluster, queue: str, raw: Sequence[bytes]) -> None:
    """Put messages into a queue, as a broker that delivers at least once does."""
    with place.broker.client() as redis:
        redis.lpush(list_keys(queue)[1], *raw)


def all_taken(place: Cluster, queue: str) -> bool:
    """Whether nothing lies in the queue or in anybody's hand."""
    with place.broker.client() as redis:
        return not messages(place, queue) and not redis.hlen("unacked")


def require_one(place: Cluster, job_id: str, first: list[tuple[bytes, bytes, str]]) -> None:
    """One row, the same bytes, one leaf; and this is what everybody is told."""
    assert 1 == len(first)
    assert first == issued(place, job_id)
    assert {first[0][2]} == told(place, job_id)
    for worker in place.workers:
        if worker.alive:
            assert 0 == worker.stop()
    assert first == issued(place, job_id)
    assert {first[0][2]} == told(place, job_id)
    with place.client.ledger.read() as tx:
        assert 1 == len(trees.leaves_of(tx, job_id))


def test_a_job_that_is_delivered_several_times_has_one_receipt(place: Cluster) -> None:
    """To two workers at once, and again when it has ended; a second submission finds it too."""
    place.script({"rules": [{"answers": [{"text": "yes"}], "first_token_s": 0.3}]})
    asked = {"model": "fake-a", "prompt": "x", "policy": "fixed:1"}
    job_id = place.client.submit(asked, idempotency_key="once").job_id
    queue = place.job(job_id).queue
    raw = messages(place, queue)
    assert 1 == len(raw)
    deliver(place, queue, raw * 5)
    place.start_workers(2)
    place.wait_all([job_id])
    first = issued(place, job_id)

    deliver(place, queue, raw * 3)
    wait_for(lambda: all_taken(place, queue))

    again = place.client.submit(asked, idempotency_key="once")
    assert (job_id, first[0][2]) == (again.job_id, again.result(timeout_s=5).receipt)
    assert 1 == place.job(job_id).fence
    require_one(place, job_id, first)


def test_a_job_that_is_tried_again_has_one_receipt(place: Cluster) -> None:
    """The try that failed has issued none; its message, delivered late, issues none either."""
    script = [{"until_request": 1, "do": "error", "code": "BUSY", "retriable": True}]
    place.script({"rules": [*script, *YES["rules"]]})
    (job_id,) = place.submit(1)
    queue = place.job(job_id).queue
    raw = messages(place, queue)
    place.start_worker()
    wait_for(lambda: place.job(job_id).tries == 1)
    assert [] == issued(place, job_id)
    place.wait_all([job_id])
    first = issued(place, job_id)

    deliver(place, queue, raw * 2)
    wait_for(lambda: all_taken(place, queue))

    assert (1, 2) == (place.job(job_id).tries, place.job(job_id).fence)
    require_one(place, job_id, first)


def test_a_worker_that_is_killed_after_the_commit_has_issued_the_receipt(
    place: Cluster, tmp_path: Path
) -> None:
    """Nobody was told and the message is still in its hand; the next one tells, and issues none."""
    folder = tmp_path / "dies"
    folder.mkdir()
    (folder / "sitecustomize.py").write_text(DIES.format(once=str(tmp_path / "died")))
    place.script(YES)
    (job_id,) = place.submit(1)
    queue = place.job(job_id).queue
    raw = messages(place, queue)
    victim = place.start_worker(name="bee", env={"PYTHONPATH": str(folder)}, ready=False)
    assert -signal.SIGKILL == victim.wait_exit()
    assert ("succeeded", None) == (place.state(job_id), place.job(job_id).delivered_at)
    first = issued(place, job_id)

    # Under the same name: the receipt is signed for that worker's log.
    place.start_worker(name="bee")
    deliver(place, queue, raw)
    wait_for(lambda: place.job(job_id).delivered_at)
    wait_for(lambda: all_taken(place, queue))

    assert 1 == place.job(job_id).fence
    require_one(place, job_id, first)
