"""A worker's thread that seals its log when it is asked to, and before the worker ends.

Beat asks, through a flag in the ledger, because only the worker holds its key. Nothing waits for
it: whatever goes wrong is said, and tried again when it is asked the next time.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Mapping
from typing import Any

from ledger import Ledger, workers
from tasks import publishing, rotation, sealing, standing, witness_client
from tasks.errors import HoneyflowError
from tasks.log_errors import LogRolledBack
from tasks.notary import Notary
from tasks.settings import Settings

logger = logging.getLogger(__name__)

FULL = "full"
"""Seal what makes full batches."""

ALL = "all"
"""Seal everything that waits."""


class Sealer:
    """Seals one worker's log; `note_event` tells whoever watches what is wrong."""

    def __init__(
        self,
        *,
        ledger: Ledger,
        notary: Notary,
        settings: Settings,
        worker: str,
        note_event: Callable[[str, Mapping[str, Any]], None],
    ) -> None:
        self._ledger = ledger
        self._notary = notary
        self._settings = settings
        self._worker = worker
        self._note_event = note_event
        self._witnesses = witness_client.configured(settings)
        self._stands = not self._witnesses
        self._told: set[str] = set()
        self._asked: str | None = None
        self._wake = threading.Event()
        self._stopping = False
        self._thread = threading.Thread(target=self._run, name="sealer", daemon=True)

    def start(self) -> None:
        """Begin with what an earlier run has left half done."""
        self._thread.start()

    def ask(self, how: str | None) -> None:
        """Have it sealed, soon; `full` or `all`."""
        if how is not None and self._asked != ALL:
            self._asked = how
            self._wake.set()

    def stop(self, patience_s: float = 10.0) -> None:
        """Seal everything that waits, and end."""
        self._asked = ALL
        self._stopping = True
        self._wake.set()
        self._thread.join(timeout=patience_s)
        if self._thread.is_alive():
            logger.warning("the log is not sealed yet; what waits is sealed after the next start")

    def _run(self) -> None:
        self._try(self._publish)
        while True:
            self._wake.wait()
            self._wake.clear()
            how, self._asked, last = self._asked, None, self._stopping
            if how is not None:
                self._try(lambda how=how: self._seal(partial=how == ALL))  # type: ignore[misc]
            if last:
                return

    def _publish(self) -> None:
        publishing.publish_worker(self._ledger, self._worker, self._settings.receipts_dir)

    def _seal(self, *, partial: bool) -> None:
        """Seal batch after batch until nothing waits."""
        try:
            if not self._stands:
                standing.require_newest(self._ledger, self._notary, self._witnesses)
                self._stands = True
            rotation.go_on(self._ledger, self._notary, self._settings, holder=self._worker)
            while self._seal_next(partial=partial):
                pass
            self._publish()
        finally:
            # Beat asks again; to look twice a second would mend nothing.
            with self._ledger.write() as tx:
                workers.ask_to_seal(tx, self._worker, None)

    def _seal_next(self, *, partial: bool) -> bool:
        # Not the session is the holder: whoever has the key goes on at once after a crash.
        sealed = sealing.seal(
            self._ledger, self._notary, self._settings, holder=self._worker, partial=partial
        )
        if sealed is not None:
            told = (sealed.batch, sealed.count, sealed.tree_size)
            key_id = self._notary.signer.public_key.fingerprint
            logger.info(
                "sealed batch %d: %d leaves, the log has %d", *told, extra={"key_id": key_id}
            )
        return sealed is not None

    def _try(self, what: Callable[[], None]) -> None:
        try:
            what()
        except HoneyflowError as error:
            self._tell(error)
        except Exception as error:
            logger.warning("sealing waits: %s", error)

    def _tell(self, error: HoneyflowError) -> None:
        """Say what is wrong, once."""
        if str(error) not in self._told:
            self._told.add(str(error))
            logger.error("%s", error)
            kind = "log_rolled_back" if isinstance(error, LogRolledBack) else "seal_failed"
            self._note_event(kind, error.to_dict())
