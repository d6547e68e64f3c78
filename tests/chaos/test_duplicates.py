"""What is asked, fired or begun twice counts once."""

from __future__ import annotations

import json
import subprocess
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import pytest
import sqlalchemy as sa
from celery import Celery

from ledger import bodies, jobs, samples, tables, workers
from proofs import parse_json, sha256_digest
from routing import list_keys
from tasks.errors import JobConflict
from tests.chaos.harness import YES, Cluster, NewCluster
from tests.chaos.history import ACCEPTED
from tests.chaos.reporting import Report, fault
from tests.chaos.scale import scaled
from tests.stack import BIN, wait_for

REQUEST = {"model": "fake-a", "prompt": "x", "policy": "fixed:1"}
PERIOD_S = 1.0


@fault("T41", "one idempotency key, in turn and 20 at once", required="1 job; other body: conflict")
def test_one_key_is_one_job(cluster: NewCluster, report: Report) -> None:
    """Whoever comes later is given the job that is there, whatever has become of it."""
    home = cluster()
    home.script(YES)
    client = home.client
    rounds = scaled(3, 50)
    ids: list[str] = []

    for number in range(rounds):
        key = f"order-{number}"
        with ThreadPoolExecutor(20) as pool:
            told = [pool.submit(client.submit, REQUEST, idempotency_key=key) for _ in range(20)]
        at_once = {one.result().job_id for one in told}
        ids += at_once
        assert 1 == len(at_once)
        assert at_once == {client.submit(REQUEST, idempotency_key=key).job_id}
        with pytest.raises(JobConflict) as caught:
            client.submit({**REQUEST, "prompt": "y"}, idempotency_key=key)
        assert "IDEMPOTENCY_CONFLICT" == caught.value.code
    home.tell(ids, ACCEPTED)
    home.start_workers(2, hooked={"trace": True})
    home.wait_all(ids)
    again = [client.submit(REQUEST, idempotency_key=f"order-{n}") for n in range(rounds)]

    answers = {one.result(timeout_s=5).answer for one in again}
    with client.ledger.read() as tx:
        entered = len(jobs.list(tx, limit=1000))
    calls = len(home.engine_calls())
    report(f"{entered} jobs and {calls} engine calls for {rounds} keys, {22 * rounds} submissions")
    assert (rounds, rounds, {"yes"}) == (entered, calls, answers)
    assert [one.job_id for one in again] == ids


