"""Events: what people may want to be told, kept in the order in which it happened.

No reader misses one (see `ledger.sequence`).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ledger import sequence, tables
from ledger.transaction import Transaction
from ledger.values import EventRow, cleaned

JOB_DEAD = "job_dead"
"""A job was given up after its third crash; written where that is decided, in `ledger.crashes`."""

JOBS_RESENT = "jobs_resent"
"""Jobs had vanished from the broker and were sent again; `jobs` in the details is their number."""

_APPEND = sequence.appending(tables.events, "id")
_AFTER = sequence.following(tables.events, "id")
_BEHIND = sequence.behind(tables.events, "id")


def add(tx: Transaction, *, kind: str, subject: str, details: Mapping[str, Any]) -> None:
    """Write down an event; `kind` is a code, `subject` whom it is about, `details` plain JSON."""
    event = {
        "at": tx.now,
        "kind": cleaned(kind),
        "subject": cleaned(subject),
        "details": dict(details),
    }
    tx.execute(_APPEND, sequence.counted(tx, event))


def after(tx: Transaction, id: int, limit: int = 500) -> list[EventRow]:  # noqa: A002 - column
    """The events after number `id` (0 for all), oldest first; none is ever added behind them."""
    rows = tx.rows(_AFTER, {"after_seq": id, "at_most": limit})
    return [EventRow(**row) for row in rows]


def count_after(tx: Transaction, id: int) -> int:  # noqa: A002 - column
    """How many events come after number `id`."""
    return int(tx.execute(_BEHIND, {"after_seq": id}).scalar_one())
