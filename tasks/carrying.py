"""What waits in logs that may not grow any more goes on in the log that takes their place.

That is receipts and verdicts without a place, and those whose batch was begun and never signed:
these are leaves of both logs, and under a checkpoint in the newer one alone. A key's handover stays
where it was queued: it speaks of that log.
"""

from __future__ import annotations

from collections.abc import Sequence

from ledger import (
    Leaf,
    LogRow,
    LogState,
    Transaction,
    batches,
    bodies,
    log_entries,
    logs,
    receipts,
    trees,
)
from proofs import stored_tree
from proofs.entry import LogCloseEntry
from proofs.manifest import MAX_LEAVES
from proofs.origin import principal_of

OPERATOR = "operator"
"""The key folder of whoever runs the cluster, and the worker of the logs that its key closes."""


def take_over(tx: Transaction, log: LogRow, closes: LogCloseEntry) -> None:
    """Put a log in the place of those before it: its first leaf is the entry that says so.

    Whoever does it again adds what has come since.
    """
    first: list[Leaf] = []
    if log.size == 0:
        kind, data = closes.entry_type, closes.to_bytes()
        log_entries.add(tx, log=log.number, kind=kind, data=data)
        first = [Leaf(type=kind, hash=closes.leaf_hash, entry=bodies.digest_of(data))]
    for other in _before(tx, log):
        reason = f"{log.origin} has taken its place"
        logs.stop(tx, other.number, state=LogState.CLOSED, reason=reason)
    for other in carried(tx, log):
        receipts.move(tx, old_log=other.number, new_log=log.number)
        log_entries.move(tx, old_log=other.number, new_log=log.number)
    place(tx, log, first)


def place(tx: Transaction, log: LogRow, first: Sequence[Leaf] = ()) -> int:
    """Begin a batch of what was begun before, behind leaves that are given; tells of how many.

    Of none while another batch is begun: there is only one at a time, and so maybe a rest.
    """
    if log.state != LogState.OPEN or log.size > log.sealed_size:
        return 0
    leaves = [*first, *orphans(tx, log, MAX_LEAVES - len(first))]
    if not leaves:
        return 0
    read = trees.reader(tx, log.number)
    nodes = stored_tree.grow(log.size, [leaf.hash for leaf in leaves], read)
    begun = batches.assign(
        tx, log=log.number, size=log.size, leaves=leaves, nodes=nodes, sealed_at=tx.now
    )
    return 0 if begun is None else len(leaves)


def rest(tx: Transaction, log: LogRow) -> bool:
    """Whether more was begun before than one batch takes."""
    return bool(orphans(tx, log, 1))


def orphans(tx: Transaction, log: LogRow, limit: int) -> list[Leaf]:
    """What was begun in logs before this one, and no log is going to seal."""
    found: list[Leaf] = []
    for other in carried(tx, log):
        found += log_entries.orphans(tx, other, limit - len(found))
        found += receipts.orphans(tx, other, limit - len(found))
    return found


def carried(tx: Transaction, log: LogRow) -> list[LogRow]:
    """The logs whose receipts go on in this one, oldest first: those of its own name before it.

    A receipt counts only in a log of the name that it gives.
    """
    name = principal_of(log.origin)
    return [other for other in _before(tx, log) if principal_of(other.origin) == name]


def _before(tx: Transaction, log: LogRow) -> list[LogRow]:
    """The logs whose place it takes, oldest first.

    Where the operator's folder was lost meanwhile, a log may have been half closed by another one:
    that is among them.
    """
    every = logs.list(tx)
    found: dict[int, LogRow] = {}
    wanted = {log.predecessor} - {None}
    while wanted:
        added = {
            other.number: other
            for other in every
            if other.number != log.number
            and (other.origin in wanted or (_closes(other, log) and other.predecessor in wanted))
        }
        wanted = {other.predecessor for number, other in added.items() if number not in found}
        wanted -= {None}
        found |= added
    return [found[number] for number in sorted(found)]


def _closes(other: LogRow, log: LogRow) -> bool:
    return other.worker == OPERATOR == log.worker and other.number < log.number
