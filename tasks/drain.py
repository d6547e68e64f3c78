"""What Celery's hub does not do while its thread waits for a drain: send acks and fire timers."""

from __future__ import annotations

import logging
import time
from typing import TYPE_CHECKING, Any

from kombu.asynchronous.hub import Hub
from kombu.message import Message

if TYPE_CHECKING:
    from tasks.engine_host import EngineHost
    from tasks.keeper import Keeper

logger = logging.getLogger(__name__)

_SLICE_S = 0.1


def wait(host: EngineHost, hub: Hub | None, keeper: Keeper, *, patience_s: float) -> None:
    """Wait, on the hub's thread, until no claimed job runs or the patience is over."""
    host.drop_unclaimed()
    until = time.monotonic() + patience_s
    while any(slot.claimed and not slot.ended for slot in tuple(host.slots.values())):
        keeper.tick("hub")
        run_acks(hub)
        if time.monotonic() >= until:
            return
        time.sleep(_SLICE_S)


def run_acks(hub: Hub | None) -> None:
    """Send the acks that wait in the hub, and only them; the rest goes back for its close."""
    if hub is None:
        return
    waiting: Any = hub._pop_ready()
    while waiting:
        callback = waiting.pop()
        function = getattr(callback, "fun", None)
        is_ack = isinstance(getattr(function, "__self__", None), Message)
        if not is_ack:
            hub.call_soon(callback)
            continue
        try:
            callback()
        except Exception as error:
            logger.warning("an ack could not be sent: %s", error)
