"""A log's key hands over to the next one: an entry of the log, under a head signed by both.

The next key lies in the folder `next` beside the one in use. While it does, the handover goes on
from wherever it was stopped:

1. what waits is sealed with the old key;
2. the entry that names both keys is queued;
3. the batch with it is sealed, its checkpoint signed by both;
4. the old key goes to `retired/<fingerprint>`, and the next one takes its place.
"""

from __future__ import annotations

import hashlib
import logging
from pathlib import Path

from ledger import Ledger, log_entries
from proofs import timestamp
from proofs.entry import EntryType, KeyHandoverEntry
from proofs.keys import PublicKey
from tasks import bee_key, durable_files, log_keys, signers
from tasks.key_folder import NEXT
from tasks.notary import Notary
from tasks.sealing import require_open, seal
from tasks.settings import Settings

logger = logging.getLogger(__name__)

RETIRED = "retired"


def go_on(ledger: Ledger, notary: Notary, settings: Settings, *, holder: str) -> bool:
    """Hand over to the next key, if there is one; true if that was done.

    Raises:
        KeyUnusable: the next key cannot be used.
        LogNotOpen, LogRolledBack, LogUnsound: the log cannot be sealed.
    """
    folder = notary.folder.path
    if bee_key.is_missing(folder / NEXT):
        return False
    successor = signers.open_signer(folder / NEXT, settings)
    new_key = successor.public_key.to_openssh()
    if not _is_done(ledger, notary, new_key):
        if not _is_queued(ledger, notary, new_key):
            while seal(ledger, notary, settings, holder=holder):  # (1)
                pass
            _queue(ledger, notary, new_key)  # (2)
        # What comes after the entry is for the next key to sign.
        while not _is_done(ledger, notary, new_key):  # (3)
            if not seal(ledger, notary, settings, holder=holder, cosigner=successor):
                return False
    _swap(folder, notary.signer.public_key, successor.public_key)  # (4)
    notary.signer = successor
    key_id = successor.public_key.fingerprint
    logger.warning(
        "the log %s is signed by %s now", notary.origin, key_id, extra={"key_id": key_id}
    )
    return True


def finish(ledger: Ledger, notary: Notary, settings: Settings) -> None:
    """Put the next key in place if the log has handed over to it already, and do nothing else."""
    following = notary.folder.path / NEXT
    if bee_key.is_missing(following):
        return
    key = bee_key.public_key(following, passphrase_file=settings.bee_passphrase_file)
    if _is_done(ledger, notary, key.to_openssh()):
        go_on(ledger, notary, settings, holder=notary.origin)


def _is_done(ledger: Ledger, notary: Notary, new_key: str) -> bool:
    return notary.row(ledger).key == new_key


def _is_queued(ledger: Ledger, notary: Notary, new_key: str) -> bool:
    """Whether the entry waits for its place, or for its batch to be signed."""
    with ledger.read() as tx:
        sealed = notary.row_in(tx).sealed_size
        entries = log_entries.of_type(tx, notary.log, EntryType.KEY_HANDOVER)
    return any(
        KeyHandoverEntry.from_bytes(entry.data).new_key == new_key
        for entry in entries
        if entry.leaf_index is None or entry.leaf_index >= sealed
    )


def _queue(ledger: Ledger, notary: Notary, new_key: str) -> None:
    with ledger.write() as tx:
        require_open(notary.row_in(tx))
        entry = KeyHandoverEntry(
            origin=notary.origin,
            old_key=notary.signer.public_key.to_openssh(),
            new_key=new_key,
            timestamp=timestamp(tx.now),
        )
        log_entries.add(tx, log=notary.log, kind=entry.entry_type, data=entry.to_bytes())


def retire_if_revoked(ledger: Ledger, folder: Path, settings: Settings) -> None:
    """Put a revoked key away; the next start makes another one."""
    if bee_key.is_missing(folder):
        return
    key = bee_key.public_key(folder, passphrase_file=settings.bee_passphrase_file)
    with ledger.read() as tx:
        revoked = [revocation.key for revocation in log_keys.revocations(tx)]
    if key.to_openssh() in revoked:
        retired = _retired(folder, key)
        for name in bee_key.FILES:
            if (folder / name).exists():
                (folder / name).replace(retired / name)


def _swap(folder: Path, old: PublicKey, new: PublicKey) -> None:
    """Put the next key in place, half by half: whatever stops it, one key can be used."""
    retired, following = _retired(folder, old), folder / NEXT
    _put_public(retired, old)
    private = folder / bee_key.PRIVATE
    if private.exists():
        if not (retired / bee_key.PRIVATE).exists():
            (retired / bee_key.PRIVATE).hardlink_to(private)
        # Where both are there, the private key alone says what it is.
        _put_public(folder, new)
    (following / bee_key.PUBLIC).unlink(missing_ok=True)
    (following / bee_key.PRIVATE).replace(private)
    _put_public(folder, new)
    durable_files.sweep(following)
    following.rmdir()


def _put_public(folder: Path, key: PublicKey) -> None:
    line = key.to_openssh("bee_key").encode() + b"\n"
    durable_files.replace(folder / bee_key.PUBLIC, line)


def _retired(folder: Path, key: PublicKey) -> Path:
    """Where an old key is kept, under the hexadecimal digits of its fingerprint."""
    place = folder / RETIRED / hashlib.sha256(key.blob).hexdigest()
    place.mkdir(mode=0o700, parents=True, exist_ok=True)
    return place
