"""The one thread of a worker that writes to the ledger: what is waiting becomes one transaction.

Claims, samples and commits of many jobs share a transaction and so its fsync. If one of them fails,
each is run again by itself, so that nobody fails for a neighbour's reason.
"""

from __future__ import annotations

import asyncio
import logging
import queue
import threading
from collections.abc import Callable
from concurrent.futures import Future
from typing import Any, TypeVar

from ledger import Ledger, Transaction

logger = logging.getLogger(__name__)
T = TypeVar("T")
Operation = Callable[[Transaction], Any]
_Entry = tuple[Operation, "Future[Any]"]


class Scribe:
    """Runs operations on the ledger in groups of at most `group` each."""

    def __init__(self, *, ledger: Ledger, group: int = 128) -> None:
        self._ledger = ledger
        self._group = group
        self._waiting: queue.SimpleQueue[_Entry | None] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._run, name="scribe", daemon=True)

    def start(self) -> None:
        """Start writing."""
        self._thread.start()

    def stop(self) -> None:
        """Write what is waiting and stop."""
        self._waiting.put(None)
        self._thread.join(timeout=30)

    def submit(self, operation: Callable[[Transaction], T]) -> Future[T]:
        """Queue an operation; its result comes when its transaction is on disk."""
        future: Future[T] = Future()
        self._waiting.put((operation, future))
        return future

    async def write(self, operation: Callable[[Transaction], T]) -> T:
        """Run an operation and wait until it is on disk."""
        return await asyncio.wrap_future(self.submit(operation))

    def _run(self) -> None:
        while (first := self._waiting.get()) is not None:
            entries = [first]
            last = False
            while len(entries) < self._group and not self._waiting.empty():
                following = self._waiting.get()
                if following is None:
                    last = True
                    break
                entries.append(following)
            self._write(entries)
            if last:
                return

    def _write(self, entries: list[_Entry]) -> None:
        live = [entry for entry in entries if entry[1].set_running_or_notify_cancel()]
        try:
            with self._ledger.write() as tx:
                results = [operation(tx) for operation, _ in live]
        except Exception as error:
            if len(live) == 1:
                live[0][1].set_exception(error)
                return
            logger.debug("a group of %d writes failed (%s); one by one", len(live), error)
            for operation, future in live:
                self._write_one(operation, future)
            return
        for (_, future), result in zip(live, results, strict=True):
            future.set_result(result)

    def _write_one(self, operation: Operation, future: Future[Any]) -> None:
        try:
            with self._ledger.write() as tx:
                result = operation(tx)
        except Exception as error:
            future.set_exception(error)
        else:
            future.set_result(result)
