"""Promotions, shared executions, quarantine, events, workers told to stop, takers of chords.

Every new column is null or has a default in the database: a worker of the version before, which has
the ledger open while this runs, goes on writing rows without them.

Revision ID: r0002
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "r0002"
down_revision = "r0001"


def upgrade() -> None:
    """Add to what is there; no table is rebuilt."""
    op.add_column("jobs", sa.Column("promoted_at", sa.Double()))
    op.add_column("jobs", _flag("dedupe"))
    op.add_column("jobs", sa.Column("follows", sa.Text()))
    _partial_index(
        "jobs_unpromoted",
        "state = 'queued' AND priority > 0 AND promoted_at IS NULL",
        "queued_at",
    )
    _partial_index(
        "jobs_leading",
        "dedupe AND follows IS NULL AND finished_at IS NULL",
        "request_digest",
    )
    _partial_index(
        "jobs_following",
        "state = 'scheduled' AND follows IS NOT NULL AND not_before IS NULL",
        "follows",
        "created_at",
        "id",
    )
    op.add_column("workers", _flag("stop"))
    op.add_column("chords", sa.Column("claimed_by", sa.Text()))
    _create_quarantine()
    _create_events()


def _create_quarantine() -> None:
    op.create_table(
        "quarantine",
        _number("id", autoincrement=True),
        sa.Column("at", sa.Double(), nullable=False),
        sa.Column("queue", sa.Text(), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("detail", sa.Text(), nullable=False),
        sa.Column("digest", sa.Text(), nullable=False),
        sa.Column("size", sa.BigInteger(), nullable=False),
        sa.Column("data", sa.LargeBinary(), nullable=False),
        sa.Column("worker", sa.Text(), nullable=False),
        sqlite_autoincrement=True,
    )
    op.create_table(
        "quarantine_totals",
        sa.Column("reason", sa.Text(), primary_key=True),
        sa.Column("total", sa.BigInteger(), nullable=False),
    )


def _create_events() -> None:
    # PostgreSQL's numbers are made by the writer, as those of changes; only SQLite counts by itself.
    on_sqlite = op.get_bind().dialect.name == "sqlite"
    op.create_table(
        "events",
        _number("id", autoincrement=on_sqlite),
        sa.Column("at", sa.Double(), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("subject", sa.Text(), nullable=False),
        sa.Column("details", sa.JSON(), nullable=False),
        sqlite_autoincrement=on_sqlite,
    )


def _number(name: str, *, autoincrement: bool) -> sa.Column[int]:
    return sa.Column(
        name,
        sa.BigInteger().with_variant(sa.Integer(), "sqlite"),
        primary_key=True,
        autoincrement=autoincrement,
    )


def _flag(name: str) -> sa.Column[bool]:
    return sa.Column(name, sa.Boolean(), nullable=False, server_default=sa.false())


def _partial_index(name: str, where: str, *columns: str) -> None:
    condition = sa.text(where)
    op.create_index(
        name, "jobs", list(columns), sqlite_where=condition, postgresql_where=condition
    )
