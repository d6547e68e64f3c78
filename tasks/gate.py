"""The gate of a worker: messages pass, anything else goes to quarantine with its reason.

Quarantine is a table of the ledger, written by a thread, so that the hub waits for nothing. While
the ledger is away it is waited for; what no longer fits in memory meanwhile is counted in the log.
"""

from __future__ import annotations

import logging
import queue
import threading
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Any

from kombu.utils.json import dumps

from ledger import Ledger, LedgerError, quarantine
from tasks import messages, signing
from tasks.messages import Flaw

logger = logging.getLogger(__name__)

MAX_WAITING = 2_000
GROUP = 200
"""How many elements are written in one transaction, if so many wait: a flood comes faster."""
_PAUSE_S = 1.0


@dataclass(frozen=True, slots=True, kw_only=True)
class _Kept:
    """One element of a queue's list that is no message."""

    queue: str
    raw: bytes
    flaw: Flaw


class Gate:
    """Sees every element that this worker pops from `queues`, and keeps what is no message."""

    def __init__(
        self, *, ledger: Ledger, worker: str, queues: Collection[str], keys: signing.Keys | None
    ) -> None:
        self._ledger = ledger
        self._worker = worker
        self._queues = frozenset(queues)
        self._keys = keys
        self._waiting: queue.Queue[_Kept | None] = queue.Queue(maxsize=MAX_WAITING)
        self._thread = threading.Thread(target=self._run, name="quarantine", daemon=True)
        self._stopping = threading.Event()

    def start(self) -> None:
        """Start writing."""
        self._thread.start()

    def stop(self) -> None:
        """Write what waits, for a few seconds at most, and stop."""
        self._stopping.set()
        self._put(None)
        self._thread.join(timeout=5)

    def admits(self, name: str, raw: bytes) -> bool:
        """Whether this is a message; one that is not is kept."""
        if name not in self._queues:
            # An event or an answer; what is wrong with it beyond that, the transport survives.
            return messages.is_json(raw)
        found = messages.read(raw)
        if isinstance(found, Flaw):
            self.keep(name, raw, found)
            return False
        if self._keys is not None and (flaw := self._keys.flaw_of(name, found)) is not None:
            self.keep(name, raw, flaw)
            return False
        return True

    def keep(self, name: str, raw: bytes, flaw: Flaw) -> None:
        """Put something that came out of a queue into quarantine."""
        logger.error("queue %s: %s: %s", name, flaw.reason, flaw.detail)
        self._put(_Kept(queue=name, raw=raw, flaw=flaw))

    def keep_message(self, message: Any, reason: str, detail: str) -> None:
        """Put a message that Celery has read already into quarantine."""
        delivery = message.delivery_info or {}
        raw = dumps(getattr(message, "_raw", None)).encode(errors="replace")
        self.keep(str(delivery.get("routing_key")), raw, Flaw(reason=reason, detail=detail))

    def _put(self, kept: _Kept | None) -> None:
        try:
            self._waiting.put_nowait(kept)
        except queue.Full:
            logger.critical("quarantine is full while the ledger is away; an element is dropped")

    def _run(self) -> None:
        last = False
        while not last:
            group = [self._waiting.get()]
            while group[-1] is not None and len(group) < GROUP and not self._waiting.empty():
                group.append(self._waiting.get())
            last = group[-1] is None
            self._write([kept for kept in group if kept is not None])

    def _write(self, group: Sequence[_Kept]) -> None:
        while group and not self._written(group):
            if self._stopping.wait(_PAUSE_S):
                return

    def _written(self, group: Sequence[_Kept]) -> bool:
        try:
            with self._ledger.write() as tx:
                for kept in group:
                    quarantine.add(
                        tx,
                        queue=kept.queue,
                        reason=kept.flaw.reason,
                        detail=kept.flaw.detail,
                        data=kept.raw,
                        worker=self._worker,
                    )
        except LedgerError as error:
            logger.warning("quarantine waits for the ledger: %s", error)
            if error.retriable:
                return False
            for kept in group if len(group) > 1 else ():
                self._write([kept])
        return True
