"""Who signs a worker's receipts, and which log they belong to: made once, at the worker's start.

Signing one receipt goes on whatever has become of the log; whether the log itself may grow is in
its row, and written there at the start where somebody holds more of it than the ledger.
"""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Self

from ledger import (
    Ledger,
    LogRow,
    LogState,
    Transaction,
    batches,
    logs,
    receipts,
    trees,
)
from proofs import sshsig, stored_tree
from proofs.checkpoint import Checkpoint
from proofs.errors import ProofError
from proofs.keys import PublicKey, Signer
from proofs.merkle import EMPTY_ROOT
from proofs.note import Note
from proofs.origin import principal_of
from tasks import bee_key, carrying, log_keys, signers
from tasks.errors import KeyUnusable
from tasks.key_folder import CHECKPOINT_FILE, NEXT, KeyFolder, LogName
from tasks.log_errors import LogInUse, LogNotOpen, LogRenamed
from tasks.settings import Settings

logger = logging.getLogger(__name__)


class Notary:
    """A worker's key, and the log that it signs; `log` is the row's number in the ledger."""

    def __init__(self, *, folder: KeyFolder, signer: Signer, log: LogRow) -> None:
        self.folder = folder
        self.signer = signer
        self.log = log.number
        self.origin = log.origin
        self.log_id = log.log_id

    @classmethod
    def open(
        cls, settings: Settings, ledger: Ledger, worker: str, *, has_session: bool = False
    ) -> Self:
        """Take a worker's key and its log; both are made where there are none yet.

        `has_session` says that the caller has the worker's session: a process that has lost it may
        hold the key still, frozen, and is not waited for.

        Raises:
            KeyUnusable: the key is missing, readable by others, encrypted without a passphrase, …
            LogInUse: another process signs for this worker.
            LogRenamed: the log was begun under another name.
            LogNotOpen: the key is revoked.
        """
        folder = KeyFolder.open(
            settings.keys_dir, worker, ledger=ledger.uuid if has_session else ""
        )
        try:
            name = _log_name(folder, settings.signing_name, ledger)
            _require_its_key(folder, name, ledger)
            signer = signers.open_or_make(folder.path, settings)
            with ledger.write() as tx:
                _refuse_revoked(tx, signer.public_key, name, worker)
                notary = cls.enter(tx, folder=folder, signer=signer, name=name, worker=worker)
            published = settings.receipts_dir / name.log_id / CHECKPOINT_FILE
            for file in (folder.path / CHECKPOINT_FILE, published):
                notary.compare(ledger, _read(file), where=str(file))
            notary._keep_newest(ledger)
        except BaseException:
            folder.close()
            raise
        return notary

    @classmethod
    def enter(
        cls, tx: Transaction, *, folder: KeyFolder, signer: Signer, name: LogName, worker: str
    ) -> Self:
        """A notary of the log with this name, which is entered where the ledger does not know it.

        Where it takes another log's place, what waits there waits here from now on.
        """
        log = logs.enter(
            tx,
            log_id=name.log_id,
            worker=worker,
            origin=name.origin,
            key=signer.public_key.to_openssh(),
            empty_root=EMPTY_ROOT,
            predecessor=name.closes.origin if name.closes is not None else None,
        )
        if log.worker != worker:
            raise LogInUse(
                f"The log {log.origin} is that of {log.worker}, not of {worker}.",
                suggested_action="Key folders are not copied: take this one away, and the worker "
                "makes a key and a log of its own.",
                details={"origin": log.origin, "worker": log.worker},
            )
        if name.closes is not None:
            carrying.take_over(tx, log, name.closes)
        return cls(folder=folder, signer=signer, log=log)

    def close(self) -> None:
        """Let others sign for this worker."""
        self.folder.close()

    def row(self, ledger: Ledger) -> LogRow:
        """The log's row as it is now."""
        with ledger.read() as tx:
            return self.row_in(tx)

    def row_in(self, tx: Transaction) -> LogRow:
        """The log's row as a transaction sees it."""
        log = logs.get(tx, self.log)
        assert log is not None
        return log

    def sign_receipt(self, receipt: bytes) -> bytes:
        """The receipt's own signature, armoured."""
        return sshsig.sign(self.signer, namespace=sshsig.RECEIPT_NAMESPACE, message=receipt)

    def compare(self, ledger: Ledger, head: bytes | None, *, where: str) -> bool:
        """Stop the log for good if a head of it, signed by it, is ahead of the ledger's.

        True if the ledger holds all that the head speaks of, or the head is not of this log.
        """
        seen = self._head(head)
        if seen is None:
            return True
        with ledger.write() as tx:
            log = self.row_in(tx)
            ahead = seen.size > log.size
            forked = (
                not ahead
                and seen.size <= log.sealed_size
                and seen.root != stored_tree.root_at(seen.size, trees.reader(tx, log.number))
            )
            if not (ahead or forked):
                return True
            reason = (
                f"{where} holds a head of {seen.size} leaves"
                + (" with another root" if forked else "")
                + f", the ledger one of {log.sealed_size}"
            )
            if logs.stop(tx, self.log, state=LogState.ROLLED_BACK, reason=reason):
                logger.error(
                    "LOG_ROLLED_BACK: %s. Jobs go on and receipts stay signed one by one, but "
                    "nothing is added to this log. Bring the newest ledger back, or begin a new "
                    "log with `honeyflow receipts succeed-log`.",
                    reason,
                    extra={"key_id": self.signer.public_key.fingerprint},
                )
        return False

    def _keep_newest(self, ledger: Ledger) -> None:
        """Put the ledger's newest head beside the key, where a crash has left an older one."""
        with ledger.read() as tx:
            batch = batches.newest(tx, self.log)
            state = self.row_in(tx).state
        if batch is None or batch.checkpoint is None or state == LogState.ROLLED_BACK:
            return
        if self.folder.checkpoint() != batch.checkpoint:
            self.folder.keep_checkpoint(batch.checkpoint)

    def _head(self, head: bytes | None) -> Checkpoint | None:
        if head is None:
            return None
        try:
            seen = Checkpoint.from_note(Note.parse(head))
        except ProofError as error:
            logger.warning("the newest checkpoint beside the key cannot be read: %s", error)
            return None
        return seen if seen.origin == self.origin else None


