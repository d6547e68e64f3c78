"""A new log takes the place of one that may not go on: its first leaf names the old one's head.

The same worker goes on with `succeed`; for a worker that is gone for good an operator's key logs
what it has signed, with `adopt`, in a log that ends with that. Both may be stopped at any moment:
who does it again goes on.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass

from ledger import (
    Ledger,
    LogRow,
    LogState,
    Transaction,
    log_entries,
    logs,
    receipts,
    trees,
    workers,
)
from proofs.keys import Signer
from proofs.origin import principal_of
from tasks import (
    carrying,
    closing_heads,
    left_logs,
    log_keys,
    publishing,
    rotation,
    sealer,
    sealing,
    signers,
)
from tasks.carrying import OPERATOR
from tasks.key_folder import KeyFolder, LogName, path_of, read_log
from tasks.log_errors import LogInUse, LogNotFound, PublishedDiffers
from tasks.notary import Notary
from tasks.settings import Settings

logger = logging.getLogger(__name__)

MOST = 1_000_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Adopted:
    """A log that was closed for a worker: its origin, the old one's, and how many leaves it has."""

    origin: str
    predecessor: str
    leaves: int


def succeed(settings: Settings, ledger: Ledger, worker: str, *, reason: str) -> LogRow:
    """Begin a new log for a worker that does not run at the moment.

    Its first leaf names the largest head of the old log that is known here; what waited there, or
    was in a batch that nobody has signed, is logged in the new one.

    Raises:
        LogInUse: the worker runs.
        LogNotFound: it has no log.
    """
    place = path_of(settings.keys_dir, worker)
    if read_log(place) is None:
        raise LogNotFound(
            f"{worker} has no log: {place} names none.",
            suggested_action="Look at `honeyflow receipts logs` for its name. A worker whose key "
            "folder is gone begins a new log when it starts; close the old one with `honeyflow "
            "receipts adopt`.",
            details={"worker": worker, "path": str(place)},
        )
    folder = KeyFolder.open(settings.keys_dir, worker)
    try:
        rotation.retire_if_revoked(ledger, folder.path, settings)
        signer = signers.open_or_make(folder.path, settings)
        publishing.publish_worker(ledger, worker, settings.receipts_dir)
        name = _begin(settings, ledger, folder, signer, worker, reason=reason)
        with ledger.write() as tx:
            notary = Notary.enter(tx, folder=folder, signer=signer, name=name, worker=worker)
            workers.ask_to_seal(tx, worker, sealer.ALL)
            rest = carrying.rest(tx, notary.row_in(tx))
        if rest:
            _seal(settings, ledger, notary, holder=worker)
        return notary.row(ledger)
    finally:
        folder.close()


def adopt(
    settings: Settings, ledger: Ledger, worker: str, *, reason: str, log: str | None = None
) -> list[Adopted]:
    """Log, with the operator's key, what a worker that is gone has signed and never sealed.

    `log` is the origin or the id of one of its logs; without it all are meant that its key folder
    does not name.

    Raises:
        LogInUse: the worker goes on with the log, or may.
        LogNotFound: it has no log, or not that one.
        LogUnsound: a receipt is signed by no key of the worker's name; nothing was logged.
    """
    with ledger.read() as tx:
        found = left_logs.left(tx, settings, worker, named=log)
    return [_adopt(settings, ledger, old, reason=reason) for old in found]


