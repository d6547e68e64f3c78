"""A real worker over the real Redis, used as people use Celery. The engine is the scripted one."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from celery import Celery, chain, chord, group

from ledger import jobs, receipts, samples
from proofs import Receipt, sha256_digest
from tasks import app, infer, infer_many, ledger_id
from tasks.client import Client
from tasks.errors import JobCancelled, JobExpired, JobFailed, RequestInvalid
from tests.integration.scripts import SLOW, YES, state_of
from tests.stack import Worker, wait_for

Start = Serve = Callable[..., Worker]


def test_delay_and_get_give_a_confident_receipted_answer(serve: Serve, client: Client) -> None:
    """The front door: a dict with the answer, its confidence, K and the receipt's digest."""
    serve(script=SLOW)

    result = infer.delay(model="fake-a", prompt="Is it?").get(timeout=10)

    with client.ledger.read() as tx:
        receipt = receipts.get(tx, result["job_id"])
        request = jobs.request(tx, result["job_id"])
    assert receipt is not None
    told = Receipt.from_bytes(receipt.canonical)
    assert {"yes", "succeeded", 1.0, 3} == {
        result["answer"],
        result["state"],
        result["confidence"],
        result["k"],
    }
    assert result["receipt"] == sha256_digest(receipt.canonical)
    assert told.input_hash == sha256_digest(request or b"")
    assert told.output_hash == sha256_digest(b"yes")
    assert (told.k_samples, told.confidence_score) == (3, 100)


def test_every_sample_is_in_the_ledger_with_a_seed_of_its_own(serve: Serve, client: Client) -> None:
    """Samples are kept as they finish, keyed by job and index."""
    serve(script=SLOW)

    result = infer.delay(model="fake-a", prompt="Is it?", k=5).get(timeout=10)

    with client.ledger.read() as tx:
        drawn = samples.of(tx, result["job_id"])
    assert [0, 1, 2, 3, 4] == [sample.index for sample in drawn]
    assert 5 == len({sample.seed for sample in drawn})
    for sample in drawn:
        assert sample.first_token_ms is not None
        assert 0 <= sample.first_token_ms <= sample.duration_ms + 1
        assert 0 == sample.cached_tokens


def test_a_group_gives_its_results_in_order(start: Start, client: Client) -> None:
    """Each part has its own job."""
    rules = [{"marker": f"q{i}.", "answers": [{"text": f"a{i}"}]} for i in range(5)]
    start(script={"rules": rules})

    parts = group(infer.s(model="fake-a", prompt=f"q{i}.") for i in range(5))()

    assert [f"a{i}" for i in range(5)] == [part["answer"] for part in parts.get(timeout=10)]


def test_infer_many_enters_all_or_none(serve: Serve, client: Client) -> None:
    """One wrong request among many refuses them all; nothing is entered."""
    serve(script=SLOW)
    good = [{"model": "fake-a", "prompt": f"{i}"} for i in range(20)]

    with client.ledger.read() as tx:
        before = len(jobs.list(tx, limit=1000))
    with pytest.raises(RequestInvalid):
        infer_many([*good, {"model": "fake-a", "prompt": ""}])
    with client.ledger.read() as tx:
        assert before == len(jobs.list(tx, limit=1000))

    assert 20 == len(infer_many(good).get(timeout=20))


def test_a_chain_hands_the_answer_on(start: Start, client: Client) -> None:
    """`${previous}` in the next prompt stands for the answer before it."""
    start(
        script={
            "rules": [
                {"marker": "again: first", "answers": [{"text": "second"}]},
                {"answers": [{"text": "first"}]},
            ]
        }
    )

    result = chain(
        infer.s(model="fake-a", prompt="say"),
        infer.s(model="fake-a", prompt="again: ${previous}"),
    )().get(timeout=10)

    assert "second" == result["answer"]


def test_a_chord_hands_all_answers_to_its_body(start: Start, client: Client) -> None:
    """The body runs once, after every part."""
    start(
        script={
            "rules": [
                {"marker": '["part", "part", "part"]', "answers": [{"text": "whole"}]},
                {"answers": [{"text": "part"}]},
            ]
        }
    )

    result = chord(
        [infer.s(model="fake-a", prompt=f"p{i}") for i in range(3)],
        infer.s(model="fake-a", prompt="sum up ${previous}"),
    )()

    assert "whole" == result.get(timeout=10)["answer"]


