"""kombu's bookkeeping of the messages in hand, kept in Redis only for those that stay there.

The ledger knows the job that a message names, so that most are claimed before anybody needs to know
who has them. A Redis that is full refuses to note them; they are worked on all the same. What was
in hand when the broker went away is put back when it answers again, since nobody else would for a
day.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Mapping, Sequence
from typing import Any

from kombu.asynchronous import get_event_loop
from kombu.transport import redis
from kombu.transport.virtual import QoS as PlainQoS
from kombu.utils.json import dumps
from redis.exceptions import ConnectionError as LostConnection
from redis.exceptions import ResponseError
from redis.exceptions import TimeoutError as NoAnswer

from tasks import messages

logger = logging.getLogger(__name__)

NOTE_S = 0.1
"""How long a job's message is in hand before Redis is told of it."""

_owed: dict[str, Any] = {}
"""By their tags: messages that this process could not put back; None for one that Redis has."""
_settled: list[str] = []
"""Tags of jobs' messages that are done with and that Redis has yet to forget."""


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


def _is_job(message: Any) -> bool:
    """Whether a message names a job of the ledger, which is sent again should it be lost."""
    return message is not None and messages.HEADER in (message.headers or {})


def _kept(message: Any) -> str:
    """A message as kombu keeps it while it is unacked."""
    delivery = message.delivery_info
    kept: str = dumps([message._raw, delivery["exchange"], delivery["routing_key"]])
    return kept
