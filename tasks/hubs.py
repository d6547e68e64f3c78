"""What other threads may do to Celery's hub: wake it, have it connect again, stop the worker."""

from __future__ import annotations

import os
import signal

from kombu.asynchronous.hub import Hub


def wake(hub: Hub | None) -> None:
    """Let the hub look again at what it may take."""
    if hub is not None:
        hub.call_soon(_nothing)


def lose_connection(hub: Hub | None) -> None:
    """End the hub's turn as a lost connection does, which Celery knows how to mend."""
    if hub is not None:
        hub.call_soon(_lost)


def ask_to_stop() -> None:
    """Stop this worker as SIGTERM does."""
    os.kill(os.getpid(), signal.SIGTERM)


def _nothing() -> None:
    """What the hub is woken with."""


def _lost() -> None:
    raise ConnectionResetError("this consumer took nothing while work waited")