def _adopt(settings: Settings, ledger: Ledger, old: LogRow, *, reason: str) -> Adopted:
    held = None
    if left_logs.in_folder(settings, old.worker) == old.log_id:
        # No process signs for it, whatever the ledger knows of its session.
        held = KeyFolder.open(settings.keys_dir, old.worker)
    place = path_of(settings.keys_dir, OPERATOR)
    signer = signers.open_or_make(place, settings)
    folder = KeyFolder.open(place, f"closing-{old.log_id}")
    try:
        with ledger.write() as tx:
            name = _closing_log(tx, settings, folder, old, reason=reason)
            notary = Notary.enter(tx, folder=folder, signer=signer, name=name, worker=OPERATOR)
            _require_signed(tx, notary.row_in(tx))
        _seal(settings, ledger, notary, holder=f"adopt {old.log_id}")
        _publish(ledger, old, settings)
        publishing.publish(ledger, notary.row(ledger), settings.receipts_dir)
        with ledger.write() as tx:
            row = notary.row_in(tx)
            if receipts.waiting(tx, row.number) or log_entries.unlogged(tx, row.number, 1):
                raise _busy(row)
            logs.stop(tx, notary.log, state=LogState.CLOSED, reason=f"it closed {old.origin}")
        return Adopted(origin=row.origin, predecessor=old.origin, leaves=row.sealed_size)
    finally:
        folder.close()
        if held is not None:
            held.close()


def _begin(
    settings: Settings,
    ledger: Ledger,
    folder: KeyFolder,
    signer: Signer,
    worker: str,
    *,
    reason: str,
) -> LogName:
    """Name the log that follows the one in a folder."""
    name = folder.log(settings.signing_name)
    with ledger.read() as tx:
        log, now = logs.of_id(tx, name.log_id), tx.now
    closing = closing_heads.closing(settings, name, log, folder.path, reason=reason, now=now)
    if closing.size == 0:
        if log is None and name.closes is None:
            raise LogNotFound(f"{worker} has no log yet.", details={"worker": worker})
        begun = log is None or (log.state, log.key) == (
            LogState.OPEN,
            signer.public_key.to_openssh(),
        )
        if name.closes is not None and begun and principal_of(name.origin) == settings.signing_name:
            # It has taken another one's place, and nothing is signed of it yet.
            return name
    return folder.begin_log(settings.signing_name, closing)


def _closing_log(
    tx: Transaction, settings: Settings, folder: KeyFolder, old: LogRow, *, reason: str
) -> LogName:
    """Name the log that closes another one; one that somebody has begun for that is gone on with.

    Under the gone worker's name: its keeper says that the operator's key may sign for it.
    """
    begun = read_log(folder.path)
    known = None if begun is None else logs.of_id(tx, begun.log_id)
    if begun is not None and known is not None and known.state == LogState.OPEN:
        return begun
    name = LogName(log_id=old.log_id, origin=old.origin)
    place = path_of(settings.keys_dir, old.worker)
    closing = closing_heads.closing(settings, name, old, place, reason=reason, now=tx.now)
    return folder.begin_log(principal_of(old.origin), closing)


def _require_signed(tx: Transaction, log: LogRow) -> None:
    """Require that a key of the log's name has signed each receipt that it has, or is to have."""
    placed = trees.leaves(tx, log.number, log.sealed_size, log.size)
    ids = [leaf.job_id for leaf in placed if leaf.job_id]
    ids += [leaf.job_id for leaf in carrying.orphans(tx, log, MOST) if leaf.job_id]
    ids += [row.job_id for row in receipts.unlogged(tx, log.number, MOST)]
    log_keys.require_signed(tx, principal_of(log.origin), ids)


def _seal(settings: Settings, ledger: Ledger, notary: Notary, *, holder: str) -> None:
    """Seal batch after batch until nothing waits, and nothing is left of what was begun before."""
    begun = 1
    while begun:
        while sealing.seal(ledger, notary, settings, holder=holder):
            pass
        with ledger.write() as tx:
            log = notary.row_in(tx)
            begun = carrying.place(tx, log)
    if log.size > log.sealed_size:
        raise _busy(log)


def _busy(log: LogRow) -> LogInUse:
    return LogInUse(
        f"Somebody else seals {log.origin} at this moment, or adds to it.",
        suggested_action="Do it again in half a minute: it goes on.",
        details={"origin": log.origin},
    )


def _publish(ledger: Ledger, log: LogRow, settings: Settings) -> None:
    try:
        publishing.publish(ledger, log, settings.receipts_dir)
    except PublishedDiffers as error:
        logger.warning("%s is not published as a whole: %s", log.origin, error)
