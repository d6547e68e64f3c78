"""What a worker does for its receipts, from its start to its end, again and again on one disk."""

from __future__ import annotations

import os
import random
import shutil
import uuid
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from ledger import (
    Claim,
    Ledger,
    ReceiptRow,
    State,
    Transaction,
    jobs,
    log_entries,
    logs,
    receipts,
    sessions,
)
from proofs import Receipt, timestamp
from proofs.cid import cid
from proofs.entry import EntryType
from proofs.hashing import sha256_digest
from tasks import bee_key, rotation, sealing, succession
from tasks import settings as settings_module
from tasks.key_folder import NEXT, path_of
from tasks.notary import Notary
from tasks.sealer import Sealer
from tasks.settings import Settings
from tests.integration.ledger.support import new_job, open_session
from tests.integration.receipts.issuing import NAME, WORKER


@dataclass(frozen=True, slots=True, kw_only=True)
class Home:
    """Where one worker lives: its ledger, its keys, what it has published, whom it told."""

    path: Path
    batch: int = 2

    @classmethod
    def make(cls, path: Path, template: Path, *, batch: int = 2) -> Home:
        """A home with an empty ledger."""
        path.mkdir(parents=True)
        shutil.copy(template, path / "ledger.db")
        return cls(path=path, batch=batch)

    def copy(self, path: Path) -> Home:
        """A home in the same state; nobody may be at work there."""
        shutil.copytree(self.path, path)
        return replace(self, path=path)

    @property
    def settings(self) -> Settings:
        """A node's settings, with small batches."""
        told = {"HONEYFLOW_DATA_DIR": str(self.path), "HOME": str(self.path)}
        found = settings_module.read(told)
        sealing = replace(found.sealing, batch=self.batch)
        return replace(found, worker_ens=NAME, sealing=sealing)

    @property
    def key_folder(self) -> Path:
        """Where the worker's key lies."""
        return path_of(self.settings.keys_dir, WORKER)

    def open(self) -> Ledger:
        """The ledger, with the real clock."""
        return Ledger.open(f"sqlite:///{self.path / 'ledger.db'}")

    def tell(self, digests: dict[str, str]) -> None:
        """Tell somebody of receipts that are committed."""
        line = "".join(f"{job_id} {digest}\n" for job_id, digest in digests.items())
        with (self.path / "told").open("ab", buffering=0) as stream:
            stream.write(line.encode())

    def told(self) -> dict[str, str]:
        """The digests of the receipts that somebody was told of, by job."""
        file = self.path / "told"
        lines = file.read_text().splitlines() if file.exists() else []
        return dict(line.split() for line in lines)

    def published(self) -> dict[Path, bytes]:
        """The files that anybody may have read, but for the one that is always replaced."""
        return {
            path: path.read_bytes()
            for path in self.settings.receipts_dir.rglob("*")
            if path.is_file() and path.name != "checkpoint" and path.suffix != ".tmp"
        }


def job_ids(count: int) -> list[str]:
    """The ids of so many jobs, the same at each call."""
    return [str(uuid.UUID(int=number, version=4)) for number in range(count)]


def work(home: Home, wanted: Sequence[str], seed: int) -> None:
    """Issue a receipt for every job that has none, group by group; seal and publish after each."""
    with home.open() as ledger:
        notary = Notary.open(home.settings, ledger, WORKER)
        _work(home, ledger, notary, wanted, random.Random(seed))
        notary.close()


def hand_over(home: Home, wanted: Sequence[str], seed: int) -> None:
    """Make the next key, unless that was done, hand over to it, and work for what is wanted."""
    with home.open() as ledger:
        following = home.key_folder / NEXT
        with ledger.read() as tx:
            queued = [log_entries.of_type(tx, log.number, _HANDOVER) for log in logs.list(tx)]
        if not any(queued) and bee_key.is_missing(following):
            bee_key.create(following)
        notary = Notary.open(home.settings, ledger, WORKER)
        rotation.go_on(ledger, notary, home.settings, holder=WORKER)
        if wanted:
            _work(home, ledger, notary, wanted, random.Random(seed))
        notary.close()


def leave_unsigned(home: Home, wanted: Sequence[str], _seed: int) -> None:
    """Commit the receipts, begin a batch, and go before it is signed."""
    with home.open() as ledger:
        notary = Notary.open(home.settings, ledger, WORKER)
        home.tell(_commit(ledger, notary, _begin(ledger), wanted))

        class Gone:
            public_key = notary.signer.public_key

            def sign(self, message: bytes) -> bytes:
                raise TimeoutError(f"{len(message)} bytes were not signed")

        notary.signer = Gone()
        try:
            sealing.seal_next(
                ledger,
                notary,
                holder=WORKER,
                most=home.batch,
                partial=True,
                epoch=0,
                cid_profile="unixfs-v0-2015",
            )
        except TimeoutError:
            pass
        notary.close()


