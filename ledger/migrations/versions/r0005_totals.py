"""Totals of what was counted and how far, and what counting needs to know of samples and cancels.

Every new column is null: a worker of the version before, which has the ledger open while this runs,
goes on writing rows without it.

Revision ID: r0005
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "r0005"
down_revision = "r0004"


def upgrade() -> None:
    """Add to what is there; no table is rebuilt."""
    op.add_column("jobs", sa.Column("cancel_asked_at", sa.Double()))
    op.add_column("jobs", sa.Column("traceparent", sa.Text()))
    op.add_column("samples", sa.Column("first_token_ms", sa.BigInteger()))
    op.add_column("samples", sa.Column("cached_tokens", sa.Integer()))
    op.create_table(
        "totals",
        sa.Column("metric", sa.Text(), primary_key=True),
        sa.Column("labels", sa.Text(), primary_key=True),
        sa.Column("value", sa.Double(), nullable=False),
        sa.Column("counts", sa.JSON()),
    )
    op.create_table(
        "bookmarks",
        sa.Column("name", sa.Text(), primary_key=True),
        sa.Column("position", sa.BigInteger(), nullable=False),
        sa.Column("at", sa.Double(), nullable=False),
    )
