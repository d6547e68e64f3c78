"""Celery's worker with our parts: the consumer, and the signals that tie a worker to its pool."""

from __future__ import annotations

import logging
from typing import Any

from celery.signals import celeryd_init, task_revoked
from celery.worker.consumer import Consumer as CeleryConsumer
from celery.worker.control import Panel, inspect_command

from tasks import ledger_id
from tasks.pool import EnginePool, set_worker_name

logger = logging.getLogger(__name__)

_pools: list[EnginePool] = []

REMOTE_COMMANDS = frozenset(
    {
        *("ping", "hello", "heartbeat", "enable_events", "disable_events"),
        *("active", "active_queues", "reserved", "scheduled", "registered", "revoked"),
        *("query_task", "stats", "report", "conf", "clock"),
        *("revoke", "revoke_by_stamped_headers"),
    }
)
"""What a worker does for whoever can reach the broker; the rest of Celery's commands is refused."""


class Consumer(CeleryConsumer):
    """Celery's consumer; knows its pool, so that control commands reach it."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        if isinstance(self.pool, EnginePool):
            _pools.append(self.pool)


def this_pool() -> EnginePool | None:
    """The pool of this process, if it is one of ours."""
    return _pools[-1] if _pools else None


@inspect_command()
def stats(state: Any, **_: Any) -> dict[str, Any]:
    """Celery's `inspect stats`, without the password that a socket's address may hold."""
    told: dict[str, Any] = state.consumer.controller.stats()
    broker = told.get("broker") or {}
    if "://" in str(broker.get("hostname")):
        broker["hostname"] = ledger_id.shown(broker["hostname"])
    return told


@celeryd_init.connect
def _remember_name(sender: Any = None, **_: Any) -> None:
    set_worker_name(str(sender))


@celeryd_init.connect
def _refuse_other_commands(**_: Any) -> None:
    for name, command in tuple(Panel.data.items()):
        if command.__module__ == "celery.worker.control" and name not in REMOTE_COMMANDS:
            del Panel.data[name]


@task_revoked.connect
def _revoked_elsewhere(request: Any = None, **_: Any) -> None:
    """A revoke that a client without our ledger broadcast reaches the ledger here."""
    from tasks import wiring
    from tasks.errors import HoneyflowError

    if request is None or getattr(request, "task", "") != "tasks.infer":
        return
    try:
        wiring.client().cancel(request.id, reason="revoked")
    except HoneyflowError as error:
        logger.warning("the revoke of %s did not reach the ledger: %s", request.id, error)
