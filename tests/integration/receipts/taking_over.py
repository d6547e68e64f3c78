"""Workers that end, and what there is of their receipts afterwards."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from ledger import Job, Ledger, LogRow, jobs, log_entries, logs
from ledger import sessions as session_rows
from proofs.entry import Verdict
from tasks import (
    exporting,
    key_folder,
    verdicts,
)
from tasks import settings as settings_module
from tasks.audit import audit
from tasks.notary import Notary
from tasks.settings import Settings
from tests.integration.receipts.issuing import NAME, WORKER, seal


class Gone:
    """A signer whose process ends before it signs."""

    def __init__(self, notary: Notary) -> None:
        self.public_key = notary.signer.public_key

    def sign(self, message: bytes) -> bytes:
        """Sign nothing."""
        raise TimeoutError(f"{len(message)} bytes were not signed")


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    """A node's settings."""
    found = settings_module.read({"HONEYFLOW_DATA_DIR": str(tmp_path), "HOME": str(tmp_path)})
    return replace(found, worker_ens=NAME)


@pytest.fixture
def ledger(url: str) -> Iterator[Ledger]:
    """A ledger on either store, with the real clock."""
    opened = Ledger.open(url)
    yield opened
    opened.close()


@pytest.fixture
def notary(settings: Settings, ledger: Ledger) -> Iterator[Notary]:
    """A worker's key and log, made as a worker makes them."""
    made = Notary.open(settings, ledger, WORKER)
    yield made
    made.close()


def begin_batch(ledger: Ledger, notary: Notary) -> None:
    """Give what waits its places, and go before they are signed."""
    good, notary.signer = notary.signer, Gone(notary)
    with pytest.raises(TimeoutError):
        seal(ledger, notary)
    notary.signer = good


def summary(ledger: Ledger, job: Job) -> str:
    """What verification says of a job's receipt."""
    with ledger.read() as tx:
        found = jobs.get(tx, job.id)
        assert found is not None
        return exporting.verify(exporting.files(tx, found, report=False)).summary


def decide(ledger: Ledger, job: Job) -> str:
    """Reject an answer; gives the origin of the log that is to say so."""
    with ledger.write() as tx:
        found = jobs.get(tx, job.id)
        assert found is not None
        verdicts.decide(tx, found, verdict=Verdict.REJECTED)
        entry = log_entries.of_job(tx, job.id)[-1]
        log = logs.get(tx, entry.log)
    assert log is not None
    return log.origin


def rows(ledger: Ledger) -> list[LogRow]:
    """All logs, each of which holds in an audit."""
    with ledger.read() as tx:
        found = logs.list(tx)
    for log in found:
        audit(ledger, log)
    return found


def end(ledger: Ledger) -> None:
    """End all sessions."""
    with ledger.write() as tx:
        for session in session_rows.live(tx):
            session_rows.close(tx, session.id, crashed=True, reason="gone")


def lose(settings: Settings, notary: Notary) -> None:
    """Lose a worker's key folder."""
    notary.close()
    shutil.rmtree(key_folder.path_of(settings.keys_dir, WORKER))
