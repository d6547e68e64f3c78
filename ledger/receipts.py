"""Receipts: one per job, its bytes never changed; triggers in the database see to it.

The leaf index is set once, when the receipt gets its place in a log (`ledger.logs`).
"""

from __future__ import annotations

from collections.abc import Mapping

import sqlalchemy as sa

from ledger import bodies, tables
from ledger.errors import BodyMismatch
from ledger.log_tables import log_leaves, logs
from ledger.log_values import Leaf, LogRow, LogState, ReceiptRow
from ledger.tables import receipts
from ledger.transaction import Transaction

_THE_JOB = receipts.c.job_id == sa.bindparam("the_job")
_GET = sa.select(receipts).where(_THE_JOB)
_INSERT = tables.both(lambda insert: insert(receipts))
_OF_DIGEST = sa.select(receipts).where(receipts.c.digest == sa.bindparam("the_digest"))
_UNLOGGED = (
    sa.select(receipts)
    .where(receipts.c.leaf_index.is_(None), receipts.c.log == sa.bindparam("the_log"))
    .order_by(receipts.c.created_at, receipts.c.job_id)
    .limit(sa.bindparam("at_most", type_=sa.Integer))
)
_PLACE = (
    sa.update(receipts)
    .where(_THE_JOB, receipts.c.leaf_index.is_(None))
    .values(leaf_index=sa.bindparam("the_leaf", type_=sa.BigInteger))
)
_MOVE = (
    sa.update(receipts)
    .where(receipts.c.log == sa.bindparam("old_log"), receipts.c.leaf_index.is_(None))
    .values(log=sa.bindparam("new_log", type_=sa.BigInteger))
    .returning(receipts.c.job_id)
)
_WAITING = sa.select(sa.func.count()).where(
    receipts.c.leaf_index.is_(None),
    receipts.c.log == sa.bindparam("the_log", type_=sa.BigInteger),
)
_elsewhere, _other_log = log_leaves.alias("elsewhere"), logs.alias("other_log")
_ORPHANS = (
    sa.select(log_leaves.c.type, log_leaves.c.hash, log_leaves.c.job_id)
    .where(
        log_leaves.c.log == sa.bindparam("the_log", type_=sa.BigInteger),
        log_leaves.c.index >= sa.bindparam("from_index", type_=sa.BigInteger),
        log_leaves.c.job_id.is_not(None),
        ~sa.exists().where(
            _elsewhere.c.job_id == log_leaves.c.job_id,
            _elsewhere.c.log != log_leaves.c.log,
            _elsewhere.c.log == _other_log.c.number,
            (_elsewhere.c.index < _other_log.c.sealed_size)
            | (_other_log.c.state == LogState.OPEN.value),
        ),
    )
    .order_by(log_leaves.c.index)
    .limit(sa.bindparam("at_most", type_=sa.Integer))
)


def get(tx: Transaction, job_id: str) -> ReceiptRow | None:
    """A job's receipt."""
    tx.flush()
    row = tx.row(_GET, {"the_job": job_id})
    return None if row is None else ReceiptRow(**row)


def of_digest(tx: Transaction, digest: str) -> ReceiptRow | None:
    """The receipt with this id, `sha256:` and 64 digits."""
    tx.flush()
    row = tx.row(_OF_DIGEST, {"the_digest": digest})
    return None if row is None else ReceiptRow(**row)


def unlogged(tx: Transaction, log: int, limit: int = 100) -> list[ReceiptRow]:
    """Receipts of a log that have no place in it yet, oldest first."""
    return [ReceiptRow(**row) for row in tx.rows(_UNLOGGED, {"the_log": log, "at_most": limit})]


def place(tx: Transaction, places: Mapping[str, int]) -> None:
    """Write down which leaf each job's receipt has become; a place is given once."""
    if places:
        told = [{"the_job": job_id, "the_leaf": index} for job_id, index in places.items()]
        tx.execute(_PLACE, told)


def move(tx: Transaction, *, old_log: int, new_log: int) -> int:
    """Give the receipts without a place to another log; tells how many they were."""
    return len(tx.rows(_MOVE, {"old_log": old_log, "new_log": new_log}))


def waiting(tx: Transaction, log: int) -> int:
    """How many receipts of a log have no place in it yet."""
    return int(tx.execute(_WAITING, {"the_log": log}).scalar_one())


def orphans(tx: Transaction, log: LogRow, limit: int) -> list[Leaf]:
    """The receipts whose batch was begun and is never sealed, for this log may not grow.

    Those that another log has, or is about to have, are left out.
    """
    asked = {"the_log": log.number, "from_index": log.sealed_size, "at_most": limit}
    return [Leaf(**row) for row in tx.rows(_ORPHANS, asked)]


def add(tx: Transaction, receipt: ReceiptRow) -> None:
    """Write a receipt; only `jobs.commit` does, in the transaction that ends its job."""
    row = {
        "job_id": receipt.job_id,
        "canonical": receipt.canonical,
        "digest": receipt.digest,
        "report_digest": receipt.report_digest,
        "leaf_index": receipt.leaf_index,
        "signature": receipt.signature,
        "created_at": tx.now,
        "log": receipt.log,
    }
    tx.defer(_INSERT, [row])


def check(receipt: ReceiptRow, *, job_id: str, report: bytes) -> None:
    """Refuse a receipt that does not belong to this job or does not name these bytes.

    Raises:
        BodyMismatch: with both sides in `details`.
    """
    for what, told, true in (
        ("job id", receipt.job_id, job_id),
        ("digest", receipt.digest, bodies.digest_of(receipt.canonical)),
        ("report digest", receipt.report_digest, bodies.digest_of(report)),
    ):
        if told != true:
            raise BodyMismatch(
                f"The receipt of job {job_id} says {what} {told}, but it is {true}.",
                suggested_action="Make the receipt from exactly the bytes that are stored.",
                details={"job_id": job_id, "told": told, "true": true},
            )