def leave_queued(home: Home, wanted: Sequence[str], seed: int) -> None:
    """The same, and a handover is queued: its process found the log's lease taken."""
    leave_unsigned(home, wanted, seed)
    with home.open() as ledger:
        following = bee_key.create(home.key_folder / NEXT)
        notary = Notary.open(home.settings, ledger, WORKER)
        rotation._queue(ledger, notary, following.to_openssh())
        notary.close()


def succeed(home: Home, _wanted: Sequence[str], _seed: int) -> None:
    """Begin a new log in place of the one so far."""
    with home.open() as ledger:
        succession.succeed(home.settings, ledger, WORKER, reason="it may not go on")


def adopt(home: Home, _wanted: Sequence[str], _seed: int) -> None:
    """Close the worker's first log with the operator's key, for its process is gone."""
    with home.open() as ledger:
        with ledger.write() as tx:
            for old in sessions.live(tx):
                sessions.close(tx, old.id, crashed=True, reason="its process is gone")
            first = logs.of_worker(tx, WORKER)[0]
        succession.adopt(home.settings, ledger, WORKER, reason="gone", log=first.origin)


Deed = Callable[[Home, Sequence[str], int], None]
DEEDS: dict[str, Deed] = {
    deed.__name__: deed for deed in (work, hand_over, leave_unsigned, leave_queued, succeed, adopt)
}
_HANDOVER = EntryType.KEY_HANDOVER


def _work(
    home: Home, ledger: Ledger, notary: Notary, wanted: Sequence[str], chance: random.Random
) -> None:
    session = _begin(ledger)
    sealer = Sealer(
        ledger=ledger,
        notary=notary,
        settings=home.settings,
        worker=WORKER,
        # A process that is killed leaves its lease behind; under its own name it goes on at once.
        note_event=lambda _kind, _told: None,
    )
    sealer._publish()
    with ledger.read() as tx:
        missing = [job_id for job_id in wanted if receipts.get(tx, job_id) is None]
    while missing:
        some = chance.randint(1, 2 * home.batch)
        home.tell(_commit(ledger, notary, session, missing[:some]))
        missing = missing[some:]
        sealer._seal(partial=chance.random() < 0.3)
    sealer._seal(partial=True)


def _begin(ledger: Ledger) -> str:
    """A session in place of those of processes that are gone, whose jobs wait again."""
    with ledger.write() as tx:
        for old in sessions.live(tx):
            sessions.close(tx, old.id, crashed=False, reason="its process is gone")
        return open_session(tx, WORKER)


def _commit(ledger: Ledger, notary: Notary, session: str, wanted: Sequence[str]) -> dict[str, str]:
    """Submit what nobody has submitted, claim and commit it; gives the receipts' digests."""
    with ledger.write() as tx:
        fresh = [job_id for job_id in wanted if jobs.get(tx, job_id) is None]
        jobs.submit(tx, [new_job(id=job_id) for job_id in fresh])
    with ledger.write() as tx:
        return {job_id: _commit_one(tx, notary, session, job_id) for job_id in wanted}


def _commit_one(tx: Transaction, notary: Notary, session: str, job_id: str) -> str:
    sent = jobs.get(tx, job_id)
    assert sent is not None
    assert sent.state == State.QUEUED, sent
    claim = jobs.claim(tx, session=session, job_id=job_id, number=sent.sent_number)
    assert isinstance(claim, Claim), claim
    # Another answer at each try: a second receipt of the job would be another one.
    report = b'{"answer":"%s"}' % os.urandom(8).hex().encode()
    receipt = Receipt(
        job_id=job_id,
        worker_ens=NAME,
        model=sent.model,
        input_hash=sent.request_digest,
        output_hash=sha256_digest(report),
        report_hash=sha256_digest(report),
        inference_time_ms=1,
        confidence_score=75,
        k_samples=3,
        timestamp=timestamp(tx.now),
        epoch=0,
        ipfs_cid=cid(report),
    ).to_bytes()
    row = ReceiptRow(
        job_id=job_id,
        canonical=receipt,
        digest=sha256_digest(receipt),
        report_digest=sha256_digest(report),
        signature=notary.sign_receipt(receipt),
        log=notary.log,
    )
    done: dict[str, Any] = {
        "job_id": job_id,
        "fence": claim.job.fence,
        "result": report,
        "output": report,
        "report": report,
        "receipt": row,
        "confidence": 0.75,
        "k": 3,
        "rounds": 1,
    }
    assert jobs.commit(tx, **done)
    assert not jobs.commit(tx, **done)
    return row.digest
