"""What a worker tells whoever watches: events in the ledger, under the worker's name."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any

from ledger import Ledger, LedgerError, Transaction, events

logger = logging.getLogger(__name__)

STARTED = "worker_started"
STOPPED = "worker_stopped"
FAILED = "worker_failed"
MODEL_LOADED = "model_loaded"


def note(ledger: Ledger, worker: str, kind: str, details: Mapping[str, Any]) -> None:
    """Write an event of a worker; a ledger that is away gets none."""
    try:
        with ledger.write() as tx:
            events.add(tx, kind=kind, subject=worker, details=dict(details))
    except LedgerError as error:
        logger.warning("the event %s is not written: %s", kind, error)


def failed(tx: Transaction, worker: str, *, check: str, reason: str) -> None:
    """Write that a worker was found unwell; `check` is process, progress, engine or heartbeat."""
    events.add(tx, kind=FAILED, subject=worker, details={"check": check, "reason": reason})


def stopped(tx: Transaction, worker: str, *, reason: str) -> None:
    """Write that a worker has stopped as it was told to."""
    events.add(tx, kind=STOPPED, subject=worker, details={"reason": reason})
