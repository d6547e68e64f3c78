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

from ledger import InvalidValue, Ledger, LedgerError, Transaction, bodies, quarantine
from tasks import messages, settings, signing
from tasks.gathering import gather
from tasks.messages import Flaw

logger = logging.getLogger(__name__)

MAX_WAITING = 2_000
MAX_WAITING_BYTES = 32 * 2**20
"""How much of them is held in memory: of each no more than quarantine keeps."""
GROUP = 200
"""How many elements are written in one transaction, if so many wait: a flood comes faster."""
_PAUSE_S = 1.0

_started: list[Gate] = []


@dataclass(frozen=True, slots=True, kw_only=True)
class _Kept:
    """The beginning of an element that is no message, with the size and the digest of all of it."""

    queue: str
    data: bytes
    size: int
    digest: str
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
        self._max_bytes = messages.room_for(settings.load().limits.max_request_bytes)
        self._waiting: queue.SimpleQueue[_Kept | None] = queue.SimpleQueue()
        self._lock = threading.Lock()
        self._held = 0
        self._held_bytes = 0
        self._dropped = 0
        self._thread = threading.Thread(target=self._run, name="quarantine", daemon=True)
        self._stopping = threading.Event()

    def start(self) -> None:
        """Start writing; from now on this is the gate of this process."""
        self._thread.start()
        _started[:] = [self]

    def stop(self) -> None:
        """Write what waits, for a few seconds at most, and stop."""
        self._stopping.set()
        self._waiting.put(None)
        self._thread.join(timeout=5)

    def admits(self, name: str, raw: bytes) -> bool:
        """Whether this is a message; one that is not is kept."""
        if name not in self._queues:
            # An event or an answer; what is wrong with it beyond that, the transport survives.
            return messages.is_json(raw)
        found = messages.read(raw, max_bytes=self._max_bytes)
        if isinstance(found, Flaw):
            self.keep(name, raw, found)
            return False
        if self._keys is not None and (flaw := self._keys.flaw_of(name, found)) is not None:
            self.keep(name, raw, flaw)
            return False
        return True

    def keep(self, name: str, raw: bytes, flaw: Flaw) -> None:
        """Put something that came out of a queue into quarantine."""
        detail = flaw.detail[: quarantine.MAX_DETAIL_CHARS]
        name = name[: quarantine.MAX_NAME_CHARS]
        logger.error("queue %s: %s: %s", name, flaw.reason, detail)
        kept = _Kept(
            queue=name,
            data=raw[: quarantine.MAX_BYTES],
            size=len(raw),
            digest=bodies.digest_of(raw),
            flaw=Flaw(reason=flaw.reason, detail=detail),
        )
        if self._has_room_for(kept):
            self._waiting.put(kept)

    def keep_message(self, message: Any, reason: str, detail: str) -> None:
        """Put a message that Celery has read already into quarantine."""
        delivery = message.delivery_info or {}
        raw = dumps(getattr(message, "_raw", None)).encode(errors="replace")
        self.keep(str(delivery.get("routing_key")), raw, Flaw(reason=reason, detail=detail))

    def _has_room_for(self, kept: _Kept) -> bool:
        with self._lock:
            size = self._held_bytes + len(kept.data)
            if self._held < MAX_WAITING and size <= MAX_WAITING_BYTES:
                self._held += 1
                self._held_bytes = size
                return True
            self._dropped += 1
            first = self._dropped == 1
        if first:
            logger.critical("quarantine is full while the ledger is away; elements are dropped")
        return False

    def _run(self) -> None:
        last = False
        while not last:
            group = gather(self._waiting, GROUP)
            last = group[-1] is None
            found = [kept for kept in group if kept is not None]
            self._write(found)
            with self._lock:
                self._held -= len(found)
                self._held_bytes -= sum(len(kept.data) for kept in found)
            self._tell_dropped()

    def _write(self, group: Sequence[_Kept]) -> None:
        while group and not self._written(group):
            if self._stopping.wait(_PAUSE_S):
                self._count_dropped(len(group))
                return

    def _written(self, group: Sequence[_Kept]) -> bool:
        try:
            with self._ledger.write() as tx:
                for kept in group:
                    self._add(tx, kept)
        except InvalidValue as error:
            # None of them should be one that the ledger cannot hold: look for it.
            logger.exception("quarantine cannot hold %d element(s)", len(group), exc_info=error)
            if len(group) == 1:
                self._count_dropped(1)
            for kept in group if len(group) > 1 else ():
                self._write([kept])
        except LedgerError as error:
            logger.warning("quarantine waits for the ledger: %s", error)
            return False
        return True

    def _add(self, tx: Transaction, kept: _Kept) -> None:
        quarantine.add(
            tx,
            queue=kept.queue,
            reason=kept.flaw.reason,
            detail=kept.flaw.detail,
            data=kept.data,
            size=kept.size,
            digest=kept.digest,
            worker=self._worker,
        )

    def _count_dropped(self, number: int) -> None:
        with self._lock:
            self._dropped += number

    def _tell_dropped(self) -> None:
        with self._lock:
            dropped, self._dropped = self._dropped, 0
        if dropped:
            logger.critical("%d element(s) did not get into quarantine and are dropped", dropped)


def this_gate() -> Gate | None:
    """The gate of this process, if it is a worker."""
    return _started[-1] if _started else None
