"""Delivers the outbox: each channel in order, at least once, until it is a day old.

What is sent is taken in hand before, and noted after: who dies in between sends one message again,
and what is on its way is not dropped for something newer. A channel that is away, or asks for time,
is left alone for as long; the others do not wait for it.
"""

from __future__ import annotations

import logging
import time
import uuid
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

from ledger import Ledger, LedgerError, Transaction, alert_channels, alert_outbox, alerts, leases
from ledger.alert_channels import ChannelRow
from monitoring.alerts.channels.channel import Channel
from monitoring.alerts.channels.errors import ChannelBusy, ChannelError, MessageRefused
from monitoring.alerts.grouping import MINUTE_S, next_message
from monitoring.alerts.message import OF_STATE, Message

logger = logging.getLogger(__name__)

LEASE = "alerts"
ROUND = "delivery"
"""The name under which is kept when a run last began."""

LEASE_S = 60.0
"""Longer than any one message takes, so that nobody else takes over in the midst of one."""

CLOCK_STEP_S = 1.0
"""What a clock is set back by that is worth a word."""

AT_MOST = 20
"""How many messages one run sends on one channel."""

FIRST_REST_S = 5.0
LONGEST_REST_S = 60.0
WAITED_FOR_S = 2.0
"""What a channel asks to wait that is not left to the next run."""

REFUSALS = 3
"""How often a channel may refuse one message before it is dropped, and others have their turn."""

GIVE_UP_AFTER_S = 86_400.0
KEEP_S = 7 * 86_400.0
ENDED_KEEP_S = 86_400.0


class Deliverer:
    """One run through what waits; `pause` waits for so many seconds."""

    def __init__(
        self,
        ledger: Ledger,
        channels: Sequence[Channel],
        *,
        pause: Callable[[float], None] = time.sleep,
    ) -> None:
        self._ledger = ledger
        self._channels = channels
        self._pause = pause
        self._holder = str(uuid.uuid4())

    def run(self) -> int:
        """Deliver what can be delivered now; gives how many messages went out.

        Raises:
            LedgerError: the ledger does not answer; what was sent meanwhile is sent again.
        """
        with self._ledger.write() as tx:
            if not leases.take(tx, LEASE, self._holder, ttl_s=LEASE_S):
                return 0
            _follow_clock(tx)
            # What did not arrive, or was on its way when somebody died.
            alert_outbox.give_back(tx, alert_outbox.in_hand(tx), kinds=OF_STATE)
            self._tidy(tx)
        try:
            if not self._channels:
                return 0
            with ThreadPoolExecutor(len(self._channels), "alerts") as threads:
                return sum(threads.map(self._deliver, self._channels))
        finally:
            with self._ledger.write() as tx:
                leases.release(tx, LEASE, self._holder)

    def _tidy(self, tx: Transaction) -> None:
        """Give up what is too old to be news, and forget what is long over."""
        late = alert_outbox.late(tx, created_before=tx.now - GIVE_UP_AFTER_S)
        why = "it could not be delivered within a day"
        if given_up := alert_outbox.drop(tx, late, outcome="failed", error=why):
            logger.error("%d messages to people were given up: %s", given_up, why)
        alert_outbox.forget(tx, ended_before=tx.now - KEEP_S)
        alerts.forget(tx, ended_before=tx.now - ENDED_KEEP_S)

    def _deliver(self, channel: Channel) -> int:
        """Tell one channel what it is to be told, until there is nothing or it has to rest."""
        sent = 0
        for _ in range(AT_MOST):
            message = self._next(channel)
            if message is None:
                break
            try:
                rest_s = channel.send(message).rest_s
            except ChannelError as error:
                self._note_failure(channel, message, error)
                break
            except Exception as error:
                # Not shown and not chained: nobody knows what it holds.
                self._note_failure(channel, message, _unforeseen(channel, error))
                break
            if not self._note_success(channel, message, rest_s):
                break
            sent += 1
            if rest_s > WAITED_FOR_S:
                break
            if rest_s > 0:
                self._pause(rest_s)
        return sent

    def _next(self, channel: Channel) -> Message | None:
        """What is to be sent now, taken in hand; None if there is nothing."""
        with self._ledger.read() as tx:
            waits = alert_outbox.waiting(tx, channel.name, limit=1)
            if not waits or _standing(tx, channel).next_at > tx.now:
                return None
        with self._ledger.write() as tx:
            message = _due(tx, channel)
            if message is not None:
                ids = [item.id for item in message.items]
                alert_outbox.take_in_hand(tx, ids, delivery=message.id)
            return message

    def _note_success(self, channel: Channel, message: Message, rest_s: float) -> bool:
        """Note that a message went out; false if another process delivers by now."""
        with self._ledger.write() as tx:
            alert_outbox.finish(tx, [item.id for item in message.items], delivery=message.id)
            well = ChannelRow(channel=channel.name, next_at=tx.now + rest_s, delivered_at=tx.now)
            alert_channels.note(tx, well)
            return leases.take(tx, LEASE, self._holder, ttl_s=LEASE_S)

    def _note_failure(self, channel: Channel, message: Message, error: ChannelError) -> None:
        ids = [item.id for item in message.items]
        with self._ledger.write() as tx:
            before = _standing(tx, channel)
            rest_s = (
                error.retry_after_s
                if isinstance(error, ChannelBusy)
                else min(FIRST_REST_S * 2.0 ** min(before.failures, 10), LONGEST_REST_S)
            )
            alert_outbox.fail(tx, ids, error=error.message)
            failures = before.failures + 1
            if isinstance(error, MessageRefused) and failures >= REFUSALS:
                alert_outbox.drop(tx, ids, outcome="failed", error=error.message)
                failures, rest_s = 0, 0.0
            told = replace(before, next_at=tx.now + rest_s, failures=failures, error=error.message)
            alert_channels.note(tx, told)
        logger.warning("%d alerts wait: %s [%s]", len(ids), error.message, error.code)


def try_run(deliverer: Deliverer) -> int:
    """Deliver, and leave it at a line in the log if the ledger does not answer."""
    try:
        return deliverer.run()
    except LedgerError as error:
        logger.warning("this round of alerts was cut short: %s", error)
        return 0


def _follow_clock(tx: Transaction) -> None:
    """Have nothing wait longer because a clock was set back since the last run."""
    before = alerts.noted_at(tx, ROUND)
    if before is not None and before - tx.now > CLOCK_STEP_S:
        logger.warning("the clock was set back by %.0f s", before - tx.now)
        alert_channels.set_back(tx, before - tx.now)
    alerts.note_state(tx, ROUND, None)


def _due(tx: Transaction, channel: Channel) -> Message | None:
    waiting = alert_outbox.waiting(tx, channel.name)
    if not waiting or _standing(tx, channel).next_at > tx.now:
        return None
    delivered = alert_outbox.deliveries(tx, channel.name, after=tx.now - MINUTE_S)
    return next_message(waiting, delivered, tx.now)


def _unforeseen(channel: Channel, error: Exception) -> ChannelError:
    return ChannelError(
        f"Channel {channel.name} failed with {type(error).__name__}.",
        suggested_action="Try `honeyflow alerts test`; it is tried again.",
    )


def _standing(tx: Transaction, channel: Channel) -> ChannelRow:
    return alert_channels.list(tx).get(channel.name, ChannelRow(channel=channel.name))
