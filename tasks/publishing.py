"""What was sealed, as files that anybody may read: written once, from the bytes in the ledger.

<receipts_dir>/<log id>/checkpoint                              the largest, replaced as a whole
                        checkpoints/000000000300                one for each size
                        batches/batch_000000_000003.json, .sig  manifest and its signature
"""

from __future__ import annotations

import logging
from pathlib import Path

from ledger import BatchRow, Ledger, LogRow, batches, logs
from proofs.checkpoint import Checkpoint
from proofs.errors import ProofError
from proofs.manifest import Manifest
from proofs.note import Note
from tasks import durable_files
from tasks.log_errors import PublishedDiffers

logger = logging.getLogger(__name__)


def publish(ledger: Ledger, log: LogRow, folder: Path) -> int:
    """Write the files of every sealed batch that has none yet; tells of how many.

    Raises:
        PublishedDiffers: a file is there with other bytes; it is left alone.
    """
    with ledger.read() as tx:
        waiting = batches.unpublished(tx, log.number)
    place = folder / log.log_id
    for name in (".", "checkpoints", "batches"):
        (place / name).mkdir(mode=0o755, parents=True, exist_ok=True)
        durable_files.sweep(place / name)
    for batch in waiting:
        _publish_one(place, batch)
        with ledger.write() as tx:
            batches.mark_published(tx, log.number, batch.number)
    return len(waiting)


def publish_worker(ledger: Ledger, worker: str, folder: Path) -> None:
    """Write what is missing of every log of a worker, also of one that has ended.

    What cannot be written of one log is said, and keeps nobody from the next.
    """
    with ledger.read() as tx:
        rows = logs.of_worker(tx, worker)
    for log in rows:
        try:
            publish(ledger, log, folder)
        except (PublishedDiffers, OSError) as error:
            logger.warning("%s is not published: %s", log.origin, error)


def names(batch: BatchRow) -> dict[str, bytes]:
    """The files of a sealed batch, by their names within the log's folder."""
    assert batch.manifest is not None
    assert batch.signature is not None
    assert batch.checkpoint is not None
    manifest = Manifest.from_bytes(batch.manifest)
    stem = f"batches/batch_{manifest.epoch:06d}_{manifest.batch:06d}.json"
    return {
        stem: batch.manifest,
        f"{stem}.sig": batch.signature,
        f"checkpoints/{manifest.tree_size:012d}": batch.checkpoint,
    }


def _publish_one(place: Path, batch: BatchRow) -> None:
    for name, data in names(batch).items():
        if not durable_files.write_once(place / name, data):
            raise PublishedDiffers(
                f"{place / name} has other bytes than the ledger's batch {batch.number}.",
                details={"path": str(place / name), "batch": batch.number},
            )
    assert batch.checkpoint is not None
    if _size(place / "checkpoint") < batch.tree_size:
        durable_files.replace(place / "checkpoint", batch.checkpoint)


def _size(file: Path) -> int:
    """The size of the newest head that was published: a ledger that was restored has an older."""
    try:
        return Checkpoint.from_note(Note.parse(file.read_bytes())).size
    except (FileNotFoundError, ProofError):
        return 0
