"""Canaries: small jobs that go through every part of the cluster, to see whether it works.

Beat has one sent for each model that workers serve, as often as `[canary] every_s` says; without it
there are none. They are counted apart from people's jobs, leave no receipt and ask nobody to look.
"""

from __future__ import annotations

import logging

from ledger import workers
from ledger.workers import STOPPED
from monitoring.metrics import CANARY
from tasks import wiring
from tasks.celery import app
from tasks.errors import HoneyflowError

logger = logging.getLogger(__name__)

REQUEST = {"prompt": "Answer with one word: yes.", "policy": "fixed:1", "max_tokens": 4}


@app.task(name="tasks.send_canaries", ignore_result=True)
def send_canaries() -> int:
    """Send a canary to each model that has a worker, dead or alive; returns how many.

    One that was not answered when the next is sent has come too late and expires.
    """
    client = wiring.client()
    every_s = client.settings.canary.every_s
    if every_s <= 0:
        return 0
    with client.ledger.read() as tx:
        known = [row.facts.get("model") for row in workers.list(tx) if row.state != STOPPED]
    sent = 0
    for model in sorted({model for model in known if isinstance(model, str)}):
        try:
            client.submit_many([{**REQUEST, "model": model}], expires_s=every_s, origin=CANARY)
        except HoneyflowError as error:
            logger.warning("no canary for %s: %s", model, error)
        else:
            sent += 1
    return sent
