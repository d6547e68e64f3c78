"""What beat runs, on the maintenance worker: nudges and sweeps. No engine, no answers."""

from __future__ import annotations

import logging

from ledger import logs, workers
from tasks import sealer, wiring
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


@app.task(name="tasks.request_seals", ignore_result=True)
def request_seals() -> int:
    """Ask every worker to seal whose log has enough that waits, or for long enough; how many."""
    client = wiring.client()
    sealing = client.settings.sealing
    asked = 0
    with client.ledger.write() as tx:
        for waiting in logs.unlogged(tx):
            if waiting.oldest <= tx.now - sealing.after_s:
                how = sealer.ALL
            elif waiting.count >= sealing.batch:
                how = sealer.FULL
            else:
                continue
            asked += workers.ask_to_seal(tx, waiting.worker, how)
    return asked
