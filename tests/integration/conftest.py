"""A real Redis for the run, and real workers for each test."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from ledger import jobs
from tests.chaos.harness import Cluster
from tests.stack import Worker, running_redis, write_script


@pytest.fixture(scope="session")
def broker(home: Path) -> Iterator[None]:
    """The embedded Redis of this run, with AOF."""
    with running_redis(home / "data" / "redis"):
        yield


@pytest.fixture
def start(broker: None, home: Path) -> Iterator[Callable[..., Worker]]:
    """Start workers that end with the test; the script says how their fake engine behaves."""
    started: list[Worker] = []

    def begin(
        *options: str,
        script: dict[str, Any] | None = None,
        model: str = "fake-a",
        ready: bool = True,
        env: dict[str, str] | None = None,
        inside: Sequence[str] = (),
    ) -> Worker:
        if script is not None:
            write_script(home, model, script)
        words = list(options) or ["--device", "cpu", "--model", model]
        worker = Worker(home, words, env or {}, inside=inside)
        started.append(worker)
        return worker.wait_ready() if ready else worker

    yield begin
    for worker in started:
        worker.kill()
        # Shown by pytest when the test fails.
        print(worker.text()[-6000:])
    write_script(home, "fake-a", {})
    write_script(home, "fake-b", {})


@pytest.fixture
def client(broker: None) -> Iterator[Any]:
    """The client of this process, on a migrated ledger."""
    from tasks import wiring

    wiring.open_ledger(migrate=True).close()
    client = wiring.client()
    yield client
    with client.ledger.write() as tx:
        for job in jobs.list(tx, limit=1000):
            if not job.ended:
                jobs.cancel(tx, job_id=job.id, reason="the test is over")


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Cluster]:
    """A Redis, a ledger and a client of the test's own, which may be harmed; no worker."""
    made = Cluster(tmp_path / "place")
    # Nothing of it is worked off and checked at the end, as in tests/chaos.
    made.settled = True
    yield made
    made.close()
