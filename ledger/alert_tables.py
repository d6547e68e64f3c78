"""The tables of alerts: what holds now, what people are to be told, and how each channel fares."""

from __future__ import annotations

import sqlalchemy as sa

from ledger.columns import Real, number, partial_index, plain_json
from ledger.tables import metadata

alerts = sa.Table(
    "alerts",
    metadata,
    # SHA-256 of its rule and labels, which may be long.
    sa.Column("fingerprint", sa.Text, primary_key=True),
    sa.Column("rule", sa.Text, nullable=False),
    sa.Column("source", sa.Text, nullable=False),
    sa.Column("severity", sa.Text, nullable=False),
    # The alert whole, as its owner writes it.
    sa.Column("alert", plain_json(), nullable=False),
    sa.Column("since", Real, nullable=False),
    sa.Column("ended_at", Real),
    sa.Column("heard_at", Real, nullable=False),
    # When people were last told that it fires; null if they do not know of it.
    sa.Column("told_at", Real),
)

alert_messages = sa.Table(
    "alert_messages",
    metadata,
    number("id"),
    sa.Column("channel", sa.Text, nullable=False),
    sa.Column("kind", sa.Text, nullable=False),
    sa.Column("fingerprint", sa.Text, nullable=False),
    sa.Column("alert", plain_json(), nullable=False),
    sa.Column("state", sa.Text, nullable=False),
    sa.Column("tries", sa.Integer, nullable=False),
    sa.Column("error", sa.Text),
    sa.Column("created_at", Real, nullable=False),
    sa.Column("ended_at", Real),
    # Which message it went out in, together with others.
    sa.Column("delivery", sa.Text),
    partial_index("alert_messages_waiting", "state = 'waiting'", "channel", "id"),
    sa.Index("alert_messages_ended", "channel", "ended_at"),
    sqlite_autoincrement=True,
)

alert_channels = sa.Table(
    "alert_channels",
    metadata,
    sa.Column("channel", sa.Text, primary_key=True),
    sa.Column("next_at", Real, nullable=False),
    sa.Column("failures", sa.Integer, nullable=False),
    sa.Column("error", sa.Text),
    sa.Column("delivered_at", Real),
)

alert_totals = sa.Table(
    "alert_totals",
    metadata,
    sa.Column("channel", sa.Text, primary_key=True),
    sa.Column("kind", sa.Text, primary_key=True),
    sa.Column("outcome", sa.Text, primary_key=True),
    sa.Column("total", sa.BigInteger, nullable=False),
)

alert_states = sa.Table(
    "alert_states",
    metadata,
    sa.Column("name", sa.Text, primary_key=True),
    sa.Column("state", plain_json()),
    sa.Column("at", Real, nullable=False),
)
