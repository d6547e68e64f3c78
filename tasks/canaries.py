"""Canaries: small jobs that go through every part of the cluster, to see whether it works.

Beat has one sent for each model that workers serve, as often as `[canary] every_s` says; without it
there are none. They are counted apart from people's jobs, leave no receipt and ask nobody to look.

That the first is sent for a model is an event, and so is that no more are, because nobody serves
it: an answer can be overdue from the first on, and none is once its workers were told to leave.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from typing import Any

from ledger import Transaction, WorkerRow, alerts, events, workers
from ledger.workers import STOPPED
from monitoring.counting import CANARIES_BEGUN, CANARIES_ENDED
from monitoring.metrics import CANARY
from tasks import wiring
from tasks.celery import app
from tasks.errors import HoneyflowError
from tasks.facts import WorkerState

logger = logging.getLogger(__name__)

REQUEST = {"prompt": "Answer with one word: yes.", "policy": "fixed:1", "max_tokens": 4}
STATE = "canaries"
"""The name under which is kept which models have them, and since the last were sent."""

MISSED = 3
"""After how many that were not even sent it begins anew."""

_LEAVING = frozenset({STOPPED, str(WorkerState.DRAINING), str(WorkerState.STOPPING)})


@app.task(name="tasks.send_canaries", ignore_result=True)
def send_canaries() -> int:
    """Send a canary to each model that has a worker, dead or alive; returns how many.

    A worker that was told to leave is none. One canary that was not answered when the next is sent
    has come too late and expires.
    """
    client = wiring.client()
    every_s = client.settings.canary.every_s
    if every_s <= 0:
        return 0
    with client.ledger.write() as tx:
        models = served(workers.list(tx))
        note(tx, models, every_s=every_s)
    sent = 0
    for model in models:
        try:
            client.submit_many([{**REQUEST, "model": model}], expires_s=every_s, origin=CANARY)
        except HoneyflowError as error:
            logger.warning("no canary for %s: %s", model, error)
        else:
            sent += 1
    return sent


def note(tx: Transaction, models: Sequence[str], *, every_s: float) -> None:
    """Write down for which models canaries are sent from now on, and for which no more."""
    before = _before(alerts.state(tx, STATE))
    sent_at = alerts.noted_at(tx, STATE)
    paused = sent_at is None or tx.now - sent_at > MISSED * every_s
    known = frozenset() if paused else before
    for kind, changed in (
        (CANARIES_BEGUN, {*models} - known),
        (CANARIES_ENDED, before - {*models}),
    ):
        for model in sorted(changed):
            events.add(tx, kind=kind, subject=model, details={"model": model})
    alerts.note_state(tx, STATE, {"models": [*models]})


def served(rows: Sequence[WorkerRow]) -> list[str]:
    """The models that have a worker which was not told to leave, dead or alive."""
    told = {row.facts.get("model") for row in rows if row.state not in _LEAVING}
    return sorted(model for model in told if isinstance(model, str))


def _before(state: Mapping[str, Any] | None) -> frozenset[str]:
    return frozenset(map(str, (state or {}).get("models", ())))