def test_a_chord_and_a_chain_outlive_the_broker_and_the_worker(
    start: Start, client: Client
) -> None:
    """With jobs running and waiting, the broker is flushed and the worker killed: all complete."""
    first = start(script=SLOW)
    header = [infer.s(model="fake-a", prompt=f"SHORT {i}") for i in range(4)]
    of_chord = chord(header, infer.s(model="fake-a", prompt="end ${previous}"))()
    of_chain = chain(
        infer.s(model="fake-a", prompt="SHORT c"), infer.s(model="fake-a", prompt="${previous}")
    )()
    wait_for(lambda: of_chain.parent.state in ("STARTED", "PROGRESS"))

    first.kill()
    with ledger_id.connect(client.settings) as redis:
        redis.flushall()
    start(script=SLOW)

    assert "yes" == of_chord.get(timeout=30)["answer"]
    assert "yes" == of_chain.get(timeout=30)["answer"]


def test_countdown_and_eta_hold_a_job_back(serve: Serve, client: Client) -> None:
    """The wait is a column of the ledger: the message is sent when it is due."""
    serve(script=SLOW)

    by_countdown = infer.apply_async(kwargs={"model": "fake-a", "prompt": "a"}, countdown=1.0)
    by_eta = infer.apply_async(
        kwargs={"model": "fake-a", "prompt": "b"}, eta=datetime.now(UTC) + timedelta(seconds=1)
    )

    assert {"scheduled"} == {state_of(client, by_countdown.id), state_of(client, by_eta.id)}
    for result in (by_countdown, by_eta):
        result.get(timeout=10)
        job = client.job(result.id)
        assert job.claimed_at is not None
        assert job.claimed_at - job.created_at >= 1.0


def test_a_job_that_is_late_expires(serve: Serve, client: Client) -> None:
    """Queued or running, a deadline that passes ends the job, and whoever waits is told."""
    serve(script=SLOW)

    running = infer.apply_async(kwargs={"model": "fake-a", "prompt": "LONG"}, expires=1.0)
    elsewhere = infer.apply_async(kwargs={"model": "fake-b", "prompt": "x"}, expires=0.5)

    for result in (running, elsewhere):
        with pytest.raises(JobExpired):
            result.get(timeout=10)
        assert "expired" == state_of(client, result.id)


def test_a_run_timeout_fails_the_job_and_nobody_else(serve: Serve, client: Client) -> None:
    """`time_limit` counts from the claim."""
    serve(script=SLOW)

    slow = infer.apply_async(kwargs={"model": "fake-a", "prompt": "LONG"}, time_limit=1)
    quick = infer.delay(model="fake-a", prompt="now")

    assert "yes" == quick.get(timeout=5)["answer"]
    with pytest.raises(JobFailed, match="TIMEOUT"):
        slow.get(timeout=10)


@pytest.mark.parametrize("terminate", [True, False])
def test_revoke_stops_a_running_job_and_frees_its_places(
    serve: Serve, client: Client, *, terminate: bool
) -> None:
    """The others go on; the ledger says cancelled."""
    serve(script=SLOW)
    long = infer.delay(model="fake-a", prompt="LONG")
    wait_for(lambda: state_of(client, long.id) == "running")

    long.revoke(terminate=terminate)

    wait_for(lambda: state_of(client, long.id) == "cancelled", timeout=5)
    stats = wait_for(lambda: app.control.inspect(timeout=2).stats())
    assert 0 == next(iter(stats.values()))["pool"]["engine"]["samples"]
    with pytest.raises(Exception, match=r"terminated|cancelled|revoked"):
        long.get(timeout=5)


def test_a_cancelled_job_never_starts(start: Start, client: Client) -> None:
    """Cancelled while no worker is up; the worker that comes later does not run it."""
    job = infer.delay(model="fake-a", prompt="x")
    job.revoke()
    after = infer.delay(model="fake-a", prompt="y")

    start(script=YES)

    assert "yes" == after.get(timeout=10)["answer"]
    assert ("cancelled", 0) == (state_of(client, job.id), client.job(job.id).fence)
    with pytest.raises(JobCancelled):
        job.get(timeout=10)


