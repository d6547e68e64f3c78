"""The broker loses, repeats and garbles messages; the ledger and the workers make up for it."""

from __future__ import annotations

import json
import subprocess
import sys
import time
import uuid
from collections.abc import Callable

import pytest
from celery import Celery

from ledger import jobs
from routing import list_keys
from tasks import infer, ledger_id, publish
from tasks.celery import app
from tasks.client import Client
from tests.chaos.harness import Cluster
from tests.integration.scripts import SLOW, YES, state_of
from tests.stack import Worker, wait_for

Start = Serve = Callable[..., Worker]
HOLD = """
import sqlite3, sys, time
connection = sqlite3.connect(sys.argv[1], isolation_level=None)
connection.execute("BEGIN IMMEDIATE")
print("held", flush=True)
time.sleep(3)
"""


@pytest.fixture
def stock() -> Celery:
    """An app that knows the broker and nothing else."""
    return Celery(broker=app.conf.broker_url, backend=app.conf.broker_url)


def test_a_message_in_a_killed_workers_hand_is_sent_again(start: Start, client: Client) -> None:
    """Popped and not yet claimed: Redis holds it as unacked for a day; the ledger does not wait."""
    worker = start(script=SLOW)
    asked = [infer.delay(model="fake-a", prompt="LONG", policy="fixed:16") for _ in range(3)]
    wait_for(lambda: [state_of(client, one.id) for one in asked].count("running") == 1)
    with ledger_id.connect(client.settings) as redis:
        wait_for(lambda: redis.hlen("unacked") > 0)

    worker.kill()
    start(script=YES)

    assert ["yes"] * 3 == [client.wait(one.id, timeout_s=20).answer for one in asked]


def test_a_message_lost_from_a_busy_queue_is_sent_again(start: Start, client: Client) -> None:
    """Although there are always as many messages as there are old jobs."""
    start(script=SLOW)
    asked = [infer.delay(model="fake-a", prompt="LONG", policy="fixed:1") for _ in range(30)]
    victim = asked[-1].id
    with ledger_id.connect(client.settings) as redis:
        keys = list_keys("model.fake-a")
        wait_for(lambda: sum(redis.llen(key) for key in keys) <= 12)
        lost = [m for key in keys for m in redis.lrange(key, 0, -1) if victim.encode() in m]
        assert 1 == sum(redis.lrem(key, 0, m) for key in keys for m in lost)

    def more() -> bool:
        infer.delay(model="fake-a", prompt="LONG", policy="fixed:1")
        return client.job(victim).sent_number > 1

    wait_for(more, timeout=15)


def test_a_claim_whose_message_was_dropped_meanwhile_is_given_back(place: Cluster) -> None:
    """The ledger is slow and the broker's connection breaks: the job runs all the same."""
    place.script(YES)
    place.start_worker()
    client = place.client
    with client.ledger.write() as tx:
        (asked,) = jobs.submit(tx, [client.draft({"model": "fake-a", "prompt": "x"})])
    with subprocess.Popen(
        [sys.executable, "-c", HOLD, str(place.home / "data" / "ledger.db")], stdout=subprocess.PIPE
    ) as holder:
        assert holder.stdout is not None
        assert b"held\n" == holder.stdout.readline()
        publish.send(client.app, [asked], ledger_uuid=client.ledger.uuid)
        redis = place.redis()
        wait_for(lambda: asked.id.encode() in b"".join(redis.hvals("unacked")))
        time.sleep(0.5)
        redis.client_kill_filter(_type="normal", skipme=True)

    assert "yes" == client.wait(asked.id, timeout_s=20).answer


def test_interactive_work_passes_a_full_engine(start: Start, client: Client) -> None:
    """It gets one of the places kept for it although other work waits in the worker's hand."""
    start(script=SLOW)
    long = [infer.delay(model="fake-a", prompt="LONG", policy="fixed:1") for _ in range(24)]
    wait_for(lambda: [state_of(client, one.id) for one in long].count("running") == 18)

    urgent = infer.apply_async(
        kwargs={"model": "fake-a", "prompt": "now", "policy": "fixed:1"}, priority=0
    )

    wait_for(lambda: state_of(client, urgent.id) == "running", timeout=5)
    assert 18 == [state_of(client, one.id) for one in long].count("running")


