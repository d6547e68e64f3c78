"""The tables of the transparency logs: what the receipts' logs hold, and what leaves the machine.

A log's leaves, its tree and its batches only ever grow; triggers in the database see to it.
"""

from __future__ import annotations

import sqlalchemy as sa

from ledger.columns import Real, number, partial_index, plain_json
from ledger.tables import metadata

NODE_SHIFT = 48
"""A node's key is its level, shifted by this, and its index within the level."""

logs = sa.Table(
    "logs",
    metadata,
    number("number"),
    sa.Column("log_id", sa.Text, nullable=False, unique=True),
    sa.Column("worker", sa.Text, nullable=False),
    sa.Column("origin", sa.Text, nullable=False, unique=True),
    sa.Column("key", sa.Text, nullable=False),
    # `size` counts the leaves that have their index, `sealed_size` those under a checkpoint.
    sa.Column("size", sa.BigInteger, nullable=False),
    sa.Column("sealed_size", sa.BigInteger, nullable=False),
    sa.Column("sealed_root", sa.LargeBinary, nullable=False),
    sa.Column("batches", sa.BigInteger, nullable=False),
    sa.Column("state", sa.Text, nullable=False),
    sa.Column("reason", sa.Text),
    sa.Column("predecessor", sa.Text),
    sa.Column("created_at", Real, nullable=False),
    sa.Index("logs_worker", "worker", "number"),
    sqlite_autoincrement=True,
)

log_leaves = sa.Table(
    "log_leaves",
    metadata,
    sa.Column("log", sa.BigInteger, sa.ForeignKey("logs.number"), primary_key=True),
    sa.Column("index", sa.BigInteger, primary_key=True),
    sa.Column("type", sa.Text, nullable=False),
    sa.Column("hash", sa.LargeBinary, nullable=False),
    # A receipt's bytes lie in `receipts` under its job, every other entry's in `log_entries`.
    sa.Column("job_id", sa.Text),
    sa.Column("entry", sa.Text),
    partial_index("log_leaves_job", "job_id IS NOT NULL", "job_id"),
    sqlite_with_rowid=False,
)

log_nodes = sa.Table(
    "log_nodes",
    metadata,
    sa.Column("log", sa.BigInteger, sa.ForeignKey("logs.number"), primary_key=True),
    sa.Column("node", sa.BigInteger, primary_key=True),
    sa.Column("hash", sa.LargeBinary, nullable=False),
    sqlite_with_rowid=False,
)

log_entries = sa.Table(
    "log_entries",
    metadata,
    sa.Column("digest", sa.Text, primary_key=True),
    sa.Column("log", sa.BigInteger, sa.ForeignKey("logs.number"), nullable=False),
    sa.Column("type", sa.Text, nullable=False),
    sa.Column("job_id", sa.Text),
    sa.Column("data", sa.LargeBinary, nullable=False),
    # The text that the entry is about, such as a corrected answer; it may be erased.
    sa.Column("body_digest", sa.Text),
    sa.Column("leaf_index", sa.BigInteger),
    sa.Column("created_at", Real, nullable=False),
    partial_index("log_entries_unlogged", "leaf_index IS NULL", "log", "created_at"),
    partial_index("log_entries_job", "job_id IS NOT NULL", "job_id"),
)

batches = sa.Table(
    "batches",
    metadata,
    sa.Column("log", sa.BigInteger, sa.ForeignKey("logs.number"), primary_key=True),
    sa.Column("number", sa.BigInteger, primary_key=True),
    sa.Column("first_index", sa.BigInteger, nullable=False),
    sa.Column("count", sa.Integer, nullable=False),
    sa.Column("sealed_at", Real, nullable=False),
    # What was signed, from the moment it was; the files are copies of these bytes.
    sa.Column("manifest", sa.LargeBinary),
    sa.Column("signature", sa.LargeBinary),
    sa.Column("checkpoint", sa.LargeBinary),
    sa.Column("published_at", Real),
    sa.Index("batches_first", "log", "first_index", unique=True),
    partial_index("batches_unpublished", "published_at IS NULL", "log", "number"),
)

cosignatures = sa.Table(
    "cosignatures",
    metadata,
    sa.Column("log", sa.BigInteger, sa.ForeignKey("logs.number"), primary_key=True),
    sa.Column("tree_size", sa.BigInteger, primary_key=True),
    sa.Column("key_id", sa.Text, primary_key=True),
    sa.Column("witness", sa.Text, nullable=False),
    sa.Column("line", sa.Text, nullable=False),
    sa.Column("created_at", Real, nullable=False),
)

key_revocations = sa.Table(
    "key_revocations",
    metadata,
    sa.Column("digest", sa.Text, primary_key=True),
    sa.Column("key", sa.Text, nullable=False),
    sa.Column("origin", sa.Text, nullable=False),
    sa.Column("data", sa.LargeBinary, nullable=False),
    sa.Column("created_at", Real, nullable=False),
)

uploads = sa.Table(
    "uploads",
    metadata,
    sa.Column("cid", sa.Text, primary_key=True),
    sa.Column("kind", sa.Text, nullable=False),
    sa.Column("body_digest", sa.Text, nullable=False),
    sa.Column("profile", sa.Text, nullable=False),
    sa.Column("state", sa.Text, nullable=False),
    sa.Column("tries", sa.Integer, nullable=False),
    sa.Column("next_at", Real, nullable=False),
    sa.Column("error", plain_json()),
    sa.Column("created_at", Real, nullable=False),
    sa.Column("done_at", Real),
    partial_index("uploads_pending", "state = 'pending'", "next_at"),
)
