"""What a worker tells whoever watches: events in the ledger, under the worker's name."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any

from ledger import Ledger, LedgerError, events

logger = logging.getLogger(__name__)


def note(ledger: Ledger, worker: str, kind: str, details: Mapping[str, Any]) -> None:
    """Write an event of a worker; a ledger that is away gets none."""
    try:
        with ledger.write() as tx:
            events.add(tx, kind=kind, subject=worker, details=dict(details))
    except LedgerError as error:
        logger.warning("the event %s is not written: %s", kind, error)
