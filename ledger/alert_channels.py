"""Channels of alerts: how each fares, and how much it has told by now."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa

from ledger import tables
from ledger.alert_tables import alert_channels, alert_totals
from ledger.transaction import Transaction


@dataclass(frozen=True, slots=True, kw_only=True)
class ChannelRow:
    """How a channel fares: when it may be tried next, and how often in a row it has failed."""

    channel: str
    next_at: float = 0.0
    failures: int = 0
    error: str | None = None
    delivered_at: float | None = None


def _telling(insert: tables.Insert) -> Any:
    new = insert(alert_channels)
    names = ("next_at", "failures", "error", "delivered_at")
    news = {name: new.excluded[name] for name in names}
    return new.on_conflict_do_update(index_elements=["channel"], set_=news)


def _counting(insert: tables.Insert) -> Any:
    more = insert(alert_totals)
    news = {"total": alert_totals.c.total + more.excluded.total}
    return more.on_conflict_do_update(index_elements=["channel", "kind", "outcome"], set_=news)


_CHANNELS = sa.select(alert_channels).order_by(alert_channels.c.channel)
_TELL = tables.both(_telling)
_COUNT = tables.both(_counting)
_TOTALS = sa.select(alert_totals)
_BY: sa.BindParameter[float] = sa.bindparam("the_seconds", type_=sa.Double)
_SET_BACK = sa.update(alert_channels).values(
    next_at=alert_channels.c.next_at - _BY, delivered_at=alert_channels.c.delivered_at - _BY
)


def note(tx: Transaction, row: ChannelRow) -> None:
    """Note how a channel fares."""
    names = ("channel", "next_at", "failures", "error", "delivered_at")
    tx.execute(_TELL, {name: getattr(row, name) for name in names})


def set_back(tx: Transaction, seconds: float) -> None:
    """Move all that is kept by a clock that was set back so far: what was to wait waits no longer.

    A moment that was on neither clock is better than one that is yet to come.
    """
    tx.execute(_SET_BACK, {"the_seconds": seconds})


def list(tx: Transaction) -> dict[str, ChannelRow]:  # noqa: A001 - alert_channels.list
    """How every channel fares that was ever used, by name."""
    return {row["channel"]: ChannelRow(**row) for row in tx.rows(_CHANNELS)}


def count(tx: Transaction, rows: Iterable[Mapping[str, Any]], outcome: str) -> None:
    """Add messages, each with its channel and kind, to the totals of an outcome."""
    counted = Counter((row["channel"], row["kind"]) for row in rows)
    for (channel, kind), many in sorted(counted.items()):
        more = {"channel": channel, "kind": kind, "outcome": outcome, "total": many}
        tx.execute(_COUNT, more)


def totals(tx: Transaction) -> dict[tuple[str, str, str], int]:
    """How many there were, by channel, kind and outcome (ok, retried, failed, suppressed)."""
    found = tx.rows(_TOTALS)
    return {(row["channel"], row["kind"], row["outcome"]): row["total"] for row in found}