def test_a_running_job_tells_its_progress(start: Start, client: Client) -> None:
    """PENDING, STARTED, PROGRESS with samples and agreement, SUCCESS."""
    start(
        script={
            "rules": [
                {"until_request": 2, "answers": [{"text": "a"}]},
                {"answers": [{"text": "a"}], "first_token_s": 1.5},
            ]
        }
    )

    result = infer.delay(model="fake-a", prompt="x")

    wait_for(lambda: result.state == "PROGRESS", timeout=5)
    assert {"samples": 2, "agreement": 1.0, "job_id": result.id} == result.info
    result.get(timeout=10)
    assert "SUCCESS" == result.state


def test_an_app_with_only_the_broker_can_send(serve: Serve, client: Client) -> None:
    """A stock message is entered in the ledger; a wrong one fails there and at the sender."""
    serve(script=SLOW)
    stock = Celery(broker=app.conf.broker_url, backend=app.conf.broker_url)

    good = stock.send_task("tasks.infer", kwargs={"model": "fake-a", "prompt": "x"})
    bad = stock.send_task("tasks.infer", kwargs={"model": "nowhere", "prompt": "x"})

    assert "yes" == good.get(timeout=10)["answer"]
    with pytest.raises(Exception, match="MODEL_UNKNOWN"):
        bad.get(timeout=10)
    assert {"succeeded", "failed"} == {state_of(client, good.id), state_of(client, bad.id)}


def test_remote_control_knows_the_worker(serve: Serve, client: Client) -> None:
    """Ping, active and stats answer, and active shows the job's id and no prompt."""
    serve(script=SLOW)
    long = infer.delay(model="fake-a", prompt="LONG secret")
    wait_for(lambda: state_of(client, long.id) == "running")

    look = app.control.inspect(timeout=2)

    assert {"cpu-fake-a@testnode": {"ok": "pong"}} == look.ping()
    active = look.active()["cpu-fake-a@testnode"]
    assert [long.id] == [entry["id"] for entry in active]
    assert "secret" not in str(active)
    assert "fake-a" == look.stats()["cpu-fake-a@testnode"]["pool"]["engine"]["model"]
    long.revoke(terminate=True)


def test_a_file_in_any_directory_can_import_and_infer(
    serve: Serve, client: Client, tmp_path: Path
) -> None:
    """Settings do not depend on the working directory."""
    serve(script=SLOW)
    file = tmp_path / "use.py"
    file.write_text(
        "from tasks import infer\n"
        "print(infer.delay(model='fake-a', prompt='x').get(timeout=20)['answer'])\n"
    )

    told = subprocess.run(
        [sys.executable, str(file)], cwd=tmp_path, capture_output=True, text=True, timeout=60
    )

    assert ("yes\n", 0) == (told.stdout, told.returncode), told.stderr


def test_two_models_are_served_independently(start: Start, client: Client) -> None:
    """Each worker serves the queue of its own model."""
    start(script={"rules": [{"answers": [{"text": "A"}]}]}, model="fake-a")
    start(script={"rules": [{"answers": [{"text": "B"}]}]}, model="fake-b")

    asked = [infer.delay(model=f"fake-{name}", prompt="who?") for name in "ab"]

    assert ["A", "B"] == [result.get(timeout=10)["answer"] for result in asked]


def test_the_maintenance_worker_needs_no_engine(start: Start, client: Client) -> None:
    """It enters stock messages and reconciles; the model's worker runs the job."""
    start("--maintenance")
    stock = Celery(broker=app.conf.broker_url, backend=app.conf.broker_url)
    sent = stock.send_task("tasks.infer", kwargs={"model": "fake-a", "prompt": "x"})
    wait_for(lambda: any(job.id == sent.id for job in _all(client)))

    start(script=YES)

    assert "yes" == sent.get(timeout=20)["answer"]


def _all(client: Client) -> list[Any]:
    with client.ledger.read() as tx:
        return jobs.list(tx, limit=1000)
