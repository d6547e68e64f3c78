"""Alerts that fire, or have just stopped to, and what judging them has to keep in mind.

What an alert is, is not known here: a row has what it is found by, and the rest as plain JSON.
"""

from __future__ import annotations

import builtins
import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa

from ledger import tables
from ledger.alert_tables import alert_states, alerts
from ledger.transaction import Transaction

TURN = "turn"
"""The name under which those who change alerts take turns."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AlertRow:
    """One alert; `ended_at` is None while it fires, `told_at` while nobody knows that it does.

    `source` is who judges it, `heard_at` when that one last spoke of it.
    """

    fingerprint: str
    rule: str
    source: str
    severity: str
    alert: Mapping[str, Any]
    since: float
    ended_at: float | None
    heard_at: float
    told_at: float | None


_CHANGED = ("rule", "source", "severity", "alert", "since", "ended_at", "heard_at", "told_at")


def _writing(insert: tables.Insert) -> Any:
    new = insert(alerts)
    news = {name: new.excluded[name] for name in _CHANGED}
    return new.on_conflict_do_update(index_elements=["fingerprint"], set_=news)


def _noting(insert: tables.Insert) -> Any:
    new = insert(alert_states)
    news = {"state": new.excluded.state, "at": new.excluded.at}
    return new.on_conflict_do_update(index_elements=["name"], set_=news)


_WRITE = tables.both(_writing)
_NOTE = tables.both(_noting)
_LIST = sa.select(alerts).order_by(alerts.c.since, alerts.c.fingerprint)
_FIRING = _LIST.where(alerts.c.ended_at.is_(None))
_NAMED = alert_states.c.name == sa.bindparam("the_name", type_=sa.Text)
_STATE = sa.select(alert_states.c.state).where(_NAMED)
_NOTED_AT = sa.select(alert_states.c.at).where(_NAMED)
_FORGET = sa.delete(alerts).where(
    alerts.c.ended_at <= sa.bindparam("before", type_=sa.Double), alerts.c.told_at.is_(None)
)


def fingerprint(key: str) -> str:
    """What tells an alert from others, in a form that an index takes."""
    return hashlib.sha256(key.encode("utf-8", "surrogatepass")).hexdigest()


def take_turn(tx: Transaction) -> None:
    """Wait until no other transaction changes alerts; to be called before they are read."""
    note_state(tx, TURN, None)


def list(tx: Transaction, *, firing: bool = False) -> builtins.list[AlertRow]:  # noqa: A001
    """All alerts or those that fire, the oldest first."""
    return [AlertRow(**row) for row in tx.rows(_FIRING if firing else _LIST)]


def write(tx: Transaction, rows: Iterable[AlertRow]) -> None:
    """Put these rows in the place of what stands there for their fingerprints."""
    names = ("fingerprint", *_CHANGED)
    written = [{name: getattr(row, name) for name in names} for row in rows]
    if written:
        tx.execute(_WRITE, sorted(written, key=lambda row: row["fingerprint"]))


def forget(tx: Transaction, *, ended_before: float) -> int:
    """Delete those that ended by then, and of which nobody thinks that they fire; how many."""
    return tx.execute(_FORGET, {"before": ended_before}).rowcount


def note_state(tx: Transaction, name: str, state: Mapping[str, Any] | None) -> None:
    """Keep what a judge has to remember until it judges again; plain JSON."""
    tx.execute(_NOTE, {"name": name, "state": state, "at": tx.now})


def state(tx: Transaction, name: str) -> Mapping[str, Any] | None:
    """What was kept under a name; None where nothing was."""
    found: Mapping[str, Any] | None = tx.execute(_STATE, {"the_name": name}).scalar_one_or_none()
    return found


def noted_at(tx: Transaction, name: str) -> float | None:
    """When something was last kept under a name; None where nothing was."""
    found: float | None = tx.execute(_NOTED_AT, {"the_name": name}).scalar_one_or_none()
    return found
