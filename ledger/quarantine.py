"""Quarantine: messages that nobody could make a job of, kept for people to look at.

The newest 10,000 are kept. The totals go on counting whatever is dropped.
"""

from __future__ import annotations

import builtins
from collections.abc import Sequence
from typing import Any

import sqlalchemy as sa

from ledger import bodies, tables
from ledger.tables import quarantine, quarantine_totals
from ledger.transaction import Transaction
from ledger.values import QuarantineRow, cleaned

MAX_ROWS = 10_000
"""How many messages are kept."""

MAX_BYTES = 64 * 1024
"""How much is kept of each."""

MAX_DETAIL_CHARS = 1_000
"""How much is kept of the sentence that says what is wrong with one."""

MAX_NAME_CHARS = 255
_MAX_ID = 2**63 - 1

_INSERT = sa.insert(quarantine).returning(quarantine.c.id)


def _counting(insert: tables.Insert) -> Any:
    first = insert(quarantine_totals).values(total=1)
    return first.on_conflict_do_update(
        index_elements=["reason"], set_={"total": quarantine_totals.c.total + 1}
    )


_COUNT = tables.both(_counting)
# By their numbers: to count 10,000 rows for each new one would be slower than a flood of them.
_DELETE_OLDEST = sa.delete(quarantine).where(
    quarantine.c.id <= sa.bindparam("last", type_=sa.BigInteger)
)
_LIST = (
    sa.select(quarantine)
    .order_by(quarantine.c.id.desc())
    .limit(sa.bindparam("at_most", type_=sa.Integer))
)
_GET = sa.select(quarantine).where(quarantine.c.id == sa.bindparam("the_id", type_=sa.BigInteger))
_DROP = sa.delete(quarantine).where(quarantine.c.id.in_(sa.bindparam("ids", expanding=True)))
_DROP_ALL = sa.delete(quarantine)
_TOTALS = sa.select(quarantine_totals).order_by(quarantine_totals.c.reason)


def add(
    tx: Transaction,
    *,
    queue: str,
    reason: str,
    detail: str,
    data: bytes,
    worker: str,
    size: int | None = None,
    digest: str | None = None,
) -> int:
    """Keep a message and count it; gives its number. What came 10,000 before it is deleted.

    `size` and `digest` are those of the whole message, where `data` is only its beginning.
    """
    reason = cleaned(reason[:MAX_NAME_CHARS])
    kept = {
        "at": tx.now,
        "queue": cleaned(queue[:MAX_NAME_CHARS]),
        "reason": reason,
        "detail": detail[:MAX_DETAIL_CHARS],
        "digest": digest or bodies.digest_of(data),
        "size": len(data) if size is None else size,
        "data": data[:MAX_BYTES],
        "worker": cleaned(worker),
    }
    number = int(tx.execute(_INSERT, kept).scalar_one())
    tx.execute(_COUNT, {"reason": reason})
    tx.execute(_DELETE_OLDEST, {"last": number - MAX_ROWS})
    return number


def list(  # noqa: A001 - callers read quarantine.list
    tx: Transaction, limit: int = 100
) -> builtins.list[QuarantineRow]:
    """The messages kept, the newest first."""
    return [QuarantineRow(**row) for row in tx.rows(_LIST, {"at_most": limit})]


def get(tx: Transaction, id: int) -> QuarantineRow | None:  # noqa: A002 - column
    """One message; None if there is none of that number, however large it is."""
    if abs(id) > _MAX_ID:
        return None
    row = tx.row(_GET, {"the_id": id})
    return None if row is None else QuarantineRow(**row)


def drop(tx: Transaction, ids: Sequence[int] | None) -> int:
    """Delete these messages, or all for None; gives how many there were."""
    if ids is None:
        return tx.execute(_DROP_ALL).rowcount
    known = [number for number in ids if abs(number) <= _MAX_ID]
    return tx.execute(_DROP, {"ids": known}).rowcount if known else 0


def totals(tx: Transaction) -> dict[str, int]:
    """How many messages were ever quarantined for each reason."""
    return {row["reason"]: row["total"] for row in tx.rows(_TOTALS)}
