"""What of a job may leave this machine for IPFS; it is queued where that is decided."""

from __future__ import annotations

from ledger import Transaction, bodies, uploads
from ledger.uploads import UploadKind
from proofs import compute_cid
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


def enqueue_manifest(tx: Transaction, manifest: bytes, *, settings: Settings) -> None:
    """Have a batch's manifest uploaded, where uploads are wanted."""
    if settings.ipfs_api_url is None:
        return
    enqueue(
        tx,
        settings,
        kind=UploadKind.BATCH,
        cid=compute_cid(manifest, profile=settings.cid_profile),
        body_digest=bodies.put(tx, manifest, bodies.JSON),
        profile=settings.cid_profile,
    )
