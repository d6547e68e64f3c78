"""Asks Redis about itself now and then, on a thread of its own, so that no scrape waits for it."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import redis

logger = logging.getLogger(__name__)

EVERY_S = 10.0
LOOKS = 3
"""After the time of so many looks without an answer the last one does not count any more."""


@dataclass(frozen=True, slots=True, kw_only=True)
class BrokerFacts:
    """Whether a server answers, and what it says of itself.

    None is what is not known; a limit of 0 is none.
    """

    up: int | None = None
    memory_used_bytes: int | None = None
    memory_max_bytes: int | None = None
    aof_enabled: int | None = None
    connected_clients: int | None = None


class BrokerWatch:
    """Looks every `every_s` seconds from `start` to `stop`; `connect` makes a client."""

    def __init__(self, connect: Callable[[], redis.Redis], *, every_s: float = EVERY_S) -> None:
        self._connect = connect
        self._every_s = every_s
        self._ending = threading.Event()
        self._thread = threading.Thread(target=self._run, name="broker-watch", daemon=True)
        self._last = (BrokerFacts(), float("inf"))

    @property
    def facts(self) -> BrokerFacts:
        """What it said last, unless a look takes so long that it says nothing of now."""
        facts, at = self._last
        return facts if time.monotonic() - at < LOOKS * self._every_s else BrokerFacts(up=0)

    def start(self) -> None:
        """Look once a while from now on; the first look is under way when this returns."""
        self._thread.start()

    def stop(self) -> None:
        """Look no more; a look under way is not waited for."""
        self._ending.set()

    def look(self) -> None:
        """Ask once, and keep the answer."""
        try:
            with self._connect() as client:
                facts = facts_of(client)
        except (redis.RedisError, OSError) as error:
            if self._last[0].up != 0:
                logger.warning("Redis does not answer: %s", error)
            facts = BrokerFacts(up=0)
        self._last = (facts, time.monotonic())

    def _run(self) -> None:
        while True:
            try:
                self.look()
            except Exception:
                logger.exception("Redis could not be looked at")
            if self._ending.wait(self._every_s):
                return


def facts_of(client: redis.Redis) -> BrokerFacts:
    """Ask a server about itself.

    Raises:
        redis.RedisError: it does not answer, or not to this user.
    """
    told: dict[str, Any] = {}
    for section in ("memory", "persistence", "clients"):
        told.update(client.info(section))
    return BrokerFacts(
        up=1,
        memory_used_bytes=told.get("used_memory"),
        memory_max_bytes=told.get("maxmemory"),
        aof_enabled=told.get("aof_enabled"),
        connected_clients=told.get("connected_clients"),
    )
