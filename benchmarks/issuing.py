"""A ledger in a file with a worker's log, whose receipts a benchmark commits, seals and proves."""

from __future__ import annotations

import os
import sqlite3
import time
import uuid
from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import replace
from operator import attrgetter
from pathlib import Path
from types import TracebackType
from typing import Self

from executors import ModelInfo, Sampling
from executors.resampling import Outcome
from executors.resampling.types import Sample, Verdict, Vote
from ledger import Claim, Job, Ledger, NewJob, ReceiptRow, Transaction, jobs, receipts, sessions
from proofs import Receipt, compute_cid, sha256_digest, timestamp
from tasks import evidence, publishing, sealing
from tasks import settings as settings_module
from tasks.evidence import Issuer
from tasks.notary import Notary
from tasks.payloads import Request

NAME = "bee1.example.eth"
WORKER = "worker-1"
BATCH = 100

Write = Callable[[Transaction, Job], None]

_REQUEST = Request(model="queenbee-spine", prompt="Is there a fracture? Answer yes or no.")
_INFO = ModelInfo(
    name="queenbee-spine",
    engine="none",
    engine_version="1",
    device="cpu",
    model_digest=sha256_digest(b"model"),
    engine_digest=sha256_digest(b"engine"),
    max_num_seqs=64,
    max_model_len=4096,
)
_SAMPLES = tuple(
    Sample(
        index=index,
        seed=index,
        text="Yes, there is.",
        finish_reason="stop",
        prompt_tokens=12,
        completion_tokens=5,
        valid=True,
        answer_class="yes",
    )
    for index in range(3)
)
_OUTCOME = Outcome(
    answer="Yes, there is.",
    representative=0,
    samples=_SAMPLES,
    k=3,
    k_launched=3,
    k_invalid=0,
    rounds=1,
    stop_reason="unanimous",
    confidence_raw=1.0,
    confidence=1.0,
    policy="fixed:3",
    policy_version="1",
    decision=Verdict.ACCEPT,
    review=False,
    classes=(Vote("yes", 3, 0),),
)


