"""A few threads beside the engine for ordinary tasks and for messages that are to be entered."""

from __future__ import annotations

import logging
import queue
import threading
import time
from collections.abc import Callable
from typing import Any

logger = logging.getLogger(__name__)

_Work = tuple[Callable[..., Any], tuple[Any, ...]]


class Lane:
    """Runs work on `threads` daemon threads, first come, first served.

    Daemons, because a task of somebody's own must not hold up the end of a worker for ever.
    `on_done` is called, on the thread, whenever a piece of work has ended; `on_full` with whether
    `most` pieces wait or run, whenever that changes.
    """

    def __init__(
        self,
        *,
        threads: int,
        on_done: Callable[[], None],
        most: int = 16,
        on_full: Callable[[bool], None] | None = None,
    ) -> None:
        self._on_done = on_done
        self._on_full = on_full
        self.most = most
        self.full = False
        self._work: queue.SimpleQueue[_Work] = queue.SimpleQueue()
        self._open = 0
        self._lock = threading.Lock()
        self._closed = False
        for number in range(threads):
            threading.Thread(target=self._run, name=f"lane-{number}", daemon=True).start()

    @property
    def open(self) -> int:
        """How many pieces of work wait or run."""
        return self._open

    def submit(self, work: Callable[..., Any], *args: Any) -> None:
        """Queue `work(*args)`; its error is logged."""
        self._count(1)
        self._work.put((work, args))

    def stop(self, *, patience_s: float) -> bool:
        """Begin nothing more; true when all that ran has ended within the patience."""
        self._closed = True
        until = time.monotonic() + patience_s
        while self._open and time.monotonic() < until:
            time.sleep(0.05)
        return not self._open

    def _run(self) -> None:
        while True:
            work, args = self._work.get()
            try:
                # What did not begin comes again with its message, which is not acked.
                if not self._closed:
                    work(*args)
            except Exception:
                logger.exception("a task's bookkeeping failed")
            finally:
                self._count(-1)
                self._on_done()

    def _count(self, more: int) -> None:
        with self._lock:
            self._open += more
            was, self.full = self.full, self._open >= self.most
            if was is not self.full and self._on_full is not None:
                self._on_full(self.full)
