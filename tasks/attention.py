"""What a worker has to look at in the ledger, twice a second and in one query.

What is called off, what it holds that nobody runs, and whether it shall drain or stop. A thread of
its own, so that a worker without an engine, or one whose loop is busy, obeys as well.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable

from ledger import Attention, LedgerError, jobs
from tasks.client import Client
from tasks.keeper import Keeper

logger = logging.getLogger(__name__)


class AttentionWatch:
    """Calls `on_seen` with every look, `on_drain` with a new value of that flag, `on_stop` once."""

    def __init__(
        self,
        *,
        client: Client,
        keeper: Keeper,
        on_seen: Callable[[Attention], None],
        on_drain: Callable[[bool], None],
        on_stop: Callable[[], None],
    ) -> None:
        self._ledger = client.ledger
        self._keeper = keeper
        self._pause_s = client.settings.timing.attention_s
        self._on_seen = on_seen
        self._on_drain = on_drain
        self._on_stop = on_stop
        self._draining = False
        self._told_to_stop = False
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="attention", daemon=True)

    def start(self) -> None:
        """Start looking."""
        self._thread.start()

    def stop(self) -> None:
        """Stop looking."""
        self._stopping.set()
        self._thread.join(timeout=5)

    def _run(self) -> None:
        while not self._stopping.wait(self._pause_s):
            try:
                self._look()
            except LedgerError as error:
                logger.warning("what this worker is told cannot be read: %s", error)
            except Exception:
                logger.exception("looking at the ledger went wrong")

    def _look(self) -> None:
        with self._ledger.read() as tx:
            seen = jobs.attention(tx, self._keeper.session)
        self._on_seen(seen)
        if seen.drain is not self._draining:
            self._draining = seen.drain
            self._on_drain(seen.drain)
        if seen.stop and not self._told_to_stop:
            self._told_to_stop = True
            logger.warning("told to stop")
            self._on_stop()