@contextmanager
def beat(home: Cluster, name: str) -> Iterator[subprocess.Popen[bytes]]:
    """A `celery beat` with a schedule file of its own; killed at the end."""
    words = ["-A", "tasks", "beat", "-l", "INFO", "-s", str(home.home / name), "--pidfile", ""]
    with (home.home / f"{name}.log").open("ab") as log:
        process = subprocess.Popen(
            [str(BIN / "celery"), *words],
            env={"PATH": "/usr/bin:/bin", **home.env},
            cwd=home.home,
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    try:
        yield process
    finally:
        process.kill()
        process.wait()


def fired(home: Cluster) -> Counter[str]:
    """The messages that beat has sent and nobody has taken."""
    with home.broker.client() as client:
        raw = [one for key in list_keys("control") for one in client.lrange(key, 0, -1)]
    return Counter(json.loads(one)["headers"]["task"] for one in raw)


@pytest.mark.chaos_slow
@fault("T42", "beat killed after it fired, and away for three periods", required="one catch-up")
def test_a_late_beat_catches_up_once(cluster: NewCluster, report: Report) -> None:
    """What it has missed is fired once, not three times; what it has sent it may send again."""
    home = cluster(timing={"heartbeat_s": PERIOD_S})
    sweep = "tasks.sweep_workers"
    caught_up = []

    for end in ("kill", "terminate"):
        with beat(home, "schedule") as first:
            before = fired(home)[sweep]
            wait_for(lambda before=before: fired(home)[sweep] > before, 20)
            getattr(first, end)()
            first.wait(10)
        left = fired(home)[sweep]
        time.sleep(3 * PERIOD_S)
        with beat(home, "schedule"):
            wait_for(lambda left=left: fired(home)[sweep] > left, 20)
            time.sleep(0.5 * PERIOD_S)
            caught_up.append(fired(home)[sweep] - left)

    report(f"{caught_up[0]} after the kill, {caught_up[1]} after three periods")
    assert [1, 1] == caught_up


@pytest.mark.chaos_slow
@pytest.mark.chaos_sample
@fault("T42", "two beats: everything is fired twice", required="0 doubles")
def test_what_beat_sends_is_harmless_twice(cluster: NewCluster, report: Report) -> None:
    """The sweeps run in the ledger under one lease, whoever is told to run them, and how often."""
    home = cluster(timing={"heartbeat_s": PERIOD_S})
    home.script(YES)
    kept = [home.start_worker(options=["--maintenance"]) for _ in range(2)]
    home.start_worker(hooked={"trace": True})
    with home.client.ledger.write() as tx:
        workers.beat(tx, worker="ghost", session="", state="ready", facts={})
        tx.execute(
            sa.update(tables.workers)
            .where(tables.workers.c.worker == "ghost")
            .values(seen_at=tx.now - 100)
        )
    ids = home.submit(20, delay_s=1.0)
    with beat(home, "one"), beat(home, "two"):
        for _ in range(20):
            for name in ("tasks.reconcile", "tasks.sweep_workers"):
                Celery.send_task(home.client.app, name, queue="control", expires=10)
            time.sleep(0.1)
        home.wait_all(ids)
        logs = [home.home / f"{name}.log" for name in ("one", "two")]
        wait_for(lambda: all("Sending due task" in log.read_text() for log in logs))
    wait_for(lambda: not fired(home))

    told = sum(one.text().count("worker ghost has sent no heartbeat") for one in kept)
    sent = {home.job(one).sent_number for one in ids}
    calls = len(home.engine_calls())
    report(f"stale told {told} time(s), {calls} engine calls for {len(ids)} delayed jobs")
    assert 1 == told
    assert len(ids) == calls
    assert 1 == len(sent)


def finished(home: Cluster, job_id: str) -> list[int]:
    """The indices of the samples that are kept."""
    with home.client.ledger.read() as tx:
        return [one.index for one in samples.of(tx, job_id)]


@pytest.mark.parametrize("other_version", [False, True])
@fault("T50", "a dynamic-K job is killed after 2 of 3 samples", required="reused, never mixed")
def test_finished_samples_are_reused_by_the_same_model_only(
    cluster: NewCluster, report: Report, other_version: bool
) -> None:
    """And the report tells every sample by its digest."""
    home = cluster()
    home.script(
        {
            "rules": [
                {"until_request": 2, "answers": [{"text": "old"}]},
                {"first_token_s": 60.0, "answers": [{"text": "late"}]},
            ]
        }
    )
    first = home.start_worker(hooked={"trace": True})
    (job_id,) = home.submit(policy="dynamic")
    wait_for(lambda: 2 == len(finished(home, job_id)))

    first.kill_group()
    # Had the model been the same, the answer would still be the old one's by two to one.
    home.script({"rules": [{"answers": [{"text": "new"}]}]})
    if other_version:
        file = home.home / "honeyflow.toml"
        version = f'[models.fake-a]\nmodel_digest = "sha256:{"1" * 64}"'
        file.write_text(file.read_text().replace("[models.fake-a]", version))
    home.start_worker(hooked={"trace": True})
    (job,) = home.wait_all([job_id])

    drawn = [one for one in home.engine_calls() if one.startswith(f"{job_id}.2.")]
    with home.client.ledger.read() as tx:
        document = parse_json(bodies.get(tx, job.report_digest or "") or b"")
        rows = samples.of(tx, job_id)
    assert isinstance(document, dict)
    told = [one["digest"] for one in document["companion"]["samples"]]
    texts = [one["text"] for one in document["samples"]]
    report(f"{len(drawn)} drawn again, {len(told)} digests, answers {sorted(set(texts))}")
    assert 2 == job.fence
    assert [sha256_digest(text.encode()) for text in texts] == told
    assert job.k == len(told) >= 3
    if other_version:
        assert {"new"} == set(texts)
        assert 3 == len(drawn)
        assert document["companion"]["model_digest"] == f"sha256:{'1' * 64}"
    else:
        assert Counter(texts)["old"] == 2
        assert job.k - 2 == len(drawn)
        assert {sha256_digest(one.text.encode()) for one in rows} == set(told)
