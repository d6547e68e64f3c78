"""Receipts: one per job, its bytes never changed; triggers in the database see to it.

The leaf index and the signature are set once, after the fact.
"""

from __future__ import annotations

import sqlalchemy as sa

from ledger import bodies, tables
from ledger.errors import BodyMismatch
from ledger.tables import receipts
from ledger.transaction import Transaction
from ledger.values import ReceiptRow

_THE_JOB = receipts.c.job_id == sa.bindparam("the_job")
_GET = sa.select(receipts).where(_THE_JOB)
_INSERT = tables.both(lambda insert: insert(receipts))
_UNSEALED = (
    sa.select(receipts)
    .where(receipts.c.leaf_index.is_(None))
    .order_by(receipts.c.created_at, receipts.c.job_id)
    .limit(sa.bindparam("at_most", type_=sa.Integer))
)
_SEAL = (
    sa.update(receipts)
    .where(_THE_JOB, receipts.c.leaf_index.is_(None))
    .values(leaf_index=sa.bindparam("the_leaf", type_=sa.BigInteger))
    .returning(receipts.c.job_id)
)
_SIGN = (
    sa.update(receipts)
    .where(_THE_JOB, receipts.c.signature.is_(None))
    .values(signature=sa.bindparam("the_signature", type_=sa.LargeBinary))
    .returning(receipts.c.job_id)
)


def get(tx: Transaction, job_id: str) -> ReceiptRow | None:
    """A job's receipt."""
    tx.flush()
    row = tx.row(_GET, {"the_job": job_id})
    return None if row is None else ReceiptRow(**row)


def unsealed(tx: Transaction, limit: int = 100) -> list[ReceiptRow]:
    """Receipts without a leaf index, oldest first."""
    tx.flush()
    return [ReceiptRow(**row) for row in tx.rows(_UNSEALED, {"at_most": limit})]


def seal(tx: Transaction, job_id: str, *, leaf_index: int) -> bool:
    """Give a receipt its place in the log; false if it has one, or is not there."""
    tx.flush()
    return tx.execute(_SEAL, {"the_job": job_id, "the_leaf": leaf_index}).first() is not None


def sign(tx: Transaction, job_id: str, *, signature: bytes) -> bool:
    """Give a receipt its signature; false if it has one, or is not there."""
    tx.flush()
    signed = tx.execute(_SIGN, {"the_job": job_id, "the_signature": signature})
    return signed.first() is not None


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
