"""Which state a worker is in now: what it said last, unless it cannot be so any more."""

from __future__ import annotations

from ledger.standings import Standing
from ledger.workers import FAILED, STALE, STOPPED
from monitoring.metrics import WORKER_STATES

GONE = frozenset({STOPPED, STALE, FAILED})
"""The states in which a worker's last words are about the past."""

_UNTOLD = "starting"


def state_of(standing: Standing) -> str:
    """One of `WORKER_STATES`.

    A heartbeat comes twice a minute and says nothing of a sudden end, which a lease does at once: a
    worker whose lease is over is stale, whatever it said, unless it said good-bye.
    """
    told = standing.worker.state
    if told not in GONE and not standing.leased:
        return STALE
    return told if told in WORKER_STATES else _UNTOLD
