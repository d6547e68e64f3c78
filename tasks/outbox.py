"""What of a job may leave this machine for IPFS; it is queued where that is decided."""

from __future__ import annotations

from ledger import Transaction, uploads
from ledger.uploads import UploadKind
from tasks.settings import Settings


def recipients(settings: Settings) -> tuple[str, ...]:
    """Whom reports are encrypted to; nobody where none is uploaded, for no ciphertext is kept."""
    return settings.ipfs_recipients if settings.ipfs_api_url is not None else ()


def reports_leave(settings: Settings) -> bool:
    """Whether reports go to IPFS: encrypted, or in the clear because somebody said so."""
    wanted = bool(recipients(settings)) or settings.ipfs_plaintext
    return settings.ipfs_api_url is not None and wanted


def enqueue(
    tx: Transaction,
    settings: Settings,
    *,
    kind: UploadKind,
    cid: str,
    body_digest: str,
    profile: str,
) -> bool:
    """Have bytes in `bodies` uploaded, if such bytes may leave this machine; false if not."""
    leaves = reports_leave(settings)
    if kind is UploadKind.BATCH:
        # A manifest lists hashes, and none of a job.
        leaves = settings.ipfs_api_url is not None
    if leaves:
        uploads.add(tx, cid=cid, kind=kind, body_digest=body_digest, profile=profile)
    return leaves
