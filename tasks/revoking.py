"""Revoking a worker's key: its log ends, and verifiers are told how much of it still counts."""

from __future__ import annotations

from ledger import (
    Ledger,
    LogRow,
    LogState,
    Transaction,
    batches,
    log_entries,
    logs,
    receipts,
    trees,
    workers,
)
from proofs import stored_tree, timestamp
from proofs.revocation import Revocation
from tasks.log_errors import LogError, LogNotFound


def revoke(ledger: Ledger, worker: str, *, size: int | None, reason: str) -> Revocation:
    """Revoke the key of a worker's newest log; the worker is told to stop.

    `size` is the last size of the log that is honoured, None for all that is sealed. A date would
    say nothing: whoever has the key can write any.

    Raises:
        LogNotFound: the worker has no log.
        LogError: the log has no signed head of that size, or none at all and receipts that would
            be refused for it, unless the size 0 is asked for.
    """
    with ledger.write() as tx:
        log = _newest(logs.of_worker(tx, worker), worker)
        if size is None:
            _require_sealed(tx, log)
        honoured = log.sealed_size if size is None else size
        batch = batches.of_leaf(tx, log.number, honoured - 1) if honoured else None
        ends = honoured if batch is None else batch.tree_size
        if ends != honoured or (honoured and batch is None):
            raise LogError(
                f"{log.origin} has no signed head of {honoured} leaves.",
                code="SIZE_NOT_SIGNED",
                suggested_action=f"Take {ends}, or another size of `honeyflow receipts logs`.",
                details={"size": honoured, "next": ends, "sealed": log.sealed_size},
            )
        root = stored_tree.root_at(honoured, trees.reader(tx, log.number))
        revocation = Revocation(
            key=log.key,
            origin=log.origin,
            tree_size=honoured,
            root_hash="sha256:" + root.hex(),
            reason=reason,
            timestamp=timestamp(tx.now),
        )
        log_entries.revoke(tx, key=log.key, origin=log.origin, data=revocation.to_bytes())
        logs.stop(tx, log.number, state=LogState.REVOKED, reason=reason)
        workers.set_flag(tx, worker, stop=True)
    return revocation


def _newest(rows: list[LogRow], worker: str) -> LogRow:
    if not rows:
        raise LogNotFound(f"{worker} has no log.", details={"worker": worker})
    return rows[-1]


def _require_sealed(tx: Transaction, log: LogRow) -> None:
    """Refuse to honour nothing of a log that has receipts, unless somebody says so."""
    if log.sealed_size:
        return
    begun = sum(leaf.job_id is not None for leaf in trees.leaves(tx, log.number, 0, log.size))
    refused = begun + receipts.waiting(tx, log.number)
    if refused:
        raise LogError(
            f"Nothing of {log.origin} is sealed yet: all of its {refused} receipts would be "
            "refused.",
            code="NOTHING_SEALED",
            suggested_action="Seal first, with `honeyflow receipts seal`; or say --size 0 if none "
            "of them is to count.",
            details={"origin": log.origin, "refused": refused},
        )
