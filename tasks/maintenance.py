"""What beat runs, on the maintenance worker: nudges and sweeps. No engine, no answers."""

from __future__ import annotations

import logging

from ledger import bookmarks, logs, workers
from tasks import sealer, wiring, worker_events
from tasks.celery import app

logger = logging.getLogger(__name__)

BOOKMARK = "beat"
"""The bookmark that tells when something that beat sends was last run."""


@app.task(name="tasks.reconcile", ignore_result=True)
def reconcile() -> None:
    """Nudge this worker's reconciler; every worker reconciles by itself as well."""
    from tasks import worker

    pool = worker.this_pool()
    if pool is not None:
        pool.reconciler.nudge()


@app.task(name="tasks.sweep_workers", ignore_result=True)
def sweep_workers() -> int:
    """Mark workers whose heartbeat is older than `timing.stale_s` as stale; returns how many."""
    client = wiring.client()
    stale_s = client.settings.timing.stale_s
    with client.ledger.write() as tx:
        stale = workers.sweep(tx, stale_after=stale_s)
        for name in stale:
            worker_events.failed(
                tx, name, check="heartbeat", reason=f"no heartbeat for {stale_s:.0f} s"
            )
        bookmarks.note(tx, BOOKMARK)
    for name in stale:
        logger.warning("worker %s has sent no heartbeat for %.0f s", name, stale_s)
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
