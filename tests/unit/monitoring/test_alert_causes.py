"""A cause is told before what follows from it, and ends after it, so that it is told alone."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest

from monitoring.alerts.builtin import evaluate
from monitoring.alerts.history import Snapshot
from monitoring.alerts.inhibitions import WITHOUT_REDIS
from monitoring.alerts.rules import (
    BY_NAME,
    EVALUATION_S,
    GROUP_INTERVAL_S,
    GROUP_WAIT_S,
)

SCRAPE_S, LOOK_S, NOTED_S = 15, 5, 10
"""How often is scraped and Redis looked at, and the reconciler's run noted."""
SEEN_S = SCRAPE_S + LOOK_S
"""How long it may take until anybody sees that Redis is gone, or is back."""

GONE, BACK, AGAIN = 300, 1500, 1530
"""When Redis goes and comes back, and when everybody has found that out."""


def course() -> Iterator[Snapshot]:
    """Redis goes just before a run would have been noted, and that is seen as late as can be."""
    for at in range(0, 1800, EVALUATION_S):
        away = GONE + SEEN_S < at < BACK + SEEN_S
        ran = GONE - NOTED_S if GONE <= at < AGAIN else at
        yield Snapshot(
            at=at,
            values={
                ("swarmos_broker_up", ()): 0.0 if away else 1.0,
                ("swarmos_reconciler_last_run_timestamp_seconds", ()): ran,
                ("swarmos_beat_last_run_timestamp_seconds", ()): ran,
                ("swarmos_canary_last_success_timestamp_seconds", ("spine",)): ran,
            },
        )


def spans() -> dict[str, tuple[float, float]]:
    """When each of the alerts begins and ends."""
    found: dict[str, list[float]] = {}
    state: Any = None
    asked = [BY_NAME[name] for name in ("RedisDown", *WITHOUT_REDIS)]
    # Judged here as Prometheus would: what is asked is the same.
    rules = [replace(rule, unseen="") for rule in asked]
    for seen in course():
        told, state = evaluate(rules, seen, state, seen.at)
        for alert in told:
            found.setdefault(alert.rule, []).append(seen.at)
    return {rule: (moments[0], moments[-1]) for rule, moments in found.items()}


@pytest.mark.parametrize("name", WITHOUT_REDIS)
def test_redis_is_told_before_what_waits_for_it_and_ends_after_it(name: str) -> None:
    """Also if Alertmanager takes as long as it may."""
    told = spans()
    (begins, ends), (cause_begins, cause_ends) = told[name], told["RedisDown"]
    assert cause_begins + GROUP_WAIT_S <= begins
    assert ends + GROUP_INTERVAL_S <= cause_ends
