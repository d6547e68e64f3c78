"""A worker sleeps past its lease: what becomes of its name, and of what it was told."""

from __future__ import annotations

import time

from ledger import events, sessions, workers
from ledger.values import EventRow
from tests.chaos.faults import freeze
from tests.chaos.harness import YES, Cluster, NewCluster
from tests.chaos.reporting import Report, fault
from tests.chaos.workers import ChaosWorker
from tests.stack import wait_for

SHORT = {"lease_s": 1.0, "renew_s": 0.2}


@fault("T04", "a frozen worker's name is taken, then SIGCONT", required="exit 1 <= 10 s, lost 0")
def test_a_worker_whose_name_was_taken_ends(cluster: NewCluster, report: Report) -> None:
    """It says why, leaves the other's session alone, and what it pops while it ends goes on."""
    home = cluster(timing=SHORT)
    home.script(YES)
    sleeper = home.start_worker(name="bee")
    home.wait_all(home.submit())
    freeze(home, sleeper)
    time.sleep(1.5 * SHORT["lease_s"])
    other = home.start_worker(name="bee")
    session = _session(home)

    # Some of them come to the sleeper, which waits for a message since before.
    ids = home.submit(10)
    sleeper.thaw()
    woken = time.monotonic()
    while sleeper.alive and time.monotonic() < woken + 5:
        ids += home.submit()
        time.sleep(0.1)
    code = sleeper.wait_exit(10)
    ended = time.monotonic() - woken
    home.wait_all(ids, timeout=20)

    (event,) = _events(home, "worker_replaced")
    report(f"exit {code} after {ended:.1f} s, lost {home.lost(ids)} of {len(ids)}")
    assert 1 == code
    assert ended <= 10.0
    assert sleeper.name == event.subject
    assert f"process {other.pid} on testnode" in event.details["reason"]
    assert "another worker has this one's name" in sleeper.text()
    assert other.alive
    assert session == _session(home)
    assert {(session, 1, 0)} == {
        (home.job(one).session, home.job(one).fence, home.job(one).crashes) for one in ids
    }


@fault("T04", "a drained worker sleeps past its lease", required="drained until undrained, lost 0")
def test_a_drained_worker_stays_drained(cluster: NewCluster, report: Report) -> None:
    """Its next session has been told what its last one was."""
    home = cluster(timing=SHORT)
    home.script(YES)
    worker = home.start_worker()
    home.wait_all(home.submit())
    _tell(home, worker, drain=True)
    wait_for(lambda: "told to drain" in worker.text())
    session = _session(home)

    freeze(home, worker)
    time.sleep(1.5 * SHORT["lease_s"])
    worker.thaw()
    wait_for(lambda: _session(home) not in (session, None))
    ids = home.submit(3)
    time.sleep(1.0)

    assert {"queued"} == {home.state(one) for one in ids}
    assert "told to go on" not in worker.text()
    _tell(home, worker, drain=False)
    home.wait_all(ids)
    report(f"drained under its next session, lost {home.lost(ids)} after it was undrained")


def _tell(home: Cluster, worker: ChaosWorker, *, drain: bool) -> None:
    """What `honeyflow worker drain` and `undrain` do."""
    with home.client.ledger.write() as tx:
        assert workers.set_flag(tx, worker.name, drain=drain)


def _session(home: Cluster) -> str | None:
    """The one session that is alive."""
    with home.client.ledger.read() as tx:
        found = [one.id for one in sessions.live(tx)]
    return found[0] if len(found) == 1 else None


def _events(home: Cluster, kind: str) -> list[EventRow]:
    with home.client.ledger.read() as tx:
        return [event for event in events.after(tx, 0) if event.kind == kind]
