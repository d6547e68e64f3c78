"""Decides what there is to tell, from what fires and from what people already know.

`settle` is the whole decision, a function of what is remembered, what was heard and the time. It
goes by states and not by messages: hearing the same again changes nothing, and what was kept quiet
is told when the reason for that is gone. The notifier around it keeps what is remembered in the
ledger, and writes the news to the outbox in the same transaction.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum

from ledger import Ledger, Transaction, alert_outbox, alerts
from ledger.alert_outbox import NewMessage
from ledger.alerts import AlertRow
from monitoring.alerts import stored
from monitoring.alerts.alert import Alert, Severity
from monitoring.alerts.channels.channel import Channel
from monitoring.alerts.inhibitions import INHIBITIONS, inhibited
from monitoring.alerts.message import OF_STATE, Kind, urgency

REPEAT_AFTER_S = 4 * 3600.0
SILENT_S = 9 * 3600.0
"""Alertmanager tells of what fires every four hours; twice missed is no longer true."""

_SOURCES = frozenset(rule.source for rule in INHIBITIONS)


class Source(StrEnum):
    """Who judges the rules; exactly one does."""

    BUILTIN = "builtin"
    PROMETHEUS = "prometheus"


@dataclass(frozen=True, slots=True, kw_only=True)
class Known:
    """An alert that is remembered; `told_at` is None while nobody knows that it fires."""

    alert: Alert
    source: str
    heard_at: float
    told_at: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class News:
    """Something to be told."""

    kind: Kind
    alert: Alert


@dataclass(frozen=True, slots=True, kw_only=True)
class Settled:
    """What is to be remembered from now on where it has changed, and what is to be told."""

    changed: Sequence[Known]
    news: Sequence[News]


def settle(
    known: Mapping[str, Known],
    heard: Sequence[Alert] = (),
    *,
    source: Source,
    now: float,
    complete: bool = False,
    repeat_after_s: float = REPEAT_AFTER_S,
) -> Settled:
    """Return what changes and what is to be told.

    Args:
        known: what is remembered, by key.
        heard: alerts that fire or have ended, as `source` says.
        source: who judges now; what another one said is over.
        now: the time, in seconds since 1970.
        complete: whether everything was heard that fires: what is missing has ended.
        repeat_after_s: how long what fires is left alone after it was told.
    """
    after = {key: _until(seen, now) for key, seen in known.items()}
    for alert in heard:
        # That something is over of which nobody has heard is nothing to remember.
        if alert.firing or alert.key in after:
            after[alert.key] = _heard(after.get(alert.key), alert, source, now)
    said = {alert.key for alert in heard} if complete else None
    after = {key: _over(seen, source, now, said) for key, seen in after.items()}
    firing = [seen.alert for seen in after.values() if seen.alert.firing]
    quieting = [alert for alert in firing if alert.rule in _SOURCES]
    news: list[News] = []
    for key, seen in sorted(after.items(), key=_by_age):
        kind = _kind(seen, quieting, now, repeat_after_s)
        if kind is not None:
            news.append(News(kind=kind, alert=seen.alert))
            after[key] = replace(seen, told_at=None if kind is Kind.RESOLVED else now)
    changed = [seen for key, seen in after.items() if seen != known.get(key)]
    return Settled(changed=changed, news=news)


class Notifier:
    """Remembers alerts in a ledger, and fills the outbox of its channels."""

    def __init__(
        self,
        ledger: Ledger,
        channels: Sequence[Channel],
        *,
        source: Source,
        repeat_after_s: float = REPEAT_AFTER_S,
    ) -> None:
        self._ledger = ledger
        self._channels = channels
        self._source = source
        self._repeat_after_s = repeat_after_s

    @property
    def channel_names(self) -> list[str]:
        """Whom it tells."""
        return [channel.name for channel in self._channels]

    def hear(self, heard: Sequence[Alert] = (), *, complete: bool = False) -> int:
        """Take what fires or has ended, and write down what is to be told; gives how much.

        Raises:
            LedgerError: the ledger does not take it; nothing was written, and it can be said again.
        """
        if not heard and not complete:
            # Time passes mostly without news, and most of the time nothing need be written.
            with self._ledger.read() as tx:
                if not self._settle(tx, heard, complete=complete).changed:
                    return 0
        with self._ledger.write() as tx:
            return self.hear_in(tx, heard, complete=complete)

    def hear_in(self, tx: Transaction, heard: Sequence[Alert], *, complete: bool) -> int:
        """Do the same in a transaction that the caller has begun."""
        alerts.take_turn(tx)
        settled = self._settle(tx, heard, complete=complete)
        alerts.write(tx, [_row(seen) for seen in settled.changed])
        tell(tx, settled.news, self._channels)
        return len(settled.news)

    def _settle(self, tx: Transaction, heard: Sequence[Alert], *, complete: bool) -> Settled:
        known = {seen.alert.key: seen for seen in map(_known, alerts.list(tx))}
        return settle(
            known,
            heard,
            source=self._source,
            now=tx.now,
            complete=complete,
            repeat_after_s=self._repeat_after_s,
        )


def tell(tx: Transaction, news: Sequence[News], channels: Sequence[Channel]) -> None:
    """Write news to the outbox of every channel that is told of their severity."""
    stale = [alerts.fingerprint(one.alert.key) for one in news if one.kind in OF_STATE]
    alert_outbox.supersede(tx, stale, kinds=OF_STATE)
    alert_outbox.add(
        tx,
        [
            NewMessage(
                channel=channel.name,
                kind=str(one.kind),
                fingerprint=alerts.fingerprint(one.alert.key),
                alert=stored.to_json(one.alert),
            )
            for one in news
            for channel in channels
            if urgency(one.alert.severity) >= urgency(channel.minimum)
        ],
    )


def _until(seen: Known, now: float) -> Known:
    """The same, with nothing yet to come: a clock may have been set back."""
    told_at = None if seen.told_at is None else min(seen.told_at, now)
    return replace(seen, heard_at=min(seen.heard_at, now), told_at=told_at)


def _heard(seen: Known | None, alert: Alert, source: Source, now: float) -> Known:
    """What is remembered of an alert, now that somebody has spoken of it."""
    if seen is None:
        return Known(alert=alert, source=source, heard_at=now)
    if alert.firing:
        since = min(seen.alert.since, alert.since) if seen.alert.firing else alert.since
        return replace(seen, alert=replace(alert, since=since), source=source, heard_at=now)
    late = alert.ended is not None and alert.ended < seen.alert.since
    if late or not seen.alert.firing:
        return seen
    return replace(seen, alert=replace(alert, since=seen.alert.since), heard_at=now)


def _over(seen: Known, source: Source, now: float, said: set[str] | None) -> Known:
    """The same, ended if nobody says any more that it fires."""
    missing = said is not None and seen.alert.key not in said
    silent = source is Source.PROMETHEUS and now - seen.heard_at > SILENT_S
    if not seen.alert.firing or not (missing or silent or seen.source != source):
        return seen
    ended = max(now, seen.alert.since)
    return replace(seen, alert=replace(seen.alert, firing=False, ended=ended))


def _kind(seen: Known, quieting: Sequence[Alert], now: float, repeat_after_s: float) -> Kind | None:
    if not seen.alert.firing:
        return None if seen.told_at is None else Kind.RESOLVED
    if seen.told_at is not None and now - seen.told_at < repeat_after_s:
        return None
    if seen.alert.severity is Severity.NONE or inhibited(seen.alert, quieting):
        return None
    return Kind.FIRING if seen.told_at is None else Kind.REPEAT


def _by_age(item: tuple[str, Known]) -> tuple[float, str]:
    key, seen = item
    return (seen.alert.since if seen.alert.ended is None else seen.alert.ended, key)


def _known(row: AlertRow) -> Known:
    return Known(
        alert=stored.from_json(row.alert),
        source=row.source,
        heard_at=row.heard_at,
        told_at=row.told_at,
    )


def _row(seen: Known) -> AlertRow:
    alert = seen.alert
    return AlertRow(
        fingerprint=alerts.fingerprint(alert.key),
        rule=alert.rule,
        source=seen.source,
        severity=str(alert.severity),
        alert=stored.to_json(alert),
        since=alert.since,
        ended_at=None if alert.firing else (alert.ended or seen.heard_at),
        heard_at=seen.heard_at,
        told_at=seen.told_at,
    )
