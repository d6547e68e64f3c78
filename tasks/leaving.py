"""How a worker enters its session and leaves it: jobs handed back, its last word, its end."""

from __future__ import annotations

import logging
import os
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from celery.worker import state as worker_state

from ledger import Job, LedgerError
from tasks import publish
from tasks.client import Client
from tasks.errors import adopt
from tasks.facts import WorkerState
from tasks.keeper import Keeper

logger = logging.getLogger(__name__)

STOPPED, FAILED = str(WorkerState.STOPPED), str(WorkerState.FAILED)


def open_session(client: Client, keeper: Keeper) -> None:
    """Open a worker's session; the jobs of a predecessor that has died are sent again.

    Raises:
        HoneyflowError: another live worker has this name, or the ledger is away.
    """
    try:
        keeper.open()
    except LedgerError as error:
        raise adopt(error) from error
    send_again(client, keeper.freed)


def send_again(client: Client, freed: Sequence[Job]) -> None:
    """Send jobs that went back to their queue; if that fails, a reconciler does it."""
    queued = [job for job in freed if job.state == "queued"]
    try:
        publish.send(client.app, queued, ledger_uuid=client.ledger.uuid)
    except Exception as error:
        logger.warning("%d job(s) are sent later: %s", len(queued), error)


class Leaving:
    """The end of one worker, wished for or not.

    `note` writes an event, `wake` turns the hub, `look` sees what a failure may be due to.
    """

    def __init__(
        self,
        *,
        client: Client,
        keeper: Keeper,
        note: Callable[[str, Mapping[str, Any]], None],
        wake: Callable[[], None],
        look: Callable[[], None],
        patience_s: float,
    ) -> None:
        self._client = client
        self._keeper = keeper
        self._note = note
        self._wake = wake
        self._look = look
        self._patience_s = patience_s
        self.last_state = STOPPED

    def leave(self) -> None:
        """Close the session in order, and say so."""
        self._close_session(crashed=False, reason="stopped")
        if self.last_state == FAILED:
            self._look()
        self._keeper.say_last(self.last_state, reason="stopped")

    def give_up(self, event: str, reason: str, *, check: str) -> None:
        """Hand the jobs back with the session and end with exit code 1. From any thread."""
        arguments = (event, reason, check)
        threading.Thread(target=self._give_up, args=arguments, daemon=True).start()

    def _give_up(self, event: str, reason: str, check: str) -> None:
        self._keeper.stop()
        self._close_session(crashed=True, reason=reason)
        self._note(event, {"reason": reason})
        self._look()
        self._keeper.say_last(FAILED, check=check, reason=reason)
        worker_state.should_stop = 1  # type: ignore[assignment]
        self._wake()
        # The hub may be stuck on a dead broker: the exit does not wait for it for ever.
        time.sleep(self._patience_s)
        os._exit(1)

    def _close_session(self, *, crashed: bool, reason: str) -> None:
        send_again(self._client, self._keeper.close(crashed=crashed, reason=reason))
