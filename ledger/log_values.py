"""What the ledger gives back of receipts and their logs: frozen values, keyword-only."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any


@dataclass(frozen=True, slots=True, kw_only=True)
class ReceiptRow:
    """A job's receipt: its canonical bytes and what is known of them.

    `signature` is the receipt's own, `log` the number of the log it belongs to, `leaf_index` its
    place there, None until it has one.
    """

    job_id: str
    canonical: bytes
    digest: str
    report_digest: str
    leaf_index: int | None = None
    signature: bytes | None = None
    created_at: float | None = None
    log: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ReviewRow:
    """A doubtful answer that people shall look at; `classes` is plain JSON."""

    job_id: str
    reasons: Sequence[str]
    classes: Mapping[str, Any] | Sequence[Any]
    state: str = "open"
    created_at: float | None = None


class LogState(StrEnum):
    """Whether a log may grow."""

    OPEN = "open"
    """It grows."""
    ROLLED_BACK = "rolled-back"
    """Somebody has seen more of it than this ledger holds: it must never grow again."""
    REVOKED = "revoked"
    """Its key is revoked."""
    CLOSED = "closed"
    """Its last leaf says so."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LogRow:
    """A log: `size` leaves have their index, `sealed_size` of them are under a checkpoint.

    `key` is the public key that signs it now, in OpenSSH's form; `predecessor` the origin of the
    log it goes on from, `reason` why it may not grow.
    """

    number: int
    log_id: str
    worker: str
    origin: str
    key: str
    size: int
    sealed_size: int
    sealed_root: bytes
    batches: int
    state: str
    reason: str | None
    predecessor: str | None
    created_at: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Leaf:
    """A leaf: the job whose receipt it is, or the digest of another entry; its 32-byte hash."""

    type: str
    hash: bytes
    job_id: str | None = None
    entry: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class LeafRow:
    """A leaf at its place, with the bytes that it is the hash of."""

    log: int
    index: int
    type: str
    hash: bytes
    job_id: str | None
    entry: str | None
    data: bytes | None


@dataclass(frozen=True, slots=True, kw_only=True)
class EntryRow:
    """An entry of a log that is no receipt: its bytes, and its place once it has one.

    `body_digest` names the text it is about, as a corrected answer, until that is erased.
    """

    digest: str
    log: int
    type: str
    job_id: str | None
    data: bytes
    body_digest: str | None
    leaf_index: int | None
    created_at: float


@dataclass(frozen=True, slots=True, kw_only=True)
class BatchRow:
    """A batch: its leaves have their places; what is signed of it is None until it is sealed."""

    log: int
    number: int
    first_index: int
    count: int
    sealed_at: float
    manifest: bytes | None
    signature: bytes | None
    checkpoint: bytes | None
    published_at: float | None

    @property
    def tree_size(self) -> int:
        """How many leaves the log has with this batch."""
        return self.first_index + self.count


@dataclass(frozen=True, slots=True, kw_only=True)
class Unlogged:
    """What waits for a place in a log: how many receipts and entries, and the oldest's time."""

    log: int
    worker: str
    count: int
    oldest: float
