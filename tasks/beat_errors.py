"""What beat logs of level error, counted in the ledger: it sends no heartbeat that could tell.

The count there is that of all beats there ever were, so that it never falls. Nothing is asked of
the ledger until there is something to count.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable

from ledger import Ledger, bookmarks
from monitoring.log_counter import BEAT_ERRORS, ErrorCounter

logger = logging.getLogger(__name__)

EVERY_S = 5.0


class ErrorTeller:
    """Writes how many there are, every few seconds from `start` to `stop`; never raises."""

    def __init__(
        self, counter: ErrorCounter, open_ledger: Callable[[], Ledger], *, every_s: float = EVERY_S
    ) -> None:
        self._counter = counter
        self._open = open_ledger
        self._every_s = every_s
        self._told = 0
        self._away = False
        self._ledger: Ledger | None = None
        self._ending = threading.Event()
        self._thread = threading.Thread(target=self._run, name="errors", daemon=True)

    def start(self) -> None:
        """Tell from now on."""
        self._thread.start()

    def stop(self, patience_s: float = EVERY_S) -> None:
        """Tell what is left, and end."""
        self._ending.set()
        self._thread.join(patience_s)

    def _run(self) -> None:
        while not self._ending.wait(self._every_s):
            self._try()
        self._try()
        if self._ledger is not None:
            self._ledger.close()

    def _try(self) -> None:
        try:
            self._tell()
        except Exception as error:
            if not self._away:
                # No error: it would be one more to tell.
                logger.warning("errors of this log cannot be counted yet: %s", error)
            self._away = True
        else:
            self._away = False

    def _tell(self) -> None:
        count = self._counter.count
        if count == self._told:
            return
        self._ledger = self._ledger or self._open()
        with self._ledger.write() as tx:
            found = bookmarks.get(tx, BEAT_ERRORS)
            before = 0 if found is None else found.position
            moved = bookmarks.move(tx, BEAT_ERRORS, expected=before, to=before + count - self._told)
        if moved:
            self._told = count