def test_a_stock_senders_times_become_columns(serve: Serve, client: Client, stock: Celery) -> None:
    """A countdown waits in the ledger, not in a worker's memory; what expires is told."""
    serve(script=YES)
    fields = {"model": "fake-a", "prompt": "x"}

    later = stock.send_task("tasks.infer", kwargs=fields, countdown=3)
    over = stock.send_task("tasks.infer", kwargs=fields, countdown=30, expires=1.5)

    wait_for(lambda: _known(client, later.id) and _known(client, over.id))
    assert "scheduled" == state_of(client, later.id)
    assert "yes" == later.get(timeout=10)["answer"]
    wait_for(lambda: state_of(client, over.id) == "expired")
    with pytest.raises(Exception, match="expired"):
        over.get(timeout=5)


def test_a_stock_senders_mistakes_are_told(serve: Serve, client: Client, stock: Celery) -> None:
    """Each wrong message ends as a failure at its sender, and costs the next one nothing."""
    serve(script=YES)
    fields = {"model": "fake-a", "prompt": "x"}

    wrong_limit = stock.send_task("tasks.infer", kwargs=fields, time_limit="soon")
    wrong_id = stock.send_task("tasks.infer", kwargs=fields, task_id="no-uuid")
    wrong_eta = stock.send_task("tasks.infer", kwargs=fields, headers={"eta": "some day"})
    right = stock.send_task("tasks.infer", kwargs=fields)

    for wrong, said in ((wrong_limit, "time_limit"), (wrong_id, "UUID"), (wrong_eta, "eta")):
        with pytest.raises(Exception, match=said):
            wrong.get(timeout=10)
    assert "yes" == right.get(timeout=10)["answer"]
    assert "failed" == state_of(client, wrong_limit.id)


def test_a_second_request_under_an_id_is_dropped(
    serve: Serve, client: Client, stock: Celery
) -> None:
    """The first one keeps the id, and no message stays behind unacked."""
    serve(script=YES)
    job_id = str(uuid.uuid4())
    first = stock.send_task(
        "tasks.infer", kwargs={"model": "fake-a", "prompt": "x"}, task_id=job_id
    )
    first.get(timeout=10)

    stock.send_task("tasks.infer", kwargs={"model": "fake-a", "prompt": "y"}, task_id=job_id)

    with ledger_id.connect(client.settings) as redis:
        wait_for(lambda: redis.hlen("unacked") == 0 and redis.llen("celery") == 0)
    assert "succeeded" == state_of(client, job_id)


def test_a_message_without_arguments_is_refused(serve: Serve, client: Client) -> None:
    """Null where the keyword arguments belong: a failed job, and an empty queue."""
    serve(script=YES)
    job_id = str(uuid.uuid4())
    with app.connection_for_write() as connection, connection.Producer() as producer:
        producer.publish(
            json.dumps([[], None, {}]),
            routing_key="celery",
            content_type="application/json",
            content_encoding="utf-8",
            headers={"lang": "py", "task": "tasks.infer", "id": job_id},
            correlation_id=job_id,
        )

    wait_for(lambda: _known(client, job_id))
    assert "failed" == state_of(client, job_id)


def test_running_jobs_outlive_an_outage_of_the_broker(place: Cluster) -> None:
    """Redis away for longer than a loop may stand still: nothing is lost, nothing runs twice."""
    place.script({"rules": [{"answers": [{"text": "word " * 30}], "token_s": 0.3}]})
    place.start_worker()
    (running,) = place.submit()
    place.wait_state(running, "running")

    place.broker.stop()
    time.sleep(place.client.settings.timing.stall_s + 1)
    place.broker.start()

    place.wait_all([running], timeout=20)
    assert ("succeeded", 1) == (place.state(running), place.job(running).fence)
    (again,) = place.submit()
    place.wait_all([again], timeout=30)


def test_a_flushed_broker_learns_again_which_ledger_it_serves(place: Cluster) -> None:
    """Until then a client with another ledger would be accepted into it."""
    place.start_worker()
    redis = place.redis()
    redis.flushall()
    wait_for(lambda: redis.get(ledger_id.KEY) is not None)

    ledger_id.check(place.client.settings, place.client.ledger)


def test_remote_control_ends_no_worker(serve: Serve, client: Client) -> None:
    """Whoever reaches the broker may look and revoke, and no more."""
    worker = serve(script=YES)

    app.control.broadcast("shutdown")
    app.control.broadcast("cancel_consumer", arguments={"queue": "model.fake-a"})

    assert app.control.inspect(timeout=2).ping()
    assert worker.process.poll() is None
    assert "yes" == infer.delay(model="fake-a", prompt="x").get(timeout=10)["answer"]


def _known(client: Client, job_id: str) -> bool:
    try:
        client.job(job_id)
    except Exception:
        return False
    return True
