"""Uploads to IPFS: an outbox in the ledger that beat drives, one uploader at a time.

A row is written with what it is about, and waits here until a node has stored its bytes and has
named them as we do. A node that is down, slow or lying costs a try and a wait that doubles up to
five minutes; nothing waits for it, and nothing is lost.
"""

from __future__ import annotations

import logging
import time
import uuid
from collections.abc import Mapping
from typing import Any, Protocol

from ledger import (
    BodyMismatch,
    Ledger,
    LedgerError,
    Transaction,
    bodies,
    events,
    leases,
    uploads,
)
from ledger.uploads import UploadKind, UploadRow
from proofs import CidError, ProofError, cid_bytes
from proofs.encryption import is_encrypted
from proofs.errors import IpfsAnswerInvalid, IpfsRefused
from proofs.ipfs import IpfsClient
from tasks import wiring
from tasks.celery import app

logger = logging.getLogger(__name__)

LEASE = "ipfs"
LEASE_S = 120.0
"""Longer than any one upload takes, so that nobody else takes over in the midst of one."""

TIMEOUT_S = 30.0
RUN_S = 60.0
AT_MOST = 100

LONGEST_WAIT_S = 300.0
WRONG_CIDS = 3
"""How often a node may name an upload otherwise than we do."""

FAILURES = 3
"""After how many failures, of uploads of whatever kind, a run leaves the node alone."""

REFUSED = "ipfs_upload_refused"
"""The kind of the event that tells of an upload given up."""

_UNHELPFUL = (IpfsRefused, IpfsAnswerInvalid)


class Node(Protocol):
    """What stores files; its twin in tests need not be an IPFS node."""

    def add(self, data: bytes, *, profile: str) -> str:
        """Store a file; gives the CID the node says it has."""


@app.task(name="tasks.upload_to_ipfs", ignore_result=True)
def upload_to_ipfs() -> int:
    """Upload what is due, if `IPFS_API_URL` is set; returns how many were stored."""
    settings = wiring.settings()
    if settings.ipfs_api_url is None:
        return 0
    try:
        with IpfsClient(settings.ipfs_api_url, timeout_s=TIMEOUT_S) as node:
            plaintext = settings.ipfs_plaintext
            return Uploader(wiring.client().ledger, node, plaintext=plaintext).run()
    except ProofError as error:
        logger.warning("nothing is uploaded to IPFS: %s %s", error, error.suggested_action)
    except LedgerError as error:
        logger.warning("this round of uploads was cut short: %s", error)
    return 0


class Uploader:
    """One run through what is due. With `plaintext`, reports may leave that are not encrypted."""

    def __init__(self, ledger: Ledger, node: Node, *, plaintext: bool) -> None:
        self._ledger = ledger
        self._node = node
        self._plaintext = plaintext
        self._holder = str(uuid.uuid4())

    def run(self, *, at_most: int = AT_MOST, for_s: float = RUN_S) -> int:
        """Upload until nothing is due or the node seems unwell; gives how many were stored.

        Raises:
            LedgerError: the ledger does not answer; what was stored meanwhile is stored again.
        """
        with self._ledger.write() as tx:
            if not leases.take(tx, LEASE, self._holder, ttl_s=LEASE_S):
                return 0
        try:
            return self._run(at_most, time.monotonic() + for_s)
        finally:
            with self._ledger.write() as tx:
                leases.release(tx, LEASE, self._holder)

    def _run(self, at_most: int, until: float) -> int:
        stored = failures = 0
        for _ in range(at_most):
            with self._ledger.read() as tx:
                upload = next(iter(uploads.due(tx, limit=1)), None)
            if upload is None or time.monotonic() > until:
                break
            fault, final = self._try(upload)
            with self._ledger.write() as tx:
                # Whoever has taken over since will note what becomes of it.
                if not leases.take(tx, LEASE, self._holder, ttl_s=LEASE_S):
                    break
                self._note(tx, upload, fault, final=final)
            if fault is None:
                stored += 1
                continue
            logger.warning("%s is not on IPFS yet: %s", upload.cid, fault["message"])
            failures += not final
            if failures == FAILURES or fault.get("unwell"):
                break
        return stored

    def _try(self, upload: UploadRow) -> tuple[Mapping[str, Any] | None, bool]:
        """Upload once; gives what went wrong, and whether to leave it at that."""
        try:
            with self._ledger.read() as tx:
                data = bodies.get(tx, upload.body_digest)
        except BodyMismatch as error:
            return _fault(error.code, error.message), True
        if data is None:
            told = f"its bytes, {upload.body_digest}, are no longer stored"
            return _fault("BODY_MISSING", told), True
        # Asked again here: it may have been allowed when the row was written.
        if upload.kind == UploadKind.REPORT and not (self._plaintext or is_encrypted(data)):
            told = "it is not encrypted, and ipfs_plaintext does not allow that to leave"
            return _fault("IPFS_PLAINTEXT_HELD", told), True
        wrong = int((upload.error or {}).get("wrong_cids", 0))
        try:
            named = self._node.add(data, profile=upload.profile)
        except ProofError as error:
            unwell = not isinstance(error, _UNHELPFUL)
            return _fault(error.code, error.message, wrong_cids=wrong, unwell=unwell), False
        if _same(named, upload.cid):
            return None, False
        told = f"the node says that it stored {named[:100]!a}"
        wrong += 1
        return _fault("IPFS_CID_MISMATCH", told, wrong_cids=wrong), wrong >= WRONG_CIDS

    def _note(
        self, tx: Transaction, upload: UploadRow, fault: Mapping[str, Any] | None, *, final: bool
    ) -> None:
        if fault is None:
            uploads.finish(tx, upload.cid)
            return
        error = {name: value for name, value in fault.items() if name != "unwell"}
        if not final:
            uploads.put_off(tx, upload.cid, wait_s=wait_s(upload.tries), error=error)
        elif uploads.refuse(tx, upload.cid, error=error):
            events.add(tx, kind=REFUSED, subject=upload.cid, details=error)


def wait_s(tries: int) -> float:
    """How long to wait after a failure that so many came before: 1, 2, 4 ... 300 s."""
    return min(LONGEST_WAIT_S, 2.0 ** min(tries, 30))


def _same(named: str, ours: str) -> bool:
    """Whether two CIDs are one, however they are spelled."""
    try:
        return cid_bytes(named) == cid_bytes(ours)
    except CidError:
        return False


def _fault(code: str, message: str, **more: Any) -> dict[str, Any]:
    return {"code": code, "message": message, **{name: said for name, said in more.items() if said}}
