"""kombu's Redis transport, as honeyflow's processes use it.

One client per channel instead of one per command: kombu makes a Redis client for every message it
takes and every ack it sends, and takes longer over that than over the command.

What a worker pops goes through its gate first: what is no message never reaches Celery, which would
end over it. With message keys configured, what is put into a queue is signed. What is in hand is
noted as `tasks.unacked` says.
"""

from __future__ import annotations

import functools
import logging
import time
from collections import deque
from collections.abc import Collection
from typing import Any, Protocol

from kombu.transport import TRANSPORT_ALIASES, redis

from tasks import settings, signing, unacked

logger = logging.getLogger(__name__)


class Gate(Protocol):
    """What decides which elements of a queue's list are messages."""

    def admits(self, queue: str, raw: bytes) -> bool:
        """Whether this is a message; one that is not is kept by the gate."""
        ...


_gates: list[Gate] = []
_drained: set[str] = set()
_paused: frozenset[str] = frozenset()

AT_ONCE_S = 0.005
_pops: deque[float] = deque(maxlen=4)
"""How long the last messages were waited for, in seconds."""


def has_backlog() -> bool:
    """Whether messages were waiting when the last ones were popped."""
    return any(waited < AT_ONCE_S for waited in tuple(_pops))


def set_drained(queues: Collection[str]) -> None:
    """Pop nothing more from these queues; what Redis has popped for us already still comes."""
    _drained.clear()
    _drained.update(queues)


def pause(queues: Collection[str]) -> None:
    """Leave these queues alone for a while, and go on with the others. From any thread."""
    global _paused  # noqa: PLW0603 - one consumer per process
    _paused = frozenset(queues)
    if queues:
        logger.warning("no more is taken from %s for now: too much of it is in hand", list(queues))


def set_gate(gate: Gate) -> None:
    """Let this gate see what this process pops from now on."""
    _gates[:] = [gate]


class Channel(redis.Channel):
    """A channel that keeps its client for as long as its pool lives."""

    QoS = unacked.QoS
    _shared: Any = None

    def _create_client(self, asynchronous: bool = False) -> Any:  # noqa: FBT001, FBT002
        if asynchronous:
            client = super()._create_client(asynchronous)  # type: ignore[misc]  # not in the stubs
            client.parse_response = functools.partial(self._admitted, client.parse_response)
            return client
        if self._shared is None or self._shared.connection_pool is not self.pool:
            self._shared = super()._create_client()  # type: ignore[misc]
        return self._shared

    def _brpop_start(self, *args: Any, **kwargs: Any) -> None:
        if not _drained.isdisjoint(self.active_queues):
            return
        cycle: Any = self._queue_cycle  # type: ignore[attr-defined]
        queues = cycle.items
        cycle.items = [queue for queue in queues if queue not in _paused]
        try:
            super()._brpop_start(*args, **kwargs)  # type: ignore[misc]
        finally:
            cycle.items = queues

    def _admitted(self, parse: Any, connection: Any, command: str, **options: Any) -> Any:
        """What was popped; nothing where the gate kept it, as if the wait had been in vain."""
        answer = parse(connection, command, **options)
        if command == "BRPOP":
            _pops.append(time.monotonic() - self._brpop_sent_at)  # type: ignore[attr-defined]
        if command != "BRPOP" or not answer or not _gates:
            return answer
        key, raw = answer
        queue = _text(key).rsplit(self.sep, 1)[0]
        return answer if _gates[-1].admits(queue, _bytes(raw)) else None

    def _receive_one(self, client: Any) -> Any:
        """What came over a channel of Redis; nothing where it is nested too deeply to be read."""
        try:
            return super()._receive_one(client)  # type: ignore[misc]
        except RecursionError:
            logger.warning("a broadcast that is nested too deeply is dropped")
            return None

    def _put(self, queue: str, message: Any, **kwargs: Any) -> None:
        keys = _keys()
        if keys is not None and (message.get("headers") or {}).get("task"):
            keys.sign(queue, message)
        super()._put(queue, message, **kwargs)


class Transport(redis.Transport):
    """The transport of `redis://` addresses in every process that imports `tasks`."""

    Channel = Channel

    def _deliver(self, message: Any, queue: str | None) -> None:
        """Hand a message to its consumer; in a worker none is the end of it.

        Celery's consumers of commands and events trust whatever they are sent.
        """
        try:
            super()._deliver(message, queue)
        except Exception as error:
            lost = isinstance(error, (*self.connection_errors, *self.channel_errors))
            # A KeyError is a message's fault, though kombu counts it among the connection's.
            if not _gates or (lost and not isinstance(error, KeyError)):
                raise
            logger.exception("what came to %s cannot be handled and is dropped", queue)


def register() -> None:
    """Let kombu use it wherever it used its own."""
    for scheme in ("redis", "rediss"):
        TRANSPORT_ALIASES[scheme] = f"{__name__}:{Transport.__qualname__}"


@functools.cache
def _keys() -> signing.Keys | None:
    return signing.load(settings.load().message_keys)


def _text(value: bytes | str) -> str:
    return value.decode(errors="replace") if isinstance(value, bytes) else value


def _bytes(value: bytes | str) -> bytes:
    return value if isinstance(value, bytes) else value.encode()
