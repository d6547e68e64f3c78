"""kombu's Redis transport with one client per channel instead of one per command.

kombu makes a Redis client for every message it takes and every ack it sends, and takes longer over
that than over the command. A client on a pool has no state of its own, so one serves as well.
"""

from __future__ import annotations

from typing import Any

from kombu.transport import TRANSPORT_ALIASES, redis


class Channel(redis.Channel):
    """A channel that keeps its client for as long as its pool lives."""

    _shared: Any = None

    def _create_client(self, asynchronous: bool = False) -> Any:  # noqa: FBT001, FBT002
        if asynchronous:
            return super()._create_client(asynchronous)  # type: ignore[misc]  # not in the stubs
        if self._shared is None or self._shared.connection_pool is not self.pool:
            self._shared = super()._create_client()  # type: ignore[misc]
        return self._shared


class Transport(redis.Transport):
    """The transport of `redis://` addresses in every process that imports `tasks`."""

    Channel = Channel


def register() -> None:
    """Let kombu use it wherever it used its own."""
    for scheme in ("redis", "rediss"):
        TRANSPORT_ALIASES[scheme] = f"{__name__}:{Transport.__qualname__}"
