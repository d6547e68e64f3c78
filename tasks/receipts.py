"""What there is to show of a job's receipt: its signature, its proof, what people said of it.

The proof is against the head of the batch that the receipt was sealed in, or against the first
later one that witnesses have signed, where they have not signed that; in a log whose key is
revoked, against the last head that is honoured.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from ledger import (
    BatchRow,
    EntryRow,
    LogRow,
    LogState,
    Transaction,
    batches,
    log_entries,
    logs,
    receipts,
    trees,
)
from proofs import stored_tree
from proofs.entry import EntryType
from proofs.note import Note, NoteSignature
from proofs.tlog_proof import TlogProof
from tasks import log_keys


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """Where a leaf is: its log, its index there, and the sealed batch that covers it."""

    log: LogRow
    index: int
    batch: BatchRow


def signature(tx: Transaction, job_id: str) -> bytes | None:
    """A receipt's own signature, armoured; None for a job without a receipt."""
    row = receipts.get(tx, job_id)
    return None if row is None else row.signature


def place(tx: Transaction, job_id: str) -> Place | None:
    """Where a job's receipt is logged; None while it is not under a checkpoint."""
    return _sealed(tx, trees.leaves_of(tx, job_id))


def _sealed(tx: Transaction, places: Sequence[tuple[int, int]]) -> Place | None:
    """The first of these leaves, by log and index, that is under a checkpoint."""
    for log_number, index in places:
        batch = batches.of_leaf(tx, log_number, index)
        log = logs.get(tx, log_number)
        if batch is not None and log is not None:
            return Place(log=log, index=index, batch=batch)
    return None


def proof(tx: Transaction, job_id: str) -> bytes | None:
    """A receipt's proof, as a `.tlog-proof` file; None while it is not under a checkpoint."""
    found = place(tx, job_id)
    return None if found is None else _proof(tx, found)


def entry_proof(tx: Transaction, entry: EntryRow) -> bytes | None:
    """The proof of an entry that is no receipt; None while it is not under a checkpoint."""
    if entry.leaf_index is None:
        return None
    places = [(entry.log, entry.leaf_index)]
    log = logs.get(tx, entry.log)
    if log is not None and log.state != LogState.OPEN and entry.leaf_index >= log.sealed_size:
        # Its batch was never signed: it may have been logged in the log that took over.
        places = trees.leaves_of_entry(tx, entry.digest)
    found = _sealed(tx, places)
    return None if found is None else _proof(tx, found)


def checkpoint(tx: Transaction, job_id: str) -> bytes | None:
    """The head that a receipt's proof is against, with its witnesses' lines."""
    found = place(tx, job_id)
    return None if found is None else _head(tx, found)[1]


def verdicts(tx: Transaction, job_id: str) -> list[EntryRow]:
    """What people decided about a job's answer, oldest first."""
    return [row for row in log_entries.of_job(tx, job_id) if row.type == EntryType.VERDICT]


def newest_checkpoint(tx: Transaction, log: int) -> bytes | None:
    """The newest head of a log, with its witnesses' lines."""
    batch = batches.newest(tx, log)
    if batch is None or batch.checkpoint is None:
        return None
    size = batch.tree_size
    lines = log_entries.cosignatures_from(tx, log, size).get(size, [])
    return with_lines(batch.checkpoint, lines)


def with_lines(head: bytes, lines: Sequence[str]) -> bytes:
    """A head with its witnesses' lines behind the log's own."""
    note = Note.parse(head)
    added = tuple(NoteSignature.parse(line) for line in lines)
    return Note(text=note.text, signatures=(*note.signatures, *added)).to_bytes()


def _proof(tx: Transaction, found: Place) -> bytes:
    tree_size, head = _head(tx, found)
    read = trees.reader(tx, found.log.number)
    path = stored_tree.inclusion_at(found.index, tree_size, read)
    return TlogProof(index=found.index, path=path, checkpoint=head, extra=None).to_bytes()


def _head(tx: Transaction, found: Place) -> tuple[int, bytes]:
    """The head to prove against, and its size."""
    own = found.batch.tree_size
    signed = log_entries.cosignatures_from(tx, found.log.number, own)
    tree_size = _honoured(tx, found) or min(signed, default=own)
    batch = batches.of_leaf(tx, found.log.number, tree_size - 1)
    assert batch is not None
    assert batch.checkpoint is not None
    return tree_size, with_lines(batch.checkpoint, signed.get(tree_size, []))


def _honoured(tx: Transaction, found: Place) -> int | None:
    """The last size that is honoured of a log whose key is revoked, if the leaf is within it.

    Of several revocations, that of the smallest size, as `proofs.logged` takes it.
    """
    if found.log.state != LogState.REVOKED:
        return None
    sizes = [
        revocation.tree_size
        for revocation in log_keys.revocations(tx)
        if (revocation.key, revocation.origin) == (found.log.key, found.log.origin)
    ]
    least = min(sizes, default=0)
    return least if found.index < least else None
