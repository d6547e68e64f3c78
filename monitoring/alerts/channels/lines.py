"""A message as lines of text, which Discord and Telegram share."""

from __future__ import annotations

import itertools
from collections.abc import Callable

from monitoring.alerts.channels.text import cut, fitted, is_link, plain, units
from monitoring.alerts.message import Item, Kind, Message

MAX_SUMMARY = 600
MAX_DESCRIPTION = 1600
MAX_LINE = 240
MAX_LINK = 640
_ROOM_FOR_MORE = 40

Escape = Callable[[str], str]
Link = Callable[[str, str], str]
"""How a channel writes a name that leads to an address."""


def written(message: Message, limit: int, escape: Escape, link: Link) -> str:
    """Return the text below a message's title, in at most `limit` units.

    What does not fit is counted; nothing is left out without a word.
    """
    if len(message.items) == 1:
        return _whole(message.items[0], limit, escape, link)
    head = [cut(message.rules, MAX_SUMMARY, escape)] if message.rules else []
    # Those that do not fit are not even written: there may be thousands.
    listed = (_line(item, escape) for item in message.by_urgency)
    text, kept = fitted(itertools.chain(head, listed), limit - _ROOM_FOR_MORE)
    left_out = len(head) + len(message.items) - kept
    return f"{text}\n{escape(f'and {left_out} more')}" if left_out else text


def _whole(item: Item, limit: int, escape: Escape, link: Link) -> str:
    """Everything there is to say of one alert, the most important first.

    Its links are told after its labels, and before those of them that do not fit.
    """
    alert = item.alert
    head = [cut(plain(alert.summary), MAX_SUMMARY, escape)]
    if alert.description:
        head.append(cut(plain(alert.description), MAX_DESCRIPTION, escape))
    if item.kind is not Kind.TEST:
        head.append(escape(f"{alert.severity}, {item.note}"))
    links = []
    for name, where in (("runbook", alert.runbook), ("dashboard", alert.dashboard)):
        # A link that is cut leads elsewhere.
        if is_link(where) and units(shown := link(name, where)) <= MAX_LINK:
            links.append(shown)
        elif where:
            links.append(cut(plain(f"{name}: {where}"), MAX_LINE, escape))
    labels = [
        cut(plain(f"{name}: {value}"), MAX_LINE, escape)
        for name, value in sorted(alert.labels.items())
    ]
    taken = units("\n".join([*head, *links])) + 1
    text, kept = fitted(labels, limit - taken - _ROOM_FOR_MORE)
    if kept < len(labels):
        links.append(escape(f"and {len(labels) - kept} more labels"))
    return "\n".join([*head, *([text] if text else []), *links])


def _line(item: Item, escape: Escape) -> str:
    alert = item.alert
    text = plain(alert.summary or alert.key)
    note = f" ({item.note})" if item.kind is Kind.RESOLVED else ""
    word = "resolved: " if item.kind is Kind.RESOLVED else ""
    return escape("• " + word) + cut(text, MAX_LINE, escape) + escape(note)
