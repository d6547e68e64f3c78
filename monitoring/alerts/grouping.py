"""Which of what waits goes out next, and as one message with what: the storm's side of telling.

What is of one rule and kind goes out together. When that would be more than five messages within
a minute, everything that waits goes out as one digest, and the next not before a quarter of one.
"""

from __future__ import annotations

import uuid
from collections.abc import Sequence

from ledger.alert_outbox import MessageRow
from monitoring.alerts import stored
from monitoring.alerts.message import Item, Kind, Message

PER_MINUTE = 5
MINUTE_S = 60.0
DIGEST_EVERY_S = 15.0


def next_message(
    waiting: Sequence[MessageRow], delivered: Sequence[float], now: float
) -> Message | None:
    """Return what a channel is to be told next, or None if it is to be left alone for now.

    Args:
        waiting: all that waits, the oldest first.
        delivered: when messages went out within the last minute, in order.
        now: the time, on the same clock.
    """
    if not waiting:
        return None
    # What seems still to come was before a clock was set back.
    recent = [at for at in delivered if 0 <= now - at < MINUTE_S]
    groups = _groups(waiting)
    if len(recent) + len(groups) <= PER_MINUTE:
        return _message(groups[0])
    if len(recent) >= PER_MINUTE and now - recent[-1] < DIGEST_EVERY_S:
        return None
    return _message(waiting)


def _groups(waiting: Sequence[MessageRow]) -> Sequence[Sequence[MessageRow]]:
    """What goes out together, in the order of the oldest of each."""
    found: dict[tuple[str, str], list[MessageRow]] = {}
    for row in waiting:
        found.setdefault((row.kind, str(row.alert.get("rule"))), []).append(row)
    return list(found.values())


def _message(rows: Sequence[MessageRow]) -> Message:
    items = [
        Item(id=row.id, kind=Kind(row.kind), alert=stored.from_json(row.alert)) for row in rows
    ]
    return Message(id=str(uuid.uuid4()), items=items)
