"""The tables of monitoring: what was counted of the ledger's moves and events, and how far."""

from __future__ import annotations

import sqlalchemy as sa

from ledger.columns import Real, plain_json
from ledger.tables import metadata

totals = sa.Table(
    "totals",
    metadata,
    sa.Column("metric", sa.Text, primary_key=True),
    # The values of its labels, as a JSON array.
    sa.Column("labels", sa.Text, primary_key=True),
    # A counter, a gauge, or the sum of a histogram, whose buckets are in `counts`.
    sa.Column("value", Real, nullable=False),
    sa.Column("counts", plain_json()),
)

bookmarks = sa.Table(
    "bookmarks",
    metadata,
    sa.Column("name", sa.Text, primary_key=True),
    sa.Column("position", sa.BigInteger, nullable=False),
    sa.Column("at", Real, nullable=False),
)
