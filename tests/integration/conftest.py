"""A real Redis for the run, and real workers for each test."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from ledger import jobs
from tasks import ledger_id, wiring
from tests.chaos.harness import Cluster
from tests.stack import Worker, running_redis, wait_for, write_script


@pytest.fixture(scope="session")
def broker(home: Path) -> Iterator[None]:
    """The embedded Redis of this run, with AOF."""
    with running_redis(home / "data" / "redis"):
        yield


class Shared:
    """The worker that tests of one file share; whoever asks for another one ends it."""

    def __init__(self) -> None:
        self._worker: Worker | None = None
        self._asked: object = None

    def serve(self, home: Path, *options: str, script: dict[str, Any]) -> Worker:
        """One that was started like this, and has nothing to do."""
        asked = (options, script)
        if self._worker is None or self._asked != asked or not _is_idle(self._worker):
            self.end()
            write_script(home, "fake-a", script)
            words = list(options) or ["--device", "cpu", "--model", "fake-a"]
            self._worker, self._asked = Worker(home, words, {}), asked
            self._worker.wait_ready()
        return self._worker

    def end(self) -> None:
        """End it; nobody is served."""
        if self._worker is not None:
            self._worker.kill()
            self._worker = None
            _drop_messages()


@pytest.fixture(scope="module")
def shared() -> Iterator[Shared]:
    """No worker yet, and none at the end of the file."""
    made = Shared()
    yield made
    made.end()


@pytest.fixture(autouse=True)
def _alone(request: pytest.FixtureRequest, shared: Shared) -> None:
    """Nobody works beside a test that did not ask for it."""
    if "serve" not in request.fixturenames:
        shared.end()


@pytest.fixture
def serve(broker: None, home: Path, shared: Shared) -> Iterator[Callable[..., Worker]]:
    """Have a worker, as `start`, that earlier tests may have used: it must not be harmed."""
    served: list[tuple[Worker, int]] = []

    def begin(*options: str, script: dict[str, Any]) -> Worker:
        worker = shared.serve(home, *options, script=script)
        served.append((worker, len(worker.text())))
        return worker

    yield begin
    for worker, before in served:
        # Shown by pytest when the test fails.
        print(worker.text()[before:][-6000:])
    write_script(home, "fake-a", {})


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
    _drop_messages()


def _messages() -> list[Any]:
    """The keys of what nobody took yet, and of what workers have in hand."""
    with ledger_id.connect(wiring.settings()) as redis:
        in_hand = [key for key in ("unacked", "unacked_index") if redis.exists(key)]
        return [*redis.scan_iter(_type="list"), *in_hand]


def _drop_messages() -> None:
    """Take away what nobody will take, and what killed workers had: it is no other test's."""
    if left := _messages():
        with ledger_id.connect(wiring.settings()) as redis:
            redis.delete(*left)


def _is_idle(worker: Worker) -> bool:
    """Whether a worker goes on and is soon done with what an earlier test left it."""

    def done() -> bool:
        with wiring.client().ledger.read() as tx:
            held = jobs.list(tx, states=["queued", "running"], limit=1)
        return not held and not _messages()

    try:
        wait_for(done, timeout=5.0)
    except AssertionError:
        return False
    return worker.process.poll() is None


@pytest.fixture
def client(broker: None) -> Iterator[Any]:
    """The client of this process, on a migrated ledger."""
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
