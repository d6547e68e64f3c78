"""Bytes by their digest: requests, answers, results, reports. Equal bytes are stored once."""

from __future__ import annotations

import hashlib
from collections.abc import Collection

import sqlalchemy as sa

from ledger import tables
from ledger.errors import BodyMismatch
from ledger.transaction import Transaction

JSON = "application/json"
TEXT = "text/plain; charset=utf-8"

_GET = sa.select(tables.bodies.c.digest, tables.bodies.c.data).where(
    tables.bodies.c.digest.in_(sa.bindparam("wanted", expanding=True))
)


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
    return get_many(tx, [digest]).get(digest)


def get_many(tx: Transaction, digests: Collection[str]) -> dict[str, bytes]:
    """The bytes of those digests that are stored, by digest.

    Raises:
        BodyMismatch: what is stored has another digest: the store is damaged.
    """
    pending = {digest: tx.pending_body(digest) for digest in digests}
    found = {digest: data for digest, data in pending.items() if data is not None}
    if missing := [digest for digest in pending if digest not in found]:
        for row in tx.rows(_GET, {"wanted": missing}):
            found[row["digest"]] = _checked(row["digest"], row["data"])
    return found


def _checked(digest: str, data: bytes) -> bytes:
    if digest_of(data) != digest:
        raise BodyMismatch(
            f"The bytes stored as {digest} have the digest {digest_of(data)}.",
            suggested_action="The ledger is damaged; restore these bytes from a backup.",
            details={"digest": digest, "found": digest_of(data)},
        )
    return data
