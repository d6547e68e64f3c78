"""How a worker ends, and what becomes of its jobs: drained, killed, or left by its engine."""

from __future__ import annotations

import signal
from collections.abc import Callable
from pathlib import Path

import psutil

from ledger import samples
from routing import list_keys
from tasks import infer, ledger_id, publish
from tasks.celery import app
from tasks.client import Client
from tests.integration.scripts import SLOW, YES, state_of
from tests.stack import Worker, wait_for

Start = Callable[..., Worker]


def test_sigterm_lets_short_jobs_finish(start: Start, client: Client) -> None:
    """Within the grace time a running job ends as usual; exit code 0."""
    worker = start(script=SLOW)
    short = infer.delay(model="fake-a", prompt="SHORT")
    wait_for(lambda: state_of(client, short.id) == "running")

    worker.signal(signal.SIGTERM)

    assert 0 == worker.wait_exit()
    assert "succeeded" == state_of(client, short.id)
    assert 1 == client.job(short.id).fence


def test_sigterm_hands_long_jobs_back_with_nothing_counted(start: Start, client: Client) -> None:
    """A job longer than the grace time goes back to the queue and on elsewhere."""
    worker = start(script=SLOW)
    long = infer.delay(model="fake-a", prompt="LONG")
    wait_for(lambda: state_of(client, long.id) == "running")

    worker.signal(signal.SIGTERM)

    assert 0 == worker.wait_exit()
    job = client.job(long.id)
    assert ("queued", 0, 0) == (str(job.state), job.tries, job.crashes)
    with ledger_id.connect(client.settings) as redis:
        assert 1 == redis.llen(list_keys(job.queue)[1])
    start(script=YES)
    assert "yes" == client.wait(long.id, timeout_s=20).answer


def test_a_killed_workers_jobs_go_on_elsewhere_and_keep_their_samples(
    start: Start, client: Client
) -> None:
    """After kill -9 the samples drawn before are not drawn again."""
    script = {
        "rules": [
            {"until_request": 2, "answers": [{"text": "a"}]},
            {"answers": [{"text": "word " * 100}], "token_s": 0.3},
        ]
    }
    worker = start(script=script)
    job = infer.delay(model="fake-a", prompt="x", k=3)
    wait_for(lambda: job.state == "PROGRESS" and job.info["samples"] == 2)

    worker.kill()
    start(script={"rules": [{"answers": [{"text": "a"}]}]})

    assert "a" == client.wait(job.id, timeout_s=20).answer
    with client.ledger.read() as tx:
        fences = [sample.fence for sample in samples.of(tx, job.id)]
    assert [1, 1, 2] == fences


def test_a_dead_engine_hands_its_jobs_back_and_exits_1(
    start: Start, client: Client, tmp_path: Path
) -> None:
    """Nobody fails for it: the jobs are queued again, the process ends, another worker goes on."""
    script = {
        "rules": [
            {"marker": "DIE", "do": "die", "once": str(tmp_path / "died")},
            {"marker": "LONG", "answers": [{"text": "word " * 100}], "token_s": 0.3},
            {"answers": [{"text": "yes"}]},
        ]
    }
    worker = start(script=script)
    innocent = infer.delay(model="fake-a", prompt="LONG")
    wait_for(lambda: state_of(client, innocent.id) == "running")
    culprit = infer.delay(model="fake-a", prompt="DIE")

    assert 1 == worker.wait_exit()
    assert {"queued"} == {state_of(client, innocent.id), state_of(client, culprit.id)}
    start(script={"rules": [{"answers": [{"text": "yes"}]}]})
    for job in (innocent, culprit):
        assert "yes" == client.wait(job.id, timeout_s=20).answer


def test_a_cancel_finds_the_copy_that_runs(start: Start, client: Client) -> None:
    """Although a second message of the job waits for its places in the same worker."""
    start(script=SLOW)
    # Sixteen of twenty places: the second message is taken, and cannot begin.
    long = infer.delay(model="fake-a", prompt="LONG", policy="fixed:16")
    wait_for(lambda: state_of(client, long.id) == "running")
    with ledger_id.connect(client.settings) as redis:

        def in_hand() -> bool:
            return long.id.encode() in b"".join(redis.hvals("unacked"))  # type: ignore[arg-type]

        publish.send(app, [client.job(long.id)], ledger_uuid=client.ledger.uuid)
        wait_for(in_hand)

        client.cancel(long.id)

        wait_for(lambda: state_of(client, long.id) == "cancelled", timeout=5)
        wait_for(lambda: not in_hand())
    assert 1 == client.job(long.id).fence


def test_a_silent_engine_is_noticed_from_its_progress(start: Start, client: Client) -> None:
    """It answers health and makes no tokens: stuck after its patience, then as if it had died."""
    worker = start(script={"rules": [{"do": "hang"}]})
    job = infer.delay(model="fake-a", prompt="x")

    assert 1 == worker.wait_exit(timeout=20)
    assert "queued" == state_of(client, job.id)


def test_an_engine_that_cannot_start_says_why_and_exits_1(start: Start, client: Client) -> None:
    """The figures are in the sentence; nothing is consumed."""
    worker = start(script={"load": {"fails": "memory"}}, ready=False)

    assert 1 == worker.wait_exit()
    assert "OUT_OF_MEMORY" in worker.text()
    assert "Traceback" not in worker.text()


def test_two_workers_of_one_name_are_one_too_many(start: Start, client: Client) -> None:
    """The second refuses to start while the first lives."""
    start(script=YES)
    second = start(ready=False)

    assert 1 == second.wait_exit()
    assert "WORKER_ID_TAKEN" in second.text()


def test_a_worker_leaves_no_process_behind(start: Start, client: Client) -> None:
    """After SIGTERM nothing of its process group is left."""
    worker = start(script=YES)
    infer.delay(model="fake-a", prompt="x").get(timeout=10)
    children = psutil.Process(worker.process.pid).children(recursive=True)

    assert 0 == worker.stop()
    assert [] == [child for child in children if child.is_running()]


def test_a_transient_error_is_tried_again_after_a_wait(start: Start, client: Client) -> None:
    """The wait is a column, the try is counted, and what was drawn before is kept."""
    script = {
        "rules": [
            {"until_request": 1, "do": "error", "code": "BUSY", "retriable": True},
            {"answers": [{"text": "yes"}]},
        ]
    }
    start(script=script)

    result = infer.delay(model="fake-a", prompt="x").get(timeout=15)

    job = client.job(result["job_id"])
    assert ("yes", 1, 2) == (result["answer"], job.tries, job.fence)


def test_sigquit_ends_at_once_and_loses_nothing(start: Start, client: Client) -> None:
    """A cold stop hands running jobs back without waiting for the grace time."""
    worker = start(script=SLOW)
    long = infer.delay(model="fake-a", prompt="LONG")
    wait_for(lambda: state_of(client, long.id) == "running")

    worker.signal(signal.SIGQUIT)
    worker.wait_exit()

    assert "queued" == state_of(client, long.id)
    start(script=YES)
    assert "yes" == client.wait(long.id, timeout_s=20).answer
