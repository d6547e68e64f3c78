"""Jobs with real receipts, made without an engine, and a notary that signs them."""

from __future__ import annotations

import uuid
from pathlib import Path
from typing import Any

import sqlalchemy as sa

from ledger import Job, Ledger, ReceiptRow, jobs, logs
from proofs import Receipt, timestamp
from proofs.cid import cid
from proofs.hashing import sha256_digest
from proofs.keys import PrivateKey
from proofs.merkle import EMPTY_ROOT
from tasks import sealing
from tasks.key_folder import KeyFolder
from tasks.notary import Notary
from tests.integration.ledger.support import begin, run

NAME = "bee1.example.eth"
WORKER = "worker-1"


def notary_of(
    ledger: Ledger, keys: Path, *, worker: str = WORKER, key: PrivateKey | None = None
) -> Notary:
    """A worker's notary, with a key in memory."""
    folder = KeyFolder.open(keys, worker)
    signer = key or PrivateKey.generate()
    name = folder.log(NAME)
    with ledger.write() as tx:
        log = logs.enter(
            tx,
            log_id=name.log_id,
            worker=worker,
            origin=name.origin,
            key=signer.public_key.to_openssh(),
            empty_root=EMPTY_ROOT,
        )
    return Notary(folder=folder, signer=signer, log=log)


def issue(
    ledger: Ledger, notary: Notary, count: int = 1, *, session: str | None = None
) -> list[Job]:
    """Jobs that have succeeded, each with a signed receipt that waits for its place."""
    session = session or begin(ledger, f"{WORKER}-{uuid.uuid4()}")
    ended = []
    for _ in range(count):
        job = run(ledger, session)
        ended.append(job)
        report = b"{}"
        with ledger.write() as tx:
            receipt = Receipt(
                job_id=job.id,
                worker_ens=NAME,
                model=job.model,
                input_hash=job.request_digest,
                output_hash=sha256_digest(b"yes"),
                report_hash=sha256_digest(report),
                inference_time_ms=1,
                confidence_score=75,
                k_samples=3,
                timestamp=timestamp(tx.now),
                epoch=0,
                ipfs_cid=cid(report),
            ).to_bytes()
            row = ReceiptRow(
                job_id=job.id,
                canonical=receipt,
                digest=sha256_digest(receipt),
                report_digest=sha256_digest(report),
                signature=notary.sign_receipt(receipt),
                log=notary.log,
            )
            done: dict[str, Any] = {
                "job_id": job.id,
                "fence": job.fence,
                "result": b'{"answer":"yes"}',
                "output": b"yes",
                "report": report,
                "receipt": row,
                "confidence": 0.75,
                "k": 3,
                "rounds": 1,
            }
            assert jobs.commit(tx, **done)
    return ended


def seal(
    ledger: Ledger, notary: Notary, *, most: int = 100, partial: bool = True, **options: Any
) -> list[sealing.Sealed]:
    """Seal until nothing waits; what was sealed."""
    found = []
    while (
        sealed := sealing.seal_next(
            ledger,
            notary,
            holder="test",
            most=most,
            partial=partial,
            epoch=0,
            cid_profile="unixfs-v0-2015",
            **options,
        )
    ) is not None:
        found.append(sealed)
    return found


GUARDED = ("log_leaves", "log_nodes", "receipts", "batches", "log_entries")


def unguarded(ledger: Ledger, statement: str, values: dict[str, object] | None = None) -> None:
    """Change what the database's triggers guard, as a damaged disk would."""
    with ledger.write() as tx:
        if tx.dialect == "sqlite":
            for table in GUARDED:
                tx.execute(sa.text(f"DROP TRIGGER IF EXISTS {table}_keep"))
                tx.execute(sa.text(f"DROP TRIGGER IF EXISTS {table}_stay"))
            tx.execute(sa.text(statement), values or {})
            return
        for table in GUARDED:
            tx.execute(sa.text(f"ALTER TABLE {table} DISABLE TRIGGER ALL"))
        tx.execute(sa.text(statement), values or {})
        for table in GUARDED:
            tx.execute(sa.text(f"ALTER TABLE {table} ENABLE TRIGGER ALL"))