def _require_its_key(folder: KeyFolder, name: LogName, ledger: Ledger) -> None:
    """Refuse to go on with a log under a key that it was never handed over to.

    Raises:
        KeyUnusable: the log's key is not here any more.
    """
    log = _begun(name, ledger)
    if log is None:
        return
    places = [place for place in (folder.path, folder.path / NEXT) if not bee_key.is_missing(place)]
    # A locked key is told by its public half.
    if log.key not in [bee_key.public_key(place).to_openssh() for place in places]:
        raise KeyUnusable(
            f"The key {PublicKey.from_openssh(log.key).fingerprint}, which signs {log.origin}, is "
            f"not in {folder.path} any more.",
            suggested_action="Bring it back from a backup, or begin a new log with `honeyflow "
            "receipts succeed-log`.",
            details={"origin": log.origin, "path": str(folder.path)},
        )


def _log_name(folder: KeyFolder, worker_name: str, ledger: Ledger) -> LogName:
    name = folder.log(worker_name)
    if principal_of(name.origin) == worker_name:
        return name
    if folder.checkpoint() is None and _begun(name, ledger) is None:
        # Nothing was logged under the old name: a name that was set later.
        return folder.begin_log(worker_name)
    raise LogRenamed(
        f"The log {name.origin} was begun under another name than {worker_name}.",
        details={"origin": name.origin, "worker_ens": worker_name},
    )


def _begun(name: LogName, ledger: Ledger) -> LogRow | None:
    """The log of this name if it has leaves, or receipts that wait for it."""
    with ledger.read() as tx:
        log = logs.of_id(tx, name.log_id)
        begun = log is not None and (log.size > 0 or receipts.waiting(tx, log.number) > 0)
    return log if begun else None


def _read(file: Path) -> bytes | None:
    try:
        return file.read_bytes()
    except OSError:
        return None


def _refuse_revoked(tx: Transaction, key: PublicKey, name: LogName, worker: str) -> None:
    for revocation in log_keys.revocations(tx):
        if revocation.key == key.to_openssh():
            raise LogNotOpen(
                f"The key {key.fingerprint} of {name.origin} is revoked: {revocation.reason}.",
                code="KEY_REVOKED",
                suggested_action=f"`honeyflow receipts succeed-log {worker}` puts it away, and "
                "begins a new log with a new key.",
                details={"key": key.to_openssh(), "origin": name.origin},
            )
