"""kombu's Redis transport, as honeyflow's processes use it.

One client per channel instead of one per command: kombu makes a Redis client for every message it
takes and every ack it sends, and takes longer over that than over the command.

What a worker pops goes through its gate first: what is no message never reaches Celery, which would
end over it. A Redis that is full refuses to note what is unacked; the message is worked on all the
same, since the ledger knows the job. What was in hand when the broker went away is put back when it
answers again, since nobody else would for a day. With message keys configured, what is put into a
queue is signed.
"""

from __future__ import annotations

import functools
import logging
from collections.abc import Collection
from typing import Any, Protocol

from kombu.transport import TRANSPORT_ALIASES, redis
from kombu.transport.virtual import QoS as PlainQoS
from redis.exceptions import ConnectionError as LostConnection
from redis.exceptions import ResponseError
from redis.exceptions import TimeoutError as NoAnswer

from tasks import settings, signing

logger = logging.getLogger(__name__)


class Gate(Protocol):
    """What decides which elements of a queue's list are messages."""

    def admits(self, queue: str, raw: bytes) -> bool:
        """Whether this is a message; one that is not is kept by the gate."""
        ...


_gates: list[Gate] = []
_drained: set[str] = set()
_owed: list[str] = []
"""Tags of messages that this process could not put back; only their names, Redis has the rest."""


def set_drained(queues: Collection[str]) -> None:
    """Pop nothing more from these queues; what Redis has popped for us already still comes."""
    _drained.clear()
    _drained.update(queues)


def set_gate(gate: Gate) -> None:
    """Let this gate see what this process pops from now on."""
    _gates[:] = [gate]


class QoS(redis.QoS):
    """kombu's bookkeeping of what is unacked, which a Redis that is full may refuse."""

    def append(self, message: Any, delivery_tag: str) -> None:
        """Note a message as unacked, here even if Redis cannot."""
        try:
            super().append(message, delivery_tag)
        except ResponseError as error:
            logger.warning("Redis does not note what is unacked: %s", error)
            PlainQoS.append(self, message, delivery_tag)
        except (LostConnection, NoAnswer):
            # It may be noted there all the same, and nobody here has it in hand.
            _owed.append(delivery_tag)
            raise

    def restore_unacked_once(self, stderr: Any = None) -> None:
        """Put back what was taken and not acked; what a broker that is away keeps is owed."""
        held: dict[str, Any] = self._delivered or {}
        tags = [str(tag) for tag in held]
        try:
            super().restore_unacked_once(stderr)
        except Exception as error:
            # Not only connection errors: a channel that is closed late has lost its connection's
            # address by then. Nothing of it may end a worker that is about to connect again.
            logger.warning("%d message(s) are put back later: %s", len(tags), error)
            _owed.extend(tags)
            held.clear()

    def restore_visible(self, *args: Any, **kwargs: Any) -> None:
        """Put back what is owed, then what others left too long; called once a second."""
        try:
            while _owed:
                self.restore_by_tag(_owed[-1])
                _owed.pop()
            super().restore_visible(*args, **kwargs)
        except ResponseError as error:
            logger.warning("Redis does not take back what is unacked: %s", error)
        except (LostConnection, NoAnswer):
            # The channel's other connections lead to the same place: each would wait as long.
            self.channel.pool.disconnect()  # type: ignore[attr-defined]
            raise


class Channel(redis.Channel):
    """A channel that keeps its client for as long as its pool lives."""

    QoS = QoS
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
        if _drained.isdisjoint(self.active_queues):
            super()._brpop_start(*args, **kwargs)  # type: ignore[misc]

    def _admitted(self, parse: Any, connection: Any, command: str, **options: Any) -> Any:
        """What was popped; nothing where the gate kept it, as if the wait had been in vain."""
        answer = parse(connection, command, **options)
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
