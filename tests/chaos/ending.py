"""How a chaos test ends: everything is healed, worked off, drained and written down."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import sqlalchemy as sa

from ledger import Transaction, sessions, tables
from tasks.keeper import process_is_gone
from tests.chaos import processes
from tests.chaos.workers import ChaosWorker

if TYPE_CHECKING:
    from tests.chaos.harness import Cluster

DRAIN_S = 25.0

_LEFT = {
    "jobs": sa.select(sa.func.count())
    .select_from(tables.jobs)
    .where(tables.jobs.c.delivered_at.is_(None)),
    "chords": sa.select(sa.func.count())
    .select_from(tables.chords)
    .where(tables.chords.c.size.is_not(None), tables.chords.c.done_at.is_(None)),
}


def settle(cluster: Cluster, *, timeout: float) -> None:
    """Bring a cluster to rest, and write down what is left of it."""
    heal(cluster)
    _await_rest(cluster, timeout=timeout)
    drain([worker for worker in cluster.workers if worker.alive])
    record(cluster)


def heal(cluster: Cluster) -> None:
    """Undo what can be undone: frozen workers, broken networks, a broker that is away."""
    for kept in cluster.supervised:
        kept.stop()
    for worker in cluster.workers:
        worker.thaw()
    for proxy in cluster.proxies:
        proxy.heal()
    if not cluster.broker.alive:
        cluster.broker.start()


def drain(workers: list[ChaosWorker]) -> None:
    """SIGTERM to all, and wait; who does not end is left for the history to tell."""
    for worker in workers:
        worker.process.terminate()
    until = time.monotonic() + DRAIN_S
    while any(worker.alive for worker in workers) and time.monotonic() < until:
        time.sleep(0.05)


def pid_of(tx: Transaction, session_id: str) -> int | None:
    """The process of a session."""
    session = sessions.get(tx, session_id)
    return None if session is None else session.pid


def record(cluster: Cluster) -> None:
    """Write down what the ledger, Redis and the system hold now."""
    past = cluster.history
    past.record_ledger(cluster.client.ledger)
    past.record_redis(cluster.redis())
    for worker in cluster.workers:
        past.note("worker", name=worker.name, pid=worker.pid, code=worker.process.poll())
    for process in processes.of_home(cluster.home):
        if process.pid != cluster.broker.pid and process.ppid() != cluster.broker.pid:
            past.note("process", name=processes.shown(process))
    for path in sorted((cluster.home / "tmp").rglob("*")):
        past.note("file", name=str(path.relative_to(cluster.home)))


def _await_rest(cluster: Cluster, *, timeout: float) -> None:
    """Wait until every job is told, every chord done and every dead session closed."""
    until = time.monotonic() + timeout
    while not _rests(cluster) and time.monotonic() < until:
        if not any(worker.alive for worker in cluster.workers):
            # Nobody reconciles: what the dead held has to be given back by somebody.
            cluster.start_worker(name="janitor", options=["--maintenance"])
        time.sleep(0.05)


def _rests(cluster: Cluster) -> bool:
    with cluster.client.ledger.read() as tx:
        if any(tx.execute(query).scalar_one() for query in _LEFT.values()):
            return False
        return not any(process_is_gone(one) for one in [*sessions.live(tx), *sessions.lapsed(tx)])
