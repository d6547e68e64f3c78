"""The outbox of alerts: for each channel what it is to tell, in the order in which it came up.

A message is `waiting` until the channel has taken it, then `sent`; `dropped` is one that something
newer made needless, or that could not be delivered for too long. One that is on its way is taken in
hand: nothing newer drops it, for it may have arrived. Totals outlive the rows.
"""

from __future__ import annotations

import builtins
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

import sqlalchemy as sa

from ledger import alert_channels
from ledger.alert_tables import alert_messages
from ledger.transaction import Transaction
from ledger.values import cleaned


class MessageState(StrEnum):
    """What became of a message."""

    WAITING = "waiting"
    SENT = "sent"
    DROPPED = "dropped"


@dataclass(frozen=True, slots=True, kw_only=True)
class NewMessage:
    """Something to be told on a channel; `kind` is a word, `alert` plain JSON."""

    channel: str
    kind: str
    fingerprint: str
    alert: Mapping[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class MessageRow(NewMessage):
    """A message of the outbox.

    `tries` counts deliveries that failed, `error` tells of the last one, or why it was dropped;
    `delivery` is shared by those that went out as one, or are on their way as one.
    """

    id: int
    state: str
    tries: int
    error: str | None
    created_at: float
    ended_at: float | None
    delivery: str | None


_CHANNEL: sa.BindParameter[str] = sa.bindparam("the_channel", type_=sa.Text)
_TIME: sa.BindParameter[float] = sa.bindparam("the_time", type_=sa.Double)
_AT_MOST: sa.BindParameter[int] = sa.bindparam("at_most", type_=sa.Integer)
_IDS = alert_messages.c.id.in_(sa.bindparam("the_ids", expanding=True))
# Written out, so that the partial index serves.
_WAITING = alert_messages.c.state == sa.literal_column("'waiting'")
_ERROR = sa.bindparam("the_error", type_=sa.Text)


_ADD = sa.insert(alert_messages)
_MESSAGES_WAITING = (
    sa.select(alert_messages)
    .where(_WAITING, alert_messages.c.channel == _CHANNEL)
    .order_by(alert_messages.c.id)
    .limit(_AT_MOST)
)
_LATEST = sa.select(alert_messages).order_by(alert_messages.c.id.desc()).limit(_AT_MOST)
_DELIVERIES = (
    sa.select(sa.func.max(alert_messages.c.ended_at).label("at"))
    .where(
        alert_messages.c.channel == _CHANNEL,
        alert_messages.c.ended_at > _TIME,
        alert_messages.c.delivery.is_not(None),
    )
    .group_by(alert_messages.c.delivery)
    .order_by("at")
)
_END = (
    sa.update(alert_messages)
    .where(_WAITING, _IDS)
    .values(
        state=sa.bindparam("the_state", type_=sa.Text),
        ended_at=_TIME,
        error=_ERROR,
        delivery=sa.bindparam("the_delivery", type_=sa.Text),
    )
    .returning(alert_messages.c.channel, alert_messages.c.kind)
)
_FAIL = (
    sa.update(alert_messages)
    .where(_WAITING, _IDS)
    .values(tries=alert_messages.c.tries + 1, error=_ERROR)
    .returning(alert_messages.c.channel, alert_messages.c.kind)
)
_TAKE = (
    sa.update(alert_messages)
    .where(_WAITING, _IDS)
    .values(delivery=sa.bindparam("the_delivery", type_=sa.Text))
)
_IN_HAND = sa.select(alert_messages.c.id).where(_WAITING, alert_messages.c.delivery.is_not(None))
_GIVE_BACK = sa.update(alert_messages).where(_WAITING, _IDS).values(delivery=None)
_KINDS: sa.BindParameter[Any] = sa.bindparam("kinds", expanding=True)
_newer = alert_messages.alias("newer")
_OVERTAKEN = sa.select(alert_messages.c.id).where(
    _WAITING,
    _IDS,
    alert_messages.c.kind.in_(_KINDS),
    sa.exists().where(
        _newer.c.state == sa.literal_column("'waiting'"),
        _newer.c.channel == alert_messages.c.channel,
        _newer.c.id > alert_messages.c.id,
        _newer.c.fingerprint == alert_messages.c.fingerprint,
        _newer.c.kind.in_(_KINDS),
    ),
)
_SUPERSEDED = sa.select(alert_messages.c.id).where(
    _WAITING,
    alert_messages.c.delivery.is_(None),
    alert_messages.c.kind.in_(_KINDS),
    alert_messages.c.fingerprint.in_(sa.bindparam("fingerprints", expanding=True)),
)
_LENGTHS = (
    sa.select(alert_messages.c.channel, sa.func.count().label("many"))
    .where(_WAITING)
    .group_by(alert_messages.c.channel)
)
_LATE = sa.select(alert_messages.c.id).where(_WAITING, alert_messages.c.created_at <= _TIME)
_FORGET = sa.delete(alert_messages).where(alert_messages.c.ended_at <= _TIME)

_BATCH = 500


def add(tx: Transaction, messages: Sequence[NewMessage]) -> None:
    """Have these delivered, in this order."""
    fresh = {"state": str(MessageState.WAITING), "tries": 0, "created_at": tx.now}
    rows = [
        {
            "channel": message.channel,
            "kind": message.kind,
            "fingerprint": message.fingerprint,
            "alert": message.alert,
            **fresh,
        }
        for message in messages
    ]
    if rows:
        tx.execute(_ADD, rows)


def supersede(tx: Transaction, fingerprints: Sequence[str], *, kinds: Sequence[str]) -> int:
    """Drop what waits of these kinds about these alerts: something newer is to be told.

    What is on its way is left: nobody can say whether it has arrived.
    """
    found: builtins.list[int] = []
    for part in parts(fingerprints):
        wanted = {"fingerprints": part, "kinds": [*kinds]}
        found += [row["id"] for row in tx.rows(_SUPERSEDED, wanted)]
    return _overtake(tx, found)


def take_in_hand(tx: Transaction, ids: Sequence[int], *, delivery: str) -> None:
    """Note that these are on their way as one."""
    for part in parts(ids):
        tx.execute(_TAKE, {"the_ids": part, "the_delivery": delivery})


def in_hand(tx: Transaction) -> builtins.list[int]:
    """The numbers of those that somebody has on their way, or had when it ended."""
    return [row["id"] for row in tx.rows(_IN_HAND)]


def give_back(tx: Transaction, ids: Sequence[int], *, kinds: Sequence[str]) -> None:
    """Have these wait again, and drop those of these kinds that were overtaken meanwhile."""
    overtaken: builtins.list[int] = []
    for part in parts(ids):
        tx.execute(_GIVE_BACK, {"the_ids": part})
        overtaken += [row["id"] for row in tx.rows(_OVERTAKEN, {"the_ids": part, "kinds": kinds})]
    _overtake(tx, overtaken)


def waiting(tx: Transaction, channel: str, limit: int = 1000) -> builtins.list[MessageRow]:
    """What a channel has to tell, the oldest first."""
    return _rows(tx, _MESSAGES_WAITING, {"the_channel": channel, "at_most": limit})


def late(tx: Transaction, *, created_before: float) -> builtins.list[int]:
    """The numbers of those that have waited since then."""
    return [row["id"] for row in tx.rows(_LATE, {"the_time": created_before})]


def latest(tx: Transaction, limit: int = 20) -> builtins.list[MessageRow]:
    """The newest messages of all channels, the newest first."""
    return _rows(tx, _LATEST, {"at_most": limit})


def deliveries(tx: Transaction, channel: str, *, after: float) -> builtins.list[float]:
    """When a channel took something, since then, in order; what went out as one counts once."""
    return [row["at"] for row in tx.rows(_DELIVERIES, {"the_channel": channel, "the_time": after})]


def finish(tx: Transaction, ids: Sequence[int], *, delivery: str) -> int:
    """Note that a channel has taken these as one; gives how many were waiting."""
    return _end(tx, ids, MessageState.SENT, "ok", error=None, delivery=delivery)


def drop(tx: Transaction, ids: Sequence[int], *, outcome: str, error: str) -> int:
    """Note that these are not delivered, and count why; gives how many were waiting."""
    return _end(tx, ids, MessageState.DROPPED, outcome, error=error, delivery=None)


def fail(tx: Transaction, ids: Sequence[int], *, error: str) -> None:
    """Note that these could not be delivered this time."""
    rows: builtins.list[dict[str, Any]] = []
    for part in parts(ids):
        rows += tx.rows(_FAIL, {"the_ids": part, "the_error": cleaned(error)})
    alert_channels.count(tx, rows, "retried")


def forget(tx: Transaction, *, ended_before: float) -> int:
    """Delete what ended by then; gives how many. The totals stay."""
    return tx.execute(_FORGET, {"the_time": ended_before}).rowcount


def lengths(tx: Transaction) -> dict[str, int]:
    """How much waits, by channel; those with nothing are left out."""
    return {row["channel"]: row["many"] for row in tx.rows(_LENGTHS)}


def _end(
    tx: Transaction,
    ids: Sequence[int],
    state: MessageState,
    outcome: str,
    *,
    error: str | None,
    delivery: str | None,
) -> int:
    told = {"the_state": str(state), "the_time": tx.now, "the_delivery": delivery}
    told["the_error"] = None if error is None else cleaned(error)
    rows: builtins.list[dict[str, Any]] = []
    for part in parts(ids):
        rows += tx.rows(_END, {**told, "the_ids": part})
    alert_channels.count(tx, rows, outcome)
    return len(rows)


def _overtake(tx: Transaction, ids: Sequence[int]) -> int:
    return drop(tx, ids, outcome="suppressed", error="something newer was to be told")


def parts(values: Sequence[Any]) -> builtins.list[builtins.list[Any]]:
    """The same in parts: no database takes any number of parameters."""
    return [[*values[start : start + _BATCH]] for start in range(0, len(values), _BATCH)]


def _rows(
    tx: Transaction, statement: sa.Executable, parameters: Mapping[str, Any]
) -> builtins.list[MessageRow]:
    return [MessageRow(**row) for row in tx.rows(statement, parameters)]
