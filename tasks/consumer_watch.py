"""Notices a consumer that takes nothing although it has room and work waits in its queues.

That happens when a connection is half dead, or when Celery or kombu have lost their place after a
reconnect. Whatever the reason is, connecting again helps.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Sequence

import redis

from routing import list_keys
from tasks import backlog, ledger_id
from tasks.settings import Settings

logger = logging.getLogger(__name__)

LOOKS = 6
"""How often it looks in the time that a consumer may stand still."""


class ConsumerWatch:
    """Calls `reconnect` when nothing was taken for `stuck_consumer_s` while something waited."""

    def __init__(
        self,
        *,
        settings: Settings,
        queues: Sequence[str],
        has_room: Callable[[], bool],
        reconnect: Callable[[str], None],
    ) -> None:
        self._broker = ledger_id.connect(settings)
        self._keys = [key for queue in queues for key in list_keys(queue)]
        self._has_room = has_room
        self._reconnect = reconnect
        self._patience_s = settings.timing.stuck_consumer_s
        self._idle_since = time.monotonic()
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="consumer-watch", daemon=True)

    def start(self) -> None:
        """Start watching."""
        self._thread.start()

    def stop(self) -> None:
        """Stop watching."""
        self._stopping.set()
        self._thread.join(timeout=1)

    def took(self) -> None:
        """Say that a message has just been taken."""
        self._idle_since = time.monotonic()

    def _run(self) -> None:
        while not self._stopping.wait(self._patience_s / LOOKS):
            try:
                self._look()
            except Exception:
                logger.exception("watching the consumer went wrong")

    def _look(self) -> None:
        waiting = self._waiting() if self._has_room() else 0
        if not waiting:
            # Nothing to take, no room for it, or a broker that is away: the consumer is excused.
            self.took()
            return
        idle_s = time.monotonic() - self._idle_since
        if idle_s >= self._patience_s:
            self.took()
            self._reconnect(f"nothing was taken for {idle_s:.0f} s while {waiting} message(s) wait")

    def _waiting(self) -> int:
        try:
            return backlog.length(self._broker, self._keys)
        except (redis.RedisError, OSError):
            return 0
