"""Reads the ledger's events as they come, and has people told of those that are news."""

from __future__ import annotations

from collections.abc import Sequence

from ledger import Ledger, Transaction, alert_fates, alerts, bookmarks, events
from monitoring.alerts.channels.channel import Channel
from monitoring.alerts.happenings import TELLINGS, news_of
from monitoring.alerts.notifier import News, tell

BOOKMARK = "alerts.events"
BATCH = 500
BATCHES = 20
NEWS_S = 86_400.0
"""What happened longer ago is no news, even if nobody was there to tell it."""

FIRST_NEWS_S = 900.0
"""The same for a ledger whose events were never read before: it may hold years of them."""


def report(ledger: Ledger, channels: Sequence[Channel]) -> int:
    """Take note of the events since the last call; gives how many there were.

    The place that was read up to moves in the transaction that writes what is to be told.

    Raises:
        LedgerError: the ledger does not answer; nothing was missed.
    """
    seen = 0
    with ledger.read() as tx:
        news_s = FIRST_NEWS_S if bookmarks.get(tx, BOOKMARK) is None else NEWS_S
    for _ in range(BATCHES):
        with ledger.write() as tx:
            many = _report(tx, channels, news_s)
        seen += many
        if many < BATCH:
            break
    return seen


def _report(tx: Transaction, channels: Sequence[Channel], news_s: float) -> int:
    mark = bookmarks.get(tx, BOOKMARK)
    position = 0 if mark is None else mark.position
    found = events.after(tx, position, BATCH)
    if not found or not bookmarks.move(tx, BOOKMARK, expected=position, to=found[-1].id):
        return 0
    for event in found:
        news = news_of(event) if event.at > tx.now - news_s else None
        if news is not None and not _said(tx, event.kind, news):
            tell(tx, [news], channels)
    return len(found)


def _said(tx: Transaction, kind: str, news: News) -> bool:
    again_after_s = TELLINGS[kind].again_after_s
    fingerprint = alerts.fingerprint(news.alert.key)
    return again_after_s > 0 and alert_fates.is_told(tx, fingerprint, after=tx.now - again_after_s)
