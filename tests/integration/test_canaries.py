"""Canaries go through every part of the cluster, and leave as little behind as they can."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from ledger import Job, jobs, receipts, reviews
from monitoring.follower import Follower
from tasks import app
from tasks.canaries import send_canaries
from tests.chaos.harness import YES, Cluster
from tests.stack import BIN, wait_for


@pytest.fixture
def canaries(tmp_path: Path) -> Iterator[Cluster]:
    """A cluster that is asked for canaries every second."""
    made = Cluster(tmp_path / "place", config={"canary": "{ every_s = 1 }"})
    made.settled = True
    yield made
    made.close()


@contextmanager
def beat(place: Cluster) -> Iterator[None]:
    """Celery's beat for a cluster."""
    with (place.home / "beat.log").open("wb") as output:
        process = subprocess.Popen(
            [str(BIN / "celery"), "-A", "tasks", "beat"],
            env={**os.environ, **place.env},
            cwd=place.home,
            stdout=output,
            stderr=subprocess.STDOUT,
        )
    try:
        yield
    finally:
        process.terminate()
        process.wait(20)


def answered(place: Cluster) -> list[Job]:
    """The canaries that came back."""
    with place.client.ledger.read() as tx:
        return [job for job in jobs.list(tx, limit=50) if job.state == "succeeded"]


def test_a_canary_is_answered_and_leaves_no_receipt(canaries: Cluster) -> None:
    """Nor a report or a review; it says what it is, and no figure of people's jobs has it."""
    canaries.script(YES)
    canaries.start_worker()
    canaries.start_worker(name="maintenance", options=["--maintenance"])

    with beat(canaries):
        wait_for(lambda: len(answered(canaries)) > 1, 40)

    client = canaries.client
    for job in answered(canaries):
        assert ("canary", None, None, False) == (
            job.origin,
            job.receipt_digest,
            job.report_digest,
            job.review,
        )
        assert ("", "yes") == (client.result_of(job).receipt, client.result_of(job).answer)
        with client.ledger.read() as tx:
            assert (None, None) == (receipts.get(tx, job.id), reviews.get(tx, job.id))
    follower = Follower(client.ledger, holder="test")
    while follower.advance():
        pass
    of_jobs = {
        name: total.value
        for (name, _), total in follower.totals.items()
        if total.value and name.startswith(("swarmos_job", "swarmos_receipts", "swarmos_queue"))
    }
    assert {} == of_jobs
    (took,) = (
        total
        for (name, labels), total in follower.totals.items()
        if name == "swarmos_canary_duration_seconds" and labels == ("fake-a",)
    )
    assert len(answered(canaries)) == sum(took.counts)


def test_without_being_asked_for_there_are_none(place: Cluster) -> None:
    """Beat does not send the task, and by itself it does nothing."""
    place.start_worker()

    assert "send-canaries" not in app.conf.beat_schedule
    assert 0 == send_canaries()
    with place.client.ledger.read() as tx:
        assert [] == jobs.list(tx, limit=1)
