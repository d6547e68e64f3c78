"""A worker's receipts: who signs them, what becomes of their reports, who seals their log."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from typing import Any, Self

from ledger import Ledger, LogState, logs
from proofs import ProofError, encryption
from proofs.keys import PrivateKey
from tasks import rotation
from tasks.errors import SettingsInvalid
from tasks.evidence import Issuer
from tasks.notary import Notary
from tasks.sealer import Sealer
from tasks.settings import Settings

logger = logging.getLogger(__name__)


class Issuing:
    """A worker's notary and its sealer, from its start to its end."""

    def __init__(self, *, notary: Notary, sealer: Sealer, issuer: Issuer) -> None:
        self.notary = notary
        self.sealer = sealer
        self.issuer = issuer

    @classmethod
    def start(
        cls,
        *,
        settings: Settings,
        ledger: Ledger,
        worker: str,
        note_event: Callable[[str, Mapping[str, Any]], None],
    ) -> Self:
        """Take the worker's key and its log, and begin to seal.

        Raises:
            HoneyflowError: the key cannot be used, somebody else signs with it, or a recipient of
                reports is none.
        """
        _check_recipients(settings)
        notary = Notary.open(settings, ledger, worker, has_session=True)
        rotation.finish(ledger, notary, settings)
        _tell_what_is_left(ledger, notary, worker, note_event)
        sealer = Sealer(
            ledger=ledger,
            notary=notary,
            settings=settings,
            worker=worker,
            note_event=note_event,
        )
        sealer.start()
        in_memory = isinstance(notary.signer, PrivateKey)
        issuer = Issuer(
            settings=settings,
            sign=notary.sign_receipt,
            log=notary.log,
            now=None if in_memory else lambda: _now(ledger),
        )
        return cls(notary=notary, sealer=sealer, issuer=issuer)

    def stop(self) -> None:
        """Seal what waits, and let go of the key."""
        self.sealer.stop()
        self.notary.close()


def _now(ledger: Ledger) -> float:
    with ledger.read() as tx:
        return tx.now


def _tell_what_is_left(
    ledger: Ledger,
    notary: Notary,
    worker: str,
    note_event: Callable[[str, Mapping[str, Any]], None],
) -> None:
    """Say which other logs of this worker nobody goes on with, as where its key folder was lost."""
    with ledger.read() as tx:
        open_ones = [log for log in logs.of_worker(tx, worker) if log.state == LogState.OPEN]
    for log in open_ones:
        if log.number == notary.log:
            continue
        logger.error(
            "LOG_LEFT: %s was a log of this worker, and its key folder names another one. What "
            "waits for it is logged by `honeyflow receipts adopt %s --log %s`.",
            log.origin,
            worker,
            log.origin,
        )
        note_event("log_left", {"origin": log.origin, "leaves": log.sealed_size})


def _check_recipients(settings: Settings) -> None:
    try:
        for recipient in settings.ipfs_recipients:
            encryption.check_recipient(recipient)
    except ProofError as error:
        raise SettingsInvalid(
            f"ipfs_recipients: {error.message}.", suggested_action=error.suggested_action
        ) from error