class Store:
    """A worker's ledger, key and log, in a folder of their own."""

    def __init__(self, home: Path) -> None:
        told = {"HONEYFLOW_DATA_DIR": str(home), "HOME": str(home)}
        self.settings = replace(settings_module.read(told), worker_ens=NAME)
        self.file = home / "ledger.db"
        home.mkdir(parents=True, exist_ok=True)
        self.ledger = Ledger.open(f"sqlite:///{self.file}", migrate=True)
        self.notary = Notary.open(self.settings, self.ledger, WORKER)
        self.issuer = Issuer(
            settings=self.settings, sign=self.notary.sign_receipt, log=self.notary.log
        )
        with self.ledger.write() as tx:
            self._session = sessions.open(
                tx,
                worker=WORKER,
                node="node-1",
                pid=os.getpid(),
                pid_started=0.0,
                pid_namespace="pid:[1]",
                boot_id="boot",
                lease_s=86_400.0,
            ).id

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        _kind: type[BaseException] | None,
        _error: BaseException | None,
        _trace: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Let go of it."""
        self.notary.close()
        self.ledger.close()

    def jobs(self, count: int) -> list[Job]:
        """Jobs that run, and have nothing yet."""
        running: list[Job] = []
        while len(running) < count:
            made = [_new_job() for _ in range(min(250, count - len(running)))]
            with self.ledger.write() as tx:
                for job in jobs.submit(tx, made):
                    taken = jobs.claim(
                        tx, session=self._session, job_id=job.id, number=job.sent_number
                    )
                    assert isinstance(taken, Claim)
                    running.append(taken.job)
        return running

    def receipt_alone(self, tx: Transaction, job: Job) -> None:
        """Make a job's receipt, sign it and insert it: `proofs`, and one row."""
        receipts.add(tx, self._receipt_row(job, tx.now))

    def _receipt_row(self, job: Job, now: float) -> ReceiptRow:
        data = receipt_of(job, now).to_bytes()
        return ReceiptRow(
            job_id=job.id,
            canonical=data,
            digest=sha256_digest(data),
            report_digest=_REPORT_DIGEST,
            signature=self.notary.sign_receipt(data),
            log=self.notary.log,
        )

    def issue_alone(self, running: Sequence[Job], *, group: int) -> float:
        """Receipts and their inserts alone, through Python's own sqlite3."""
        with closing(sqlite3.connect(self.file, isolation_level=None)) as connection:
            for setting in ("foreign_keys = ON", "synchronous = FULL"):
                connection.execute(f"PRAGMA {setting}")
            started = time.perf_counter()
            for at in range(0, len(running), group):
                now = time.time()
                connection.execute("BEGIN IMMEDIATE")
                rows = [self._receipt_row(job, now) for job in running[at : at + group]]
                connection.executemany(_BARE_INSERT, [(*_told(row), now) for row in rows])
                connection.execute("COMMIT")
            return (time.perf_counter() - started) / len(running)

    def whole_commit(self, tx: Transaction, job: Job) -> None:
        """End a job as a worker does: result, report, receipt, the job's row and its history."""
        report = evidence.report(
            job=job,
            request=_REQUEST,
            outcome=_OUTCOME,
            sampling=Sampling(),
            info=_INFO,
            profile=None,
            issuer=self.issuer,
            clock_skew_s=0.0,
        )
        done = evidence.commit(tx, job=job, outcome=_OUTCOME, report=report, issuer=self.issuer)
        assert done is not None

    def issue(
        self, running: Sequence[Job], write: Write, *, group: int, sealed: bool = False
    ) -> float:
        """Commit for each job, so many in a transaction; the seconds it took for one.

        With `sealed`, every hundred are sealed and published, and that counts.
        """
        unsealed = 0
        started = time.perf_counter()
        for at in range(0, len(running), group):
            with self.ledger.write() as tx:
                for job in running[at : at + group]:
                    write(tx, job)
            unsealed += group
            if sealed and unsealed >= BATCH:
                self.seal(partial=False)
                self.publish()
                unsealed = 0
        return (time.perf_counter() - started) / len(running)

    def settle(self) -> None:
        """Bring what was written into the ledger's file, so that nobody pays for it later."""
        with closing(sqlite3.connect(self.file)) as connection:
            connection.execute("PRAGMA wal_checkpoint(RESTART)")

    def seal(self, *, partial: bool = True) -> int:
        """Seal one batch; the log's new size, 0 if there was nothing to seal."""
        sealed = sealing.seal_next(
            self.ledger,
            self.notary,
            holder=WORKER,
            most=BATCH,
            partial=partial,
            epoch=0,
            cid_profile=self.settings.cid_profile,
        )
        return 0 if sealed is None else sealed.tree_size

    def publish(self) -> None:
        """Write the files of what was sealed."""
        publishing.publish(self.ledger, self.notary.row(self.ledger), self.settings.receipts_dir)


def receipt_of(job: Job, now: float) -> Receipt:
    """The receipt of a job that gave the answer of all."""
    return Receipt(
        job_id=job.id,
        worker_ens=NAME,
        model=job.model,
        input_hash=job.request_digest,
        output_hash=_REPORT_DIGEST,
        report_hash=_REPORT_DIGEST,
        inference_time_ms=1234,
        confidence_score=100,
        k_samples=3,
        timestamp=timestamp(now),
        epoch=0,
        ipfs_cid=_CID,
    )


_REPORT_DIGEST = sha256_digest(b"{}")
_CID = compute_cid(b"{}", profile="unixfs-v0-2015")


_told = attrgetter("job_id", "canonical", "digest", "report_digest", "signature", "log")
_BARE_INSERT = (
    "INSERT INTO receipts (job_id, canonical, digest, report_digest, signature, log, created_at)"
    " VALUES (?, ?, ?, ?, ?, ?, ?)"
)


def _new_job() -> NewJob:
    return NewJob(
        id=str(uuid.uuid4()),
        model="queenbee-spine",
        queue="model.queenbee-spine",
        request=_REQUEST.to_bytes(),
        policy="fixed:3",
    )
