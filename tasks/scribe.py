"""The one thread of a worker that writes to the ledger: what is waiting becomes one transaction.

Claims, samples and commits of many jobs share a transaction and so its fsync; samples of many jobs
share a statement too. What nobody waits for may be patient: it is written with what comes next. If
one of them fails, each is run again by itself, so that nobody fails for a neighbour's reason.
"""

from __future__ import annotations

import asyncio
import logging
import math
import queue
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import Any, TypeVar

from ledger import Ledger, Transaction
from tasks.gathering import gather

logger = logging.getLogger(__name__)
T = TypeVar("T")
Item = TypeVar("Item")


@dataclass(slots=True, kw_only=True, eq=False)
class _Entry:
    """One write: `operation` on the transaction, or `item` handed to `together` with its like."""

    operation: Callable[[Transaction], Any] | None = None
    together: Callable[[Transaction, Sequence[Any]], Sequence[Any]] | None = None
    item: Any = None
    due: float = 0.0
    future: Future[Any] = field(default_factory=Future)


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
        return self._queue(_Entry(operation=operation))

    def submit_item(
        self,
        together: Callable[[Transaction, Sequence[Item]], Sequence[T]],
        item: Item,
        *,
        patience_s: float = 0.0,
    ) -> Future[T]:
        """Queue one item of an operation on many; its result is the one at the item's place.

        All items that wait for the same `together` are given to it at once, where the first of them
        stands: an item may be written before what was queued ahead of it, never after what was
        queued behind it. It waits `patience_s` at most for something to be written with.
        """
        due = time.monotonic() + patience_s
        return self._queue(_Entry(together=together, item=item, due=due))

    async def write(self, operation: Callable[[Transaction], T]) -> T:
        """Run an operation and wait until it is on disk."""
        return await asyncio.wrap_future(self.submit(operation))

    def _queue(self, entry: _Entry) -> Future[Any]:
        self._waiting.put(entry)
        return entry.future

    def _run(self) -> None:
        last = False
        while not last:
            group = gather(self._waiting, self._group, due=_due)
            last = group[-1] is None
            entries = [entry for entry in group if entry is not None]
            live = [entry for entry in entries if entry.future.set_running_or_notify_cancel()]
            self._write(live)

    def _write(self, entries: Sequence[_Entry]) -> None:
        if not entries:
            return
        try:
            with self._ledger.write() as tx:
                results = _results(tx, entries)
        except Exception as error:
            if len(entries) == 1:
                entries[0].future.set_exception(error)
                return
            logger.debug("a group of %d writes failed (%s); one by one", len(entries), error)
            for entry in entries:
                self._write([entry])
            return
        for entry in entries:
            entry.future.set_result(results[entry])


def _due(entry: _Entry | None) -> float:
    return math.inf if entry is None else entry.due


def _results(tx: Transaction, entries: Sequence[_Entry]) -> dict[_Entry, Any]:
    results: dict[_Entry, Any] = {}
    for entry in entries:
        if entry.operation is not None:
            results[entry] = entry.operation(tx)
        elif entry.together is not None and entry not in results:
            alike = [other for other in entries if other.together is entry.together]
            told = entry.together(tx, [other.item for other in alike])
            results.update(zip(alike, told, strict=True))
    return results
