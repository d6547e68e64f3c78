"""What became of all that was to be told about an alert, on each channel."""

from __future__ import annotations

from collections.abc import Sequence

import sqlalchemy as sa

from ledger.alert_outbox import parts
from ledger.alert_tables import alert_messages
from ledger.transaction import Transaction

Fates = dict[str, list[tuple[str, str]]]
"""By channel, the kind and the state of each message, the oldest first."""

_FATES = (
    sa.select(
        alert_messages.c.fingerprint,
        alert_messages.c.channel,
        alert_messages.c.kind,
        alert_messages.c.state,
    )
    .where(alert_messages.c.fingerprint.in_(sa.bindparam("fingerprints", expanding=True)))
    .order_by(alert_messages.c.id)
)
_ABOUT = sa.select(alert_messages.c.id).where(
    alert_messages.c.fingerprint == sa.bindparam("the_fingerprint", type_=sa.Text),
    alert_messages.c.created_at > sa.bindparam("the_time", type_=sa.Double),
    # What seems still to come was before a clock was set back.
    alert_messages.c.created_at <= sa.bindparam("now", type_=sa.Double),
)


def of(tx: Transaction, fingerprints: Sequence[str]) -> dict[str, Fates]:
    """What became of the messages about each of these; one without any is left out."""
    found: dict[str, Fates] = {}
    for part in parts(fingerprints):
        for row in tx.rows(_FATES, {"fingerprints": part}):
            channels = found.setdefault(row["fingerprint"], {})
            channels.setdefault(row["channel"], []).append((row["kind"], row["state"]))
    return found


def is_told(tx: Transaction, fingerprint: str, *, after: float) -> bool:
    """Whether something about this was to be told since then."""
    about = {"the_fingerprint": fingerprint, "the_time": after, "now": tx.now}
    return tx.execute(_ABOUT, about).first() is not None
