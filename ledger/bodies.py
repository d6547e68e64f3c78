"""Bytes by their digest: requests, answers, results, reports. Equal bytes are stored once."""

from __future__ import annotations

import hashlib

import sqlalchemy as sa

from ledger import tables
from ledger.errors import BodyMismatch
from ledger.transaction import Transaction

JSON = "application/json"
TEXT = "text/plain; charset=utf-8"

_GET = sa.select(tables.bodies.c.data).where(tables.bodies.c.digest == sa.bindparam("wanted"))


def digest_of(data: bytes) -> str:
    """The name of these bytes: `sha256:` and the 64 hexadecimal digits of their SHA-256."""
    return "sha256:" + hashlib.sha256(data).hexdigest()


def put(tx: Transaction, data: bytes, media_type: str = "application/octet-stream") -> str:
    """Store bytes, unless they are stored already; gives their digest.

    They are written when the transaction commits, and can be read in it at once.
    """
    digest = digest_of(data)
    if digest not in tx.pending:
        tx.pending[digest] = {
            "digest": digest,
            "media_type": media_type,
            "size": len(data),
            "created_at": tx.now,
            "data": data,
        }
    return digest


def get(tx: Transaction, digest: str) -> bytes | None:
    """The bytes of a digest, or None when they are not, or no longer, stored.

    Raises:
        BodyMismatch: what is stored has another digest: the store is damaged.
    """
    if (pending := tx.pending_body(digest)) is not None:
        return pending
    data = tx.execute(_GET, {"wanted": digest}).scalar_one_or_none()
    if data is not None and digest_of(data) != digest:
        raise BodyMismatch(
            f"The bytes stored as {digest} have the digest {digest_of(data)}.",
            suggested_action="The ledger is damaged; restore these bytes from a backup.",
            details={"digest": digest, "found": digest_of(data)},
        )
    return data
