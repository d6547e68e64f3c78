"""Workers that end at each start: the circuit of `honeyflow up`."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import psutil
import pytest

from ledger import events
from ledger.values import EventRow
from tests.chaos import processes
from tests.chaos.harness import MODEL, Cluster, NewCluster
from tests.chaos.reporting import Report, fault
from tests.stack import wait_for

BROKEN = {"load": {"fails": "start", "message": "the weights are not there"}}
COOLDOWN_S = 3.0
_UP = f"""
from cli import main, supervisor
supervisor.COOLDOWN_S, supervisor.FIRST_WAIT_S = {COOLDOWN_S}, 0.05
ready = supervisor.Child.mark_ready
supervisor.Child.mark_ready = lambda child: (ready(child), print("works:", child.name, flush=True))
main.main(["up", "--no-metrics"])
"""


@pytest.mark.chaos_slow
@fault("T10", "a worker that ends at each start", required="opens after 5, rests, 1 event, lost 0")
def test_a_worker_that_never_starts_again_opens_its_circuit(
    cluster: NewCluster, report: Report
) -> None:
    """It rests, gets one more try, rests again, and goes on as soon as a try succeeds."""
    home = cluster(config={"cpu_model_assignments": f'["{MODEL}"]'})
    with _honeyflow_up(home) as text:
        home.wait_all(home.submit(), timeout=40)
        wait_for(lambda: f"works: cpu-{MODEL}" in text(), 20, text)
        home.script(BROKEN)
        wait_for(lambda: _worker(home)).kill()

        wait_for(lambda: _opened(home), 40, text)
        opened = time.monotonic()
        failures = text().count(f"cpu-{MODEL} ended with")
        waiting = home.submit(3)
        wait_for(lambda: _worker(home) is not None, 3 * COOLDOWN_S, text)
        rest = time.monotonic() - opened
        wait_for(lambda: text().count(f"cpu-{MODEL} ended with") == failures + 1, 20, text)
        home.script({})
        assert {"queued"} == {home.state(one) for one in waiting}
        home.wait_all(waiting, timeout=30)

    tries = text().count(f"cpu-{MODEL} ended with") - failures
    events = _opened(home)
    lost = home.lost(waiting)
    report(
        f"after {failures}, {rest:.1f} s rest, {tries} failed try, {len(events)} event, lost {lost}"
    )
    (told,) = events
    assert (5, 1) == (failures, tries)
    assert COOLDOWN_S - 1.0 <= rest
    assert (f"cpu-{MODEL}", 5, 1) == (
        told.subject,
        told.details["failures"],
        told.details["exit_code"],
    )


@contextmanager
def _honeyflow_up(home: Cluster) -> Iterator[Callable[[], str]]:
    """`honeyflow up` with a short cooldown; gives what it and its children have said so far."""
    log = home.home / "up.log"
    with log.open("wb") as output:
        up = subprocess.Popen(
            [sys.executable, "-c", _UP],
            # Celery's process titles would write over the marks by which processes are found.
            env={**os.environ, **home.env, "SPT_NOENV": "1"},
            cwd=home.home,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    try:
        yield lambda: log.read_text(errors="replace")
        up.send_signal(signal.SIGTERM)
        assert 0 == up.wait(30)
    finally:
        up.kill()
        up.wait()
        print(log.read_text(errors="replace"))


def _worker(home: Cluster) -> psutil.Process | None:
    """The process that serves the model, if one runs now."""
    served = [one for one in processes.of_home(home.home) if MODEL in processes.shown(one)]
    return served[0] if served else None


def _opened(home: Cluster) -> list[EventRow]:
    with home.client.ledger.read() as tx:
        return [one for one in events.after(tx, 0) if one.kind == "circuit_open"]
