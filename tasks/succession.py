"""A new log takes the place of one that may not go on: its first leaf names the old one's head.

The same worker goes on with `succeed`; for a worker that is gone for good an operator's key logs
what it has signed, with `adopt`, in a log that ends with that.
"""

from __future__ import annotations

from dataclasses import dataclass

from ledger import (
    Leaf,
    Ledger,
    LogRow,
    LogState,
    Transaction,
    batches,
    bodies,
    logs,
    receipts,
    sessions,
    trees,
)
from proofs import sshsig, stored_tree, timestamp
from proofs.checkpoint import Checkpoint
from proofs.entry import EntryType, LogCloseEntry
from proofs.errors import ProofError
from proofs.keys import PublicKey
from proofs.note import Note
from proofs.origin import principal_of
from tasks import bee_key, rotation, sealing
from tasks.key_folder import Closing, KeyFolder, path_of
from tasks.log_errors import LogError, LogInUse, LogNotFound, LogUnsound
from tasks.notary import Notary
from tasks.settings import Settings

OPERATOR = "operator"
"""The key folder of whoever runs the cluster."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Adopted:
    """A log that was closed for a worker: its origin, the old one's, and how many leaves it has."""

    origin: str
    predecessor: str
    leaves: int


def succeed(settings: Settings, ledger: Ledger, worker: str, *, reason: str) -> LogRow:
    """Begin a new log for a worker that does not run at the moment.

    Its first leaf names the largest head of the old log that is known here.

    Raises:
        LogInUse: the worker runs.
        LogNotFound: it has no log.
    """
    folder = KeyFolder.open(settings.keys_dir, worker)
    try:
        name = folder.log(settings.signing_name)
        with ledger.read() as tx:
            log = logs.of_id(tx, name.log_id)
            now = tx.now
        if log is None:
            raise LogNotFound(f"{worker} has no log yet.", details={"worker": worker})
        rotation.retire_if_revoked(ledger, folder.path, settings)
        folder.begin_log(
            settings.signing_name, _closing(log, folder.checkpoint(), reason=reason, now=now)
        )
    finally:
        folder.close()
    notary = Notary.open(settings, ledger, worker)
    try:
        return notary.row(ledger)
    finally:
        notary.close()


def adopt(settings: Settings, ledger: Ledger, worker: str, *, reason: str) -> list[Adopted]:
    """Log, with the operator's key, what a worker that is gone has signed and never sealed.

    Raises:
        LogInUse: the worker is alive.
        LogNotFound: it has no log.
        LogUnsound: a receipt is not signed by the log's key; nothing was logged.
    """
    with ledger.read() as tx:
        alive = any(session.worker == worker for session in sessions.live(tx))
        own = logs.of_worker(tx, worker)
    if alive:
        raise LogInUse(f"{worker} is alive.", details={"worker": worker})
    if not own:
        raise LogNotFound(f"{worker} has no log.", details={"worker": worker})
    return [
        _adopt(settings, ledger, log, reason=reason) for log in own if log.state != LogState.CLOSED
    ]


def _adopt(settings: Settings, ledger: Ledger, old: LogRow, *, reason: str) -> Adopted:
    place = path_of(settings.keys_dir, OPERATOR)
    if bee_key.is_missing(place):
        bee_key.create(place, passphrase_file=settings.bee_passphrase_file)
    signer = bee_key.open_signer(
        place,
        passphrase_file=settings.bee_passphrase_file,
        agent_socket=settings.ssh_agent_socket,
    )
    folder = KeyFolder.open(place, f"closing-{old.log_id}")
    try:
        with ledger.write() as tx:
            orphans = _orphans(tx, old)
            closing = _closing(old, None, reason=reason, now=tx.now)
            # Under the gone worker's name: its keeper says that the operator's key may sign for it.
            name = folder.log(principal_of(old.origin), closing)
            notary = Notary.enter(tx, folder=folder, signer=signer, name=name, worker=old.worker)
            if orphans and name.closes is not None and notary.row_in(tx).size == 0:
                _place(tx, notary.log, [_leaf_of(name.closes), *orphans])
        while sealing.seal_next(
            ledger,
            notary,
            holder=f"adopt {old.log_id}",
            most=settings.sealing.batch,
            partial=True,
            epoch=settings.epoch,
            cid_profile=settings.cid_profile,
        ):
            pass
        with ledger.write() as tx:
            row = notary.row_in(tx)
            logs.stop(tx, notary.log, state=LogState.CLOSED, reason=f"it closed {old.origin}")
        return Adopted(origin=row.origin, predecessor=old.origin, leaves=row.sealed_size)
    finally:
        folder.close()


def _place(tx: Transaction, log: int, leaves: list[Leaf]) -> None:
    """Give leaves the first places of a log."""
    nodes = stored_tree.grow(0, [leaf.hash for leaf in leaves], sealing.reader(tx, log))
    batches.assign(tx, log=log, size=0, leaves=leaves, nodes=nodes, sealed_at=tx.now)


def _leaf_of(entry: LogCloseEntry) -> Leaf:
    return Leaf(
        type=entry.entry_type, hash=entry.leaf_hash, entry=bodies.digest_of(entry.to_bytes())
    )


def _orphans(tx: Transaction, old: LogRow) -> list[Leaf]:
    """Receipts that had a place in the old log, but never came under a signed head of it."""
    placed = trees.leaves(tx, old.number, old.sealed_size, old.size)
    waiting = receipts.unlogged(tx, old.number, 1_000_000)
    key = PublicKey.from_openssh(old.key)
    for job_id in [leaf.job_id for leaf in placed if leaf.job_id] + [r.job_id for r in waiting]:
        _require_signed(tx, job_id, key)
    return [
        Leaf(type=EntryType.RECEIPT, hash=leaf.hash, job_id=leaf.job_id)
        for leaf in placed
        if leaf.job_id is not None
    ]


def _require_signed(tx: Transaction, job_id: str, key: PublicKey) -> None:
    row = receipts.get(tx, job_id)
    assert row is not None
    try:
        found = sshsig.verify(
            row.signature or b"", namespace=sshsig.RECEIPT_NAMESPACE, message=row.canonical
        )
    except ProofError as error:
        raise LogUnsound(
            f"The receipt of job {job_id} is not logged: {error.message}",
            details={"job_id": job_id},
        ) from error
    if found != key:
        raise LogUnsound(
            f"The receipt of job {job_id} is signed by {found.fingerprint}, not by the log's "
            f"key {key.fingerprint}.",
            details={"job_id": job_id},
        )


def _closing(log: LogRow, kept: bytes | None, *, reason: str, now: float) -> Closing:
    """The largest head that is known of a log."""
    size, root = log.sealed_size, log.sealed_root
    if kept is not None:
        try:
            head = Checkpoint.from_note(Note.parse(kept))
        except ProofError as error:
            raise LogError(f"The head beside the key cannot be read: {error.message}") from error
        if head.origin == log.origin and head.size > size:
            size, root = head.size, head.root
    return Closing(origin=log.origin, size=size, root=root, reason=reason, timestamp=timestamp(now))
