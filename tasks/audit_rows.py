"""Auditing the rows of receipts: what each says of its receipt, and of its leaf."""

from __future__ import annotations

from ledger import LeafRow, ReceiptRow, Transaction, trees
from proofs.receipt import Receipt


def difference(tx: Transaction, row: ReceiptRow, receipt: Receipt, leaf: LeafRow) -> str | None:
    """What a receipt's row says of it that is not so; None if all is."""
    for told, true, what in (
        (row.job_id, receipt.job_id, "the row's job"),
        (row.digest, receipt.digest, "the row's digest"),
        (row.report_digest, receipt.report_hash, "the row's report"),
        (leaf.entry, None, "the entry beside it"),
    ):
        if told != true:
            return f"{what} is {told}, but its receipt says {true}"
    if (row.log, row.leaf_index) == (leaf.log, leaf.index):
        return None
    # A leaf that was never under a checkpoint is followed by one in the log that was closed for it.
    if row.log != leaf.log and (row.log, row.leaf_index) in trees.leaves_of(tx, row.job_id):
        return None
    return f"the row of job {row.job_id} says leaf {row.leaf_index} of log {row.log}"
