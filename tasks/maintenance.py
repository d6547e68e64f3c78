"""What beat runs, on the maintenance worker: nudges and sweeps. No engine, no answers."""

from __future__ import annotations

import logging

from ledger import workers
from tasks import wiring
from tasks.celery import app

logger = logging.getLogger(__name__)

STALE_AFTER_S = 60.0


@app.task(name="tasks.reconcile", ignore_result=True)
def reconcile() -> None:
    """Nudge this worker's reconciler; every worker reconciles by itself as well."""
    from tasks import worker

    pool = worker.this_pool()
    if pool is not None:
        pool.reconciler.nudge()


@app.task(name="tasks.sweep_workers", ignore_result=True)
def sweep_workers() -> int:
    """Mark workers whose heartbeat is older than 60 s as stale; returns how many."""
    client = wiring.client()
    with client.ledger.write() as tx:
        stale = workers.sweep(tx, stale_after=STALE_AFTER_S)
    for name in stale:
        logger.warning("worker %s has sent no heartbeat for %.0f s", name, STALE_AFTER_S)
    return len(stale)
