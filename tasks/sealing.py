"""Sealing a batch: leaves get their places, are read back, recomputed, and only then signed.

`seal_next` takes these steps; the same numbers stand in the code.

1. Under the log's lease, what waits for a place is given one: a batch without a signature.
2. The batch is read back from the disk, and every leaf hash is made again from its leaf's bytes.
3. The batch's tree is built twice, by merkletools and by our own code, which must agree.
4. The root of the whole log and the consistency proof from the last signed size come from stored
   nodes; the proof is verified against the last signed root.
5. No head of this log that was signed before may contradict the new one.
6. Manifest and checkpoint are signed, and the signatures verified.
7. Both are stored in one transaction, if the log is still as large as it was.
8. The newest head is put down beside the key.

Whatever stops it in between, the next call goes on from what is stored: the places are given, the
time is in the batch's row, and the same key signs the same bytes.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass

from ledger import (
    BatchRow,
    Leaf,
    LeafRow,
    Ledger,
    LogRow,
    LogState,
    Transaction,
    batches,
    leases,
    log_entries,
    receipts,
    trees,
)
from proofs import CidProfile, batch_tree, checkpoint, sshsig, stored_tree, timestamp
from proofs.checkpoint import Checkpoint
from proofs.entry import EntryType, KeyHandoverEntry
from proofs.errors import ProofError
from proofs.keys import Signer
from proofs.manifest import MAX_LEAVES, Manifest
from proofs.merkle import leaf_hash, verify_consistency
from proofs.note import Note
from tasks import outbox
from tasks.log_errors import LogNotOpen, LogRolledBack, LogUnsound
from tasks.notary import Notary
from tasks.settings import Settings

LEASE_S = 30.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Sealed:
    """A batch that was just sealed: its number, how many leaves it has, and the log's new size."""

    batch: int
    count: int
    tree_size: int


def seal_next(
    ledger: Ledger,
    notary: Notary,
    *,
    holder: str,
    most: int,
    partial: bool,
    epoch: int,
    cid_profile: str,
    cosigner: Signer | None = None,
    on_sealed: Callable[[Transaction, bytes], None] | None = None,
) -> Sealed | None:
    """Seal one batch; None if nothing waits, or less than `most` and `partial` is false.

    `holder` is who takes the log's lease; `cosigner` a key that signs the checkpoint as well, as at
    a handover; `on_sealed` is given the manifest in the transaction that stores it.

    Raises:
        LogNotOpen: the log may not grow.
        LogRolledBack: somebody holds more of it.
        LogUnsound: what is stored contradicts itself; nothing was signed.
        ledger.LedgerError: the ledger is away; the next call goes on.
    """
    batch = _begin(ledger, notary, holder=holder, most=most, partial=partial)  # (1)
    if batch is None:
        return None
    try:
        signed = _sign(
            ledger, notary, batch, epoch=epoch, cid_profile=cid_profile, cosigner=cosigner
        )
    except ProofError as error:
        raise LogUnsound(
            f"Batch {batch.number} of {notary.origin} was not sealed: {error.message}",
            details={"origin": notary.origin, "batch": batch.number, "cause": error.code},
        ) from error
    with ledger.write() as tx:
        stored = batches.seal(tx, batch=batch, **asdict(signed))  # (7)
        if stored and on_sealed is not None:
            on_sealed(tx, signed.manifest)
        leases.release(tx, _lease(notary), holder)
    if not stored:
        return None
    notary.folder.keep_checkpoint(signed.checkpoint)  # (8)
    return Sealed(batch=batch.number, count=batch.count, tree_size=batch.tree_size)


def seal(
    ledger: Ledger,
    notary: Notary,
    settings: Settings,
    *,
    holder: str,
    partial: bool = True,
    cosigner: Signer | None = None,
) -> Sealed | None:
    """Seal one batch as the settings say, and have its manifest uploaded if they say so.

    Raises:
        As `seal_next`.
    """
    return seal_next(
        ledger,
        notary,
        holder=holder,
        most=settings.sealing.batch,
        partial=partial,
        epoch=settings.epoch,
        cid_profile=settings.cid_profile,
        cosigner=cosigner,
        on_sealed=functools.partial(outbox.enqueue_manifest, settings=settings),
    )


def require_open(log: LogRow) -> None:
    """Refuse a log that may not grow.

    Raises:
        LogNotOpen, LogRolledBack: it may not.
    """
    if log.state == LogState.OPEN:
        return
    kind = LogRolledBack if log.state == LogState.ROLLED_BACK else LogNotOpen
    raise kind(
        f"The log {log.origin} is {log.state}: {log.reason}.",
        details={"origin": log.origin, "state": log.state},
    )


def _begin(
    ledger: Ledger, notary: Notary, *, holder: str, most: int, partial: bool
) -> BatchRow | None:
    """The batch that is to be signed: one left over, or a new one of what waits."""
    with ledger.write() as tx:
        if not leases.take(tx, _lease(notary), holder, LEASE_S):
            return None
        batch = _next(tx, notary, most=most, partial=partial)
        if batch is None:
            leases.release(tx, _lease(notary), holder)
    return batch


def _next(tx: Transaction, notary: Notary, *, most: int, partial: bool) -> BatchRow | None:
    log = notary.row_in(tx)
    require_open(log)
    if log.size > log.sealed_size:
        return batches.get(tx, log.number, log.batches - 1)
    most = min(most, MAX_LEAVES)
    waiting = _waiting(tx, log.number, most)
    if not waiting or (len(waiting) < most and not partial):
        return None
    nodes = stored_tree.grow(
        log.size, [leaf.hash for leaf in waiting], trees.reader(tx, log.number)
    )
    number = batches.assign(
        tx, log=log.number, size=log.size, leaves=waiting, nodes=nodes, sealed_at=tx.now
    )
    return None if number is None else batches.get(tx, log.number, number)


