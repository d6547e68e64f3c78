"""The keys that a log is or was signed with, as its own entries tell."""

from __future__ import annotations

from collections.abc import Iterable

from ledger import LogRow, Transaction, log_entries, logs, receipts
from proofs import sshsig
from proofs.entry import EntryType, KeyHandoverEntry
from proofs.errors import ProofError
from proofs.keys import PublicKey
from proofs.origin import principal_of
from proofs.revocation import Revocation
from tasks.log_errors import LogUnsound


def of(tx: Transaction, log: LogRow) -> list[str]:
    """The public keys in OpenSSH's form, sorted."""
    keys = {log.key}
    for row in log_entries.of_type(tx, log.number, EntryType.KEY_HANDOVER):
        entry = KeyHandoverEntry.from_bytes(row.data)
        keys |= {entry.old_key, entry.new_key}
    return sorted(keys)


def of_name(tx: Transaction, name: str) -> set[str]:
    """The keys of all logs under one name: any of them may have signed a receipt of that name."""
    return {key for log in logs.list(tx) if principal_of(log.origin) == name for key in of(tx, log)}


def revocations(tx: Transaction) -> list[Revocation]:
    """All revocations of keys, oldest first."""
    return [Revocation.from_bytes(data) for data in log_entries.revocations(tx)]


def require_signed(tx: Transaction, name: str, job_ids: Iterable[str]) -> None:
    """Require that a key of this name has signed the receipts of these jobs.

    Raises:
        LogUnsound: none has signed one of them.
    """
    keys = of_name(tx, name)
    known = ", ".join(PublicKey.from_openssh(key).fingerprint for key in sorted(keys))
    for job_id in job_ids:
        row = receipts.get(tx, job_id)
        assert row is not None
        try:
            key = sshsig.verify(
                row.signature or b"", namespace=sshsig.RECEIPT_NAMESPACE, message=row.canonical
            )
        except ProofError as error:
            raise _unsound(job_id, error.message) from error
        if key.to_openssh() not in keys:
            told = f"it is signed by {key.fingerprint}, not by the log's key or its name's: {known}"
            raise _unsound(job_id, told)


def _unsound(job_id: str, reason: str) -> LogUnsound:
    return LogUnsound(
        f"The receipt of job {job_id} is not logged, and so none is: {reason}.",
        details={"job_id": job_id},
    )
