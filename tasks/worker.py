"""Celery's worker with our parts: the consumer, and the signals that tie a worker to its pool.

SIGTERM and SIGINT drain it, SIGQUIT or a second SIGINT ends it at once; in any order and number the
jobs that it held go back uncounted. After SIGTERM alone it exits with 0, after the others with 0 or
1, as Celery does; with 1 also if it could not start or has lost its engine.
"""

from __future__ import annotations

import atexit
import functools
import logging
import signal
from collections.abc import Callable
from typing import Any

from celery.signals import celeryd_init, task_revoked
from celery.worker.consumer import Consumer as CeleryConsumer
from celery.worker.control import Panel, inspect_command

from tasks import ledger_id
from tasks.messages import INFER
from tasks.naming import set_worker_name
from tasks.pool import EnginePool

logger = logging.getLogger(__name__)

_pools: list[EnginePool] = []

RECONNECT_S = 4.0

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

    connection_errors: tuple[type[BaseException], ...]

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        # Mingling asks the other workers what was revoked, for a second at every connection. Of our
        # jobs the ledger knows that, and over a connection that breaks meanwhile it turns in vain.
        super().__init__(*args, **{**kwargs, "without_mingle": True})
        if isinstance(self.pool, EnginePool):
            _pools.append(self.pool)

    def ensure_connected(self, conn: Any) -> Any:
        """Connect as Celery does, but never wait for long between two attempts."""
        # Celery waits two seconds longer each time, up to thirty.
        conn.ensure_connection = functools.partial(conn.ensure_connection, interval_max=RECONNECT_S)
        return super().ensure_connected(conn)

    def create_task_handler(self, *args: Any, **kwargs: Any) -> Callable[[Any], Any]:
        """Celery's handler of messages, which ends the worker over some of them; this one never."""
        handle = super().create_task_handler(*args, **kwargs)

        def on_task_received(message: Any) -> Any:
            try:
                return handle(message)
            except Exception as error:
                # A KeyError is a message's fault here, though kombu counts it among the
                # connection's.
                if isinstance(error, self.connection_errors) and not isinstance(error, KeyError):
                    raise
                logger.exception("a message cannot be handled")
                self._quarantine(message, "MESSAGE_INVALID", f"{type(error).__name__}: {error}")
                if not message.acknowledged:
                    message.reject_log_error(logger, self.connection_errors)

        return on_task_received

    def on_decode_error(self, message: Any, exc: Exception) -> None:
        """Keep what cannot be decoded."""
        self._quarantine(message, "CONTENT_REFUSED", str(exc))
        super().on_decode_error(message, exc)

    def on_unknown_message(self, body: Any, message: Any) -> None:
        """Keep what is no task's message."""
        self._quarantine(message, "MESSAGE_INVALID", "it is no task's message")
        super().on_unknown_message(body, message)

    def on_unknown_task(self, body: Any, message: Any, exc: Exception) -> None:
        """Keep a message of a task that is not registered here; its sender is told."""
        self._quarantine(message, "TASK_UNKNOWN", f"no task {message.headers.get('task')!r}")
        super().on_unknown_task(body, message, exc)

    def on_invalid_task(self, body: Any, message: Any, exc: Exception) -> None:
        """Keep a message that Celery refuses."""
        self._quarantine(message, "MESSAGE_INVALID", str(exc))
        super().on_invalid_task(body, message, exc)

    def _quarantine(self, message: Any, reason: str, detail: str) -> None:
        if isinstance(self.pool, EnginePool):
            self.pool.gate.keep_message(message, reason, detail)


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
def _end_undisturbed(**_: Any) -> None:
    """Let no signal reach the interpreter's own end, where it would spoil the exit code."""

    def ignore() -> None:
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGQUIT):
            signal.signal(number, signal.SIG_IGN)

    atexit.register(ignore)


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

    if request is None or getattr(request, "task", "") != INFER:
        return
    try:
        wiring.client().cancel(request.id, reason="revoked")
    except HoneyflowError as error:
        logger.warning("the revoke of %s did not reach the ledger: %s", request.id, error)
