"""The last head of a log whose place another one takes: the largest that is known here."""

from __future__ import annotations

from pathlib import Path

from ledger import LogRow
from proofs import timestamp
from proofs.checkpoint import Checkpoint
from proofs.errors import ProofError
from proofs.merkle import EMPTY_ROOT
from proofs.note import Note
from tasks.key_folder import CHECKPOINT_FILE, Closing, LogName
from tasks.log_errors import LogError
from tasks.settings import Settings


def closing(
    settings: Settings, name: LogName, log: LogRow | None, folder: Path, *, reason: str, now: float
) -> Closing:
    """What closes a log: its largest head in the ledger, beside its key, or among published files.

    Raises:
        LogError: a head that was put down cannot be read.
    """
    size, root = (0, EMPTY_ROOT) if log is None else (log.sealed_size, log.sealed_root)
    for file in (folder / CHECKPOINT_FILE, settings.receipts_dir / name.log_id / CHECKPOINT_FILE):
        head = _head(file)
        if head is not None and head.origin == name.origin and head.size > size:
            size, root = head.size, head.root
    told = timestamp(now)
    return Closing(origin=name.origin, size=size, root=root, reason=reason, timestamp=told)


def _head(file: Path) -> Checkpoint | None:
    try:
        return Checkpoint.from_note(Note.parse(file.read_bytes()))
    except FileNotFoundError:
        return None
    except (OSError, ProofError) as error:
        raise LogError(
            f"The head in {file} cannot be read: {error}.",
            suggested_action="Delete that file if this ledger is the newest there is.",
            details={"path": str(file)},
        ) from error
