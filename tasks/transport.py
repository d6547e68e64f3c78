"""kombu's Redis transport, as honeyflow's processes use it.

One client per channel instead of one per command: kombu makes a Redis client for every message it
takes and every ack it sends, and takes longer over that than over the command.

What a worker pops goes through its gate first: what is no message never reaches Celery, which would
end over it. Redis is told of a message in hand only if it stays there: the ledger knows the job, so
that most messages are claimed before anybody needs to know who has them. A Redis that is full
refuses to note them; they are worked on all the same. What was in hand when the broker went away is
put back when it answers again, since nobody else would for a day. With message keys configured,
what is put into a queue is signed.
"""

from __future__ import annotations

import functools
import logging
import time
from collections import deque
from collections.abc import Collection, Mapping, Sequence
from typing import Any, Protocol

from kombu.asynchronous import get_event_loop
from kombu.transport import TRANSPORT_ALIASES, redis
from kombu.transport.virtual import QoS as PlainQoS
from kombu.utils.json import dumps
from redis.exceptions import ConnectionError as LostConnection
from redis.exceptions import ResponseError
from redis.exceptions import TimeoutError as NoAnswer

from tasks import messages, settings, signing

logger = logging.getLogger(__name__)


class Gate(Protocol):
    """What decides which elements of a queue's list are messages."""

    def admits(self, queue: str, raw: bytes) -> bool:
        """Whether this is a message; one that is not is kept by the gate."""
        ...


NOTE_S = 0.1
"""How long a job's message is in hand before Redis is told of it."""

_gates: list[Gate] = []
_drained: set[str] = set()
_paused: frozenset[str] = frozenset()
_owed: dict[str, Any] = {}
"""By their tags: messages that this process could not put back; None for one that Redis has."""
_settled: list[str] = []
"""Tags of jobs' messages that are done with and that Redis has yet to forget."""


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


class QoS(redis.QoS):
    """kombu's bookkeeping of what is unacked, in Redis only for messages that stay in hand.

    A message of a job may be lost: it is sent again. Any other one is noted before it is worked on.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._unnoted: dict[str, Any] = {}
        self._timer: Any = None

    def append(self, message: Any, delivery_tag: str) -> None:
        """Note a message as unacked, here even if Redis cannot."""
        if _is_job(message):
            self._unnoted[delivery_tag] = message
            PlainQoS.append(self, message, delivery_tag)
            self._note_soon()
            return
        try:
            super().append(message, delivery_tag)
        except ResponseError as error:
            logger.warning("Redis does not note what is unacked: %s", error)
            PlainQoS.append(self, message, delivery_tag)
        except (LostConnection, NoAnswer):
            # It may be noted there all the same, and nobody here has it in hand.
            _owed[delivery_tag] = None
            raise

    def ack(self, delivery_tag: str) -> None:
        """Forget a message that is done with."""
        if not self._forgotten(delivery_tag):
            super().ack(delivery_tag)

    def reject(self, delivery_tag: str, requeue: bool = False) -> None:  # noqa: FBT001, FBT002
        """Forget a message, or put it back into its queue, in front.

        What kombu calls leftmost is the end of a Redis list that is popped last.
        """
        if requeue:
            self.restore_by_tag(delivery_tag)
            PlainQoS.ack(self, delivery_tag)
        elif not self._forgotten(delivery_tag):
            super().reject(delivery_tag)

    def note(self) -> None:
        """Tell Redis at once what is in hand, and what is not any more."""
        held, done = dict(self._unnoted), list(_settled)
        try:
            self._tell(held, done)
        except ResponseError as error:
            logger.warning("Redis does not note what is unacked: %s", error)
        self._unnoted.clear()
        del _settled[: len(done)]

    def _forgotten(self, tag: str) -> bool:
        """Forget a job's message here; Redis does with the next note, if it knows of it."""
        held: dict[str, Any] = self._delivered or {}
        if not _is_job(held.get(tag)):
            return False
        if self._unnoted.pop(tag, None) is None:
            _settled.append(tag)
            self._note_soon()
        PlainQoS.ack(self, tag)
        return True

    def _note_soon(self) -> None:
        if self._timer is not None:
            return
        hub = get_event_loop()
        if hub is None:
            self.note()
        else:
            self._timer = hub.call_later(NOTE_S, self._on_time)

    def _on_time(self) -> None:
        self._timer = None
        if not self.channel.closed:
            self.note()

    def restore_by_tag(self, tag: str, client: Any = None, leftmost: bool = False) -> None:  # noqa: FBT001, FBT002
        """Put a message back into its queue, in front or at the end."""
        if tag in self._unnoted:
            self.note()
        super().restore_by_tag(tag, client=client, leftmost=leftmost)

    def restore_unacked_once(self, stderr: Any = None) -> None:
        """Put back what was taken and not acked; what a broker that is away keeps is owed."""
        held: dict[str, Any] = self._delivered or {}
        tags = [str(tag) for tag in held]
        unnoted = dict(self._unnoted)
        try:
            self.note()
            super().restore_unacked_once(stderr)
        except Exception as error:
            # Not only connection errors: a channel that is closed late has lost its connection's
            # address by then. Nothing of it may end a worker that is about to connect again.
            if tags:
                logger.warning("%d message(s) are put back later: %s", len(tags), error)
            _owed.update({tag: unnoted.get(tag) for tag in tags})
            held.clear()

    def restore_visible(self, *args: Any, **kwargs: Any) -> None:
        """Put back what is owed, then what others left too long; called once a second."""
        try:
            self._pay()
            super().restore_visible(*args, **kwargs)
        except ResponseError as error:
            logger.warning("Redis does not take back what is unacked: %s", error)
        except (LostConnection, NoAnswer):
            # The channel's other connections lead to the same place: each would wait as long.
            self.channel.pool.disconnect()  # type: ignore[attr-defined]
            raise

    def _pay(self) -> None:
        self._tell({tag: one for tag, one in _owed.items() if one is not None}, ())
        while _owed:
            tag = next(iter(_owed))
            self.restore_by_tag(tag)
            del _owed[tag]

    def _tell(self, held: Mapping[str, Any], done: Sequence[str]) -> None:
        if not (held or done):
            return
        now = time.time()
        # Without a transaction: a Redis that is full takes the removals, and nothing else.
        with (
            self.channel.conn_or_acquire() as client,  # type: ignore[attr-defined]
            client.pipeline(transaction=False) as pipe,
        ):
            if held:
                pipe.zadd(self.unacked_index_key, dict.fromkeys(held, now))
                pipe.hset(self.unacked_key, mapping={tag: _kept(m) for tag, m in held.items()})
            if done:
                pipe.zrem(self.unacked_index_key, *done)
                pipe.hdel(self.unacked_key, *done)
            pipe.execute()


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


def _is_job(message: Any) -> bool:
    """Whether a message names a job of the ledger, which is sent again should it be lost."""
    return message is not None and messages.HEADER in (message.headers or {})


def _kept(message: Any) -> str:
    """A message as kombu keeps it while it is unacked."""
    delivery = message.delivery_info
    kept: str = dumps([message._raw, delivery["exchange"], delivery["routing_key"]])
    return kept
