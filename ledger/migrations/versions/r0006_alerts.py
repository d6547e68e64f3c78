"""Alerts: what holds now, what people are to be told, how each channel fares, and what was judged.

Revision ID: r0006
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "r0006"
down_revision = "r0005"


def upgrade() -> None:
    """Add tables; nothing of what is there changes."""
    op.create_table(
        "alerts",
        sa.Column("fingerprint", sa.Text(), primary_key=True),
        sa.Column("rule", sa.Text(), nullable=False),
        sa.Column("source", sa.Text(), nullable=False),
        sa.Column("severity", sa.Text(), nullable=False),
        sa.Column("alert", sa.JSON(), nullable=False),
        sa.Column("since", sa.Double(), nullable=False),
        sa.Column("ended_at", sa.Double()),
        sa.Column("heard_at", sa.Double(), nullable=False),
        sa.Column("told_at", sa.Double()),
    )
    _create_messages()
    op.create_table(
        "alert_channels",
        sa.Column("channel", sa.Text(), primary_key=True),
        sa.Column("next_at", sa.Double(), nullable=False),
        sa.Column("failures", sa.Integer(), nullable=False),
        sa.Column("error", sa.Text()),
        sa.Column("delivered_at", sa.Double()),
    )
    op.create_table(
        "alert_totals",
        sa.Column("channel", sa.Text(), primary_key=True),
        sa.Column("kind", sa.Text(), primary_key=True),
        sa.Column("outcome", sa.Text(), primary_key=True),
        sa.Column("total", sa.BigInteger(), nullable=False),
    )
    op.create_table(
        "alert_states",
        sa.Column("name", sa.Text(), primary_key=True),
        sa.Column("state", sa.JSON()),
        sa.Column("at", sa.Double(), nullable=False),
    )


def _create_messages() -> None:
    op.create_table(
        "alert_messages",
        sa.Column(
            "id",
            sa.BigInteger().with_variant(sa.Integer(), "sqlite"),
            primary_key=True,
            autoincrement=True,
        ),
        sa.Column("channel", sa.Text(), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("fingerprint", sa.Text(), nullable=False),
        sa.Column("alert", sa.JSON(), nullable=False),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("tries", sa.Integer(), nullable=False),
        sa.Column("error", sa.Text()),
        sa.Column("created_at", sa.Double(), nullable=False),
        sa.Column("ended_at", sa.Double()),
        sa.Column("delivery", sa.Text()),
        sqlite_autoincrement=True,
    )
    condition = sa.text("state = 'waiting'")
    op.create_index(
        "alert_messages_waiting",
        "alert_messages",
        ["channel", "id"],
        sqlite_where=condition,
        postgresql_where=condition,
    )
    op.create_index("alert_messages_ended", "alert_messages", ["channel", "ended_at"])
