"""How often a job was in flight when several were lost at once.

The new column has a default in the database: a worker of the version before, which has the ledger
open while this runs, goes on writing rows without it.

Revision ID: r0003
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "r0003"
down_revision = "r0002"


def upgrade() -> None:
    """Add to what is there; no table is rebuilt."""
    column = sa.Column("shared_crashes", sa.Integer(), nullable=False, server_default="0")
    op.add_column("jobs", column)
