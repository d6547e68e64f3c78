"""The name of a log: the worker that keeps it, a slash, and the log's own id.

A worker's logs share its name and never each other's id, so that a log begun after a lost ledger
cannot be taken for the one before. Whose key may sign a log's checkpoints is told by the name.
"""

from __future__ import annotations

import uuid

from proofs.errors import OriginInvalid, ReceiptInvalid
from proofs.receipt import require_worker_name


def make_origin(worker_name: str, log_id: str) -> str:
    """Return the origin of a worker's log.

    Raises:
        OriginInvalid: The worker's name or the log's id, a UUID, has another form.
    """
    return require_origin(f"{worker_name}/{log_id}")


def require_origin(text: str) -> str:
    """Return an origin unchanged.

    Raises:
        OriginInvalid: It is none.
    """
    principal_of(text)
    return text


def principal_of(origin: str) -> str:
    """Return the worker's name in an origin: the principal whose keys may sign for the log.

    Raises:
        OriginInvalid: This is no origin.
    """
    worker_name, slash, log_id = origin.partition("/")
    if not slash:
        raise _invalid(origin, "has no slash between the worker's name and the log's id")
    try:
        require_worker_name(worker_name)
    except ReceiptInvalid as exc:
        raise _invalid(origin, "does not begin with the name of a worker") from exc
    try:
        canonical_id = str(uuid.UUID(log_id))
    except ValueError:
        canonical_id = ""
    if canonical_id != log_id:
        raise _invalid(origin, "does not end with a UUID in its lower-case, hyphenated form")
    return worker_name


def _invalid(text: str, reason: str) -> OriginInvalid:
    return OriginInvalid(
        f"the origin {text[:80]!a} {reason}",
        suggested_action="Use the first line of the log's checkpoint: <worker name>/<log id>.",
    )
