"""kombu's Redis transport, as honeyflow's processes use it.

One client per channel instead of one per command: kombu makes a Redis client for every message it
takes and every ack it sends, and takes longer over that than over the command.

What a worker pops goes through its gate first: what is no message never reaches Celery, which would
end over it. A Redis that is full refuses to note what is unacked; the message is worked on all the
same, since the ledger knows the job. With message keys configured, what is put into a queue is
signed.
"""

from __future__ import annotations

import functools
import logging
from typing import Any, Protocol

from kombu.transport import TRANSPORT_ALIASES, redis
from kombu.transport.virtual import QoS as PlainQoS
from redis.exceptions import ResponseError

from tasks import settings, signing

logger = logging.getLogger(__name__)


class Gate(Protocol):
    """What decides which elements of a queue's list are messages."""

    def admits(self, queue: str, raw: bytes) -> bool:
        """Whether this is a message; one that is not is kept by the gate."""
        ...


_gates: list[Gate] = []


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

    def _admitted(self, parse: Any, connection: Any, command: str, **options: Any) -> Any:
        """What was popped; nothing where the gate kept it, as if the wait had been in vain."""
        answer = parse(connection, command, **options)
        if command != "BRPOP" or not answer or not _gates:
            return answer
        key, raw = answer
        queue = _text(key).rsplit(self.sep, 1)[0]
        return answer if _gates[-1].admits(queue, _bytes(raw)) else None

    def _put(self, queue: str, message: Any, **kwargs: Any) -> None:
        keys = _keys()
        if keys is not None and (message.get("headers") or {}).get("task"):
            keys.sign(queue, message)
        super()._put(queue, message, **kwargs)


class Transport(redis.Transport):
    """The transport of `redis://` addresses in every process that imports `tasks`."""

    Channel = Channel


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
