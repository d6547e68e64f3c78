"""Histories that the checker passes: of a small run, and of crashes."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from ledger import Claim, Ledger, jobs, sessions
from tasks import settings
from tests.chaos import apps
from tests.chaos.harness import Cluster
from tests.chaos.history import ACCEPTED, History
from tests.stack import write_config


@pytest.fixture(scope="package")
def good(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The history of a real, small run: answers, a failure, a refusal, and what came too late."""
    home = Cluster(tmp_path_factory.mktemp("good") / "home")
    try:
        error = {"marker": "BAD", "do": "error", "code": "NO_GOOD", "retriable": False}
        home.script({"rules": [error, {"answers": [{"text": "yes"}]}]})
        home.submit(3, policy="fixed:3")
        home.submit(prompt="BAD")
        home.client.cancel(home.submit(delay_s=60.0)[0])
        home.submit(expires_s=0.1)
        home.submit(model="nowhere")
        home.start_worker()
        yield home.settle()
    finally:
        home.close()


@pytest.fixture(scope="package")
def crashes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A history of crashes: two jobs share one, then one of them suffers three more alone."""
    folder = tmp_path_factory.mktemp("crashes")
    client = apps.client_for(settings.read({"HONEYFLOW_CONFIG": str(write_config(folder))}))
    history = History(folder / "history.jsonl")
    try:
        with client.ledger.write() as tx:
            asked = {"model": "fake-a", "prompt": "x", "policy": "fixed:1"}
            poison, innocent = (
                job.id for job in jobs.submit(tx, [client.draft(asked) for _ in range(2)])
            )
        history.told([poison, innocent], ACCEPTED)
        for held in ([poison, innocent], *[[poison]] * 3):
            _crash(client.ledger, held)
        with client.ledger.write() as tx:
            jobs.cancel(tx, job_id=innocent, reason="asked")
            jobs.mark_delivered(tx, [poison, innocent])
        history.record_ledger(client.ledger)
    finally:
        apps.close(client)
    return history.path


def _crash(ledger: Ledger, ids: list[str]) -> None:
    """Let a worker die that runs these jobs."""
    with ledger.write() as tx:
        session = sessions.open(
            tx, worker="w", node="n", pid=1, pid_started=1.0, pid_namespace="p", boot_id="b"
        )
        for job in jobs.get_many(tx, ids):
            number = job.sent_number
            claim = jobs.claim(tx, session=session.id, job_id=job.id, number=number)
            assert isinstance(claim, Claim)
    with ledger.write() as tx:
        sessions.close(tx, session.id, crashed=True, reason="process died")
