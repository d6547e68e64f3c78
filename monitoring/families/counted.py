"""What was counted of the ledger's moves and events."""

from __future__ import annotations

from collections.abc import Mapping

from monitoring.families.family import Family, Labels
from monitoring.metrics import METRICS, Source, metric
from monitoring.tally import Series, Total

LAST_CANARY = metric("canary_last_success_timestamp_seconds").name
_COUNTED = tuple(each for each in METRICS if each.source in (Source.MOVES, Source.EVENTS))


def families(totals: Mapping[Series, Total], *, canaries: bool) -> list[Family]:
    """The families whose source is the ledger's moves or its events.

    Where no canaries are sent, to a model or at all (`canaries`), it is not told when the last was
    answered: it would seem overdue for ever.
    """
    values: dict[str, dict[Labels, float]] = {each.name: {} for each in _COUNTED}
    counts: dict[str, dict[Labels, tuple[int, ...]]] = {each.name: {} for each in _COUNTED}
    for (name, labels), total in totals.items():
        sent = name != LAST_CANARY or (canaries and total.value > 0)
        if name in values and sent:
            values[name][labels] = total.value
            counts[name][labels] = total.counts
    return [
        Family(metric=each, values=values[each.name], counts=counts[each.name]) for each in _COUNTED
    ]