def _lease(notary: Notary) -> str:
    return f"log:{notary.log}"


def _waiting(tx: Transaction, log: int, most: int) -> list[Leaf]:
    """What waits for a place; what is no receipt is rare, and goes first."""
    others = [
        Leaf(type=row.type, hash=leaf_hash(row.data), entry=row.digest)
        for row in log_entries.unlogged(tx, log, most)
    ]
    return others + [
        Leaf(type=EntryType.RECEIPT, hash=leaf_hash(row.canonical), job_id=row.job_id)
        for row in receipts.unlogged(tx, log, most - len(others))
    ]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Signed:
    """What is stored of a batch when it is sealed."""

    manifest: bytes
    signature: bytes
    checkpoint: bytes
    root: bytes
    key: str


def _sign(
    ledger: Ledger,
    notary: Notary,
    batch: BatchRow,
    *,
    epoch: int,
    cid_profile: str,
    cosigner: Signer | None,
) -> _Signed:
    with ledger.read() as tx:
        log = notary.row_in(tx)
        size = batch.tree_size
        rows = trees.leaves(tx, log.number, batch.first_index, size)
        hashes = _made_again(rows, batch)  # (2)
        tree = batch_tree.build(hashes)  # (3)
        read = trees.reader(tx, log.number)
        root = stored_tree.root_at(size, read)  # (4)
        proof = stored_tree.consistency_at(log.sealed_size, size, read)
        signed = _signed_before(notary)
        again = stored_tree.root_at(signed.size, read) if signed and signed.size <= size else None
    verify_consistency(
        old_size=log.sealed_size,
        old_root=log.sealed_root,
        new_size=size,
        new_root=root,
        proof=proof,
    )
    head = Checkpoint(origin=log.origin, size=size, root=root)
    if signed is not None and again != signed.root:  # (5)
        raise LogRolledBack(
            f"A head of {signed.size} leaves was signed for {head.origin} before, which one of "
            f"{head.size} would contradict.",
            details={"signed": signed.size, "now": head.size},
        )
    if not _hands_over(rows, cosigner):
        cosigner = None
    manifest = Manifest(
        origin=log.origin,
        epoch=epoch,
        batch=batch.number,
        first_index=batch.first_index,
        count=batch.count,
        batch_root=tree.root,
        tree_size=size,
        root_hash=root,
        prev_tree_size=log.sealed_size,
        prev_root_hash=log.sealed_root,
        consistency=proof,
        leaves=tuple(hashes),
        types=tuple(EntryType(row.type) for row in rows),
        engine=tree.engine,
        cid_profile=CidProfile(cid_profile),
        sealed_at=timestamp(batch.sealed_at),
    ).to_bytes()
    signature, note = _signatures(manifest, head, notary.signer, cosigner)  # (6)
    return _Signed(
        manifest=manifest,
        signature=signature,
        checkpoint=note,
        root=root,
        key=(cosigner or notary.signer).public_key.to_openssh(),
    )


def _made_again(rows: Sequence[LeafRow], batch: BatchRow) -> list[bytes]:
    if [row.index for row in rows] != [batch.first_index + place for place in range(batch.count)]:
        raise LogUnsound(f"Batch {batch.number} lacks leaves: {len(rows)} of {batch.count} stored.")
    hashes = []
    for row in rows:
        made = None if row.data is None else leaf_hash(row.data)
        if made != row.hash:
            raise LogUnsound(
                f"Leaf {row.index} is stored as {row.hash.hex()}, but its bytes "
                + (f"have {made.hex()}." if made else "are not stored."),
                details={"index": row.index},
            )
        hashes.append(row.hash)
    return hashes


def _hands_over(rows: Sequence[LeafRow], successor: Signer | None) -> bool:
    """Whether the entry that names the next key is among these: only from there on it signs."""
    return successor is not None and any(
        row.type == EntryType.KEY_HANDOVER
        and row.data is not None
        and KeyHandoverEntry.from_bytes(row.data).new_key == successor.public_key.to_openssh()
        for row in rows
    )


def _signed_before(notary: Notary) -> Checkpoint | None:
    """The newest head of this log that was put down beside the key."""
    kept = notary.folder.checkpoint()
    if kept is None:
        return None
    try:
        signed = Checkpoint.from_note(Note.parse(kept))
    except ProofError as error:
        raise LogUnsound(
            f"The newest head beside the key of {notary.origin} cannot be read: {error.message}",
            suggested_action="Delete that file if this ledger is the newest there is; the next "
            "seal writes it again.",
        ) from error
    return signed if signed.origin == notary.origin else None


def _signatures(
    manifest: bytes, head: Checkpoint, signer: Signer, cosigner: Signer | None
) -> tuple[bytes, bytes]:
    signature = sshsig.sign(signer, namespace=sshsig.BATCH_NAMESPACE, message=manifest)
    signers = [signer] if cosigner is None else [signer, cosigner]
    note = Note(text=head.body, signatures=tuple(checkpoint.sign(head, one) for one in signers))
    used = sshsig.verify(signature, namespace=sshsig.BATCH_NAMESPACE, message=manifest)
    known = Note.parse(note.to_bytes())
    if used != signer.public_key or not all(
        checkpoint.is_signed_by(known, one.public_key) for one in signers
    ):
        raise LogUnsound("A signature that was just made does not verify.")
    return signature, note.to_bytes()
