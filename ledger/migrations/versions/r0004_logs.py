"""Logs of receipts, their batches and cosignatures, uploads, and jobs whose texts were erased.

Every new column is null: a worker of the version before, which has the ledger open while this runs,
goes on writing rows without it.

Revision ID: r0004
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "r0004"
down_revision = "r0003"

_LEAF_CHANGED = "a leaf of a log never changes"
_NODE_CHANGED = "a node in the tree of a log never changes"
_LOG_SHRANK = "NEW.size < OLD.size OR NEW.sealed_size < OLD.sealed_size OR NEW.batches < OLD.batches"
_ENTRY_CHANGED = """(
    NEW.digest <> OLD.digest
    OR NEW.type <> OLD.type
    OR NEW.data <> OLD.data
    OR (OLD.leaf_index IS NOT NULL AND (
        NEW.leaf_index IS NULL OR NEW.leaf_index <> OLD.leaf_index OR NEW.log <> OLD.log
    ))
)"""
_BATCH_CHANGED = """(
    NEW.first_index <> OLD.first_index
    OR NEW.count <> OLD.count
    OR NEW.sealed_at <> OLD.sealed_at
    OR (OLD.manifest IS NOT NULL AND (
        NEW.manifest IS NULL OR NEW.manifest <> OLD.manifest
        OR NEW.signature IS NULL OR NEW.signature <> OLD.signature
        OR NEW.checkpoint IS NULL OR NEW.checkpoint <> OLD.checkpoint
    ))
)"""
_GUARDS = (
    ("logs_grow", "logs", "UPDATE", _LOG_SHRANK, "a log never shrinks"),
    ("logs_stay", "logs", "DELETE", None, "a log is never deleted"),
    ("log_leaves_keep", "log_leaves", "UPDATE", None, _LEAF_CHANGED),
    ("log_leaves_stay", "log_leaves", "DELETE", None, "a leaf of a log is never deleted"),
    ("log_nodes_keep", "log_nodes", "UPDATE", None, _NODE_CHANGED),
    ("log_nodes_stay", "log_nodes", "DELETE", None, "a node in the tree of a log is never deleted"),
    ("log_entries_keep", "log_entries", "UPDATE", _ENTRY_CHANGED, "an entry never changes"),
    ("log_entries_stay", "log_entries", "DELETE", None, "an entry is never deleted"),
    ("batches_keep", "batches", "UPDATE", _BATCH_CHANGED, "a batch never changes"),
    ("batches_stay", "batches", "DELETE", None, "a batch is never deleted"),
)


def upgrade() -> None:
    """Add to what is there; no table is rebuilt."""
    op.add_column("jobs", sa.Column("purged_at", sa.Double()))
    op.add_column("workers", sa.Column("seal", sa.Text()))
    op.add_column("receipts", sa.Column("log", sa.BigInteger()))
    _partial_index("receipts_unlogged", "receipts", "leaf_index IS NULL", "log", "created_at")
    op.drop_index("receipts_unsealed", "receipts")
    _create_logs()
    _create_batches()
    _create_uploads()
    for guard in _GUARDS:
        _guard(*guard)


def _create_logs() -> None:
    op.create_table(
        "logs",
        sa.Column(
            "number",
            sa.BigInteger().with_variant(sa.Integer(), "sqlite"),
            primary_key=True,
            autoincrement=True,
        ),
        sa.Column("log_id", sa.Text(), nullable=False, unique=True),
        sa.Column("worker", sa.Text(), nullable=False),
        sa.Column("origin", sa.Text(), nullable=False, unique=True),
        sa.Column("key", sa.Text(), nullable=False),
        sa.Column("size", sa.BigInteger(), nullable=False),
        sa.Column("sealed_size", sa.BigInteger(), nullable=False),
        sa.Column("sealed_root", sa.LargeBinary(), nullable=False),
        sa.Column("batches", sa.BigInteger(), nullable=False),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("reason", sa.Text()),
        sa.Column("predecessor", sa.Text()),
        sa.Column("created_at", sa.Double(), nullable=False),
        sqlite_autoincrement=True,
    )
    op.create_index("logs_worker", "logs", ["worker", "number"])
    op.create_table(
        "log_leaves",
        _log(),
        sa.Column("index", sa.BigInteger(), primary_key=True, autoincrement=False),
        sa.Column("type", sa.Text(), nullable=False),
        sa.Column("hash", sa.LargeBinary(), nullable=False),
        sa.Column("job_id", sa.Text()),
        sa.Column("entry", sa.Text()),
        sqlite_with_rowid=False,
    )
    _partial_index("log_leaves_job", "log_leaves", "job_id IS NOT NULL", "job_id")
    op.create_table(
        "log_nodes",
        _log(),
        sa.Column("node", sa.BigInteger(), primary_key=True, autoincrement=False),
        sa.Column("hash", sa.LargeBinary(), nullable=False),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "log_entries",
        sa.Column("digest", sa.Text(), primary_key=True),
        sa.Column("log", sa.BigInteger(), sa.ForeignKey("logs.number"), nullable=False),
        sa.Column("type", sa.Text(), nullable=False),
        sa.Column("job_id", sa.Text()),
        sa.Column("data", sa.LargeBinary(), nullable=False),
        sa.Column("body_digest", sa.Text()),
        sa.Column("leaf_index", sa.BigInteger()),
        sa.Column("created_at", sa.Double(), nullable=False),
    )
    _partial_index(
        "log_entries_unlogged", "log_entries", "leaf_index IS NULL", "log", "created_at"
    )
    _partial_index("log_entries_job", "log_entries", "job_id IS NOT NULL", "job_id")


def _create_batches() -> None:
    op.create_table(
        "batches",
        _log(),
        sa.Column("number", sa.BigInteger(), primary_key=True, autoincrement=False),
        sa.Column("first_index", sa.BigInteger(), nullable=False),
        sa.Column("count", sa.Integer(), nullable=False),
        sa.Column("sealed_at", sa.Double(), nullable=False),
        sa.Column("manifest", sa.LargeBinary()),
        sa.Column("signature", sa.LargeBinary()),
        sa.Column("checkpoint", sa.LargeBinary()),
        sa.Column("published_at", sa.Double()),
    )
    op.create_index("batches_first", "batches", ["log", "first_index"], unique=True)
    _partial_index("batches_unpublished", "batches", "published_at IS NULL", "log", "number")
    op.create_table(
        "cosignatures",
        _log(),
        sa.Column("tree_size", sa.BigInteger(), primary_key=True, autoincrement=False),
        sa.Column("key_id", sa.Text(), primary_key=True),
        sa.Column("witness", sa.Text(), nullable=False),
        sa.Column("line", sa.Text(), nullable=False),
        sa.Column("created_at", sa.Double(), nullable=False),
    )
    op.create_table(
        "key_revocations",
        sa.Column("digest", sa.Text(), primary_key=True),
        sa.Column("key", sa.Text(), nullable=False),
        sa.Column("origin", sa.Text(), nullable=False),
        sa.Column("data", sa.LargeBinary(), nullable=False),
        sa.Column("created_at", sa.Double(), nullable=False),
    )


def _create_uploads() -> None:
    op.create_table(
        "uploads",
        sa.Column("cid", sa.Text(), primary_key=True),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("body_digest", sa.Text(), nullable=False),
        sa.Column("profile", sa.Text(), nullable=False),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("tries", sa.Integer(), nullable=False),
        sa.Column("next_at", sa.Double(), nullable=False),
        sa.Column("error", sa.JSON()),
        sa.Column("created_at", sa.Double(), nullable=False),
        sa.Column("done_at", sa.Double()),
    )
    _partial_index("uploads_pending", "uploads", "state = 'pending'", "next_at")


def _log() -> sa.Column[int]:
    return sa.Column(
        "log",
        sa.BigInteger(),
        sa.ForeignKey("logs.number"),
        primary_key=True,
        autoincrement=False,
    )


def _partial_index(name: str, table: str, where: str, *columns: str) -> None:
    condition = sa.text(where)
    op.create_index(
        name, table, list(columns), sqlite_where=condition, postgresql_where=condition
    )


def _guard(name: str, table: str, event: str, when: str | None, message: str) -> None:
    """Refuse an event on a table, where a condition holds."""
    condition = f"WHEN ({when})" if when else ""
    if op.get_bind().dialect.name == "sqlite":
        op.execute(
            f"CREATE TRIGGER {name} BEFORE {event} ON {table} FOR EACH ROW {condition} "
            f"BEGIN SELECT RAISE(ABORT, '{message}'); END"
        )
        return
    op.execute(
        f"CREATE FUNCTION {name}() RETURNS trigger LANGUAGE plpgsql AS "
        f"$$ BEGIN RAISE EXCEPTION '{message}'; END $$"
    )
    op.execute(
        f"CREATE TRIGGER {name} BEFORE {event} ON {table} FOR EACH ROW {condition} "
        f"EXECUTE FUNCTION {name}()"
    )
