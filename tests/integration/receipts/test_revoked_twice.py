"""A key that is revoked a second time counts for no more than either time has left of its log."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from ledger import Job, Ledger, jobs
from proofs.tlog_proof import TlogProof
from tasks import exporting, receipts, revoking
from tasks import settings as settings_module
from tasks.notary import Notary
from tests.integration.receipts.issuing import NAME, WORKER, issue, seal


@pytest.fixture
def ledger(sqlite_url: str) -> Iterator[Ledger]:
    """A ledger in a file."""
    opened = Ledger.open(sqlite_url)
    yield opened
    opened.close()


def _verified(ledger: Ledger, job: Job) -> tuple[str, int]:
    """What verification says of a job's receipt, and the size of the head it is proved against."""
    with ledger.read() as tx:
        found = jobs.get(tx, job.id)
        assert found is not None
        summary = exporting.verify(exporting.files(tx, found, report=False)).summary
        proof = receipts.proof(tx, job.id)
    assert proof is not None
    return summary, int(TlogProof.parse(proof).checkpoint.split(b"\n")[1])


@pytest.mark.parametrize("sizes", [(4, 2), (2, 4)])
def test_the_smallest_size_is_proved_against(
    tmp_path: Path, ledger: Ledger, sizes: tuple[int, int]
) -> None:
    """As the verifier takes it, in whatever order they were said."""
    settings = settings_module.read({"HONEYFLOW_DATA_DIR": str(tmp_path), "HOME": str(tmp_path)})
    notary = Notary.open(replace(settings, worker_ens=NAME), ledger, WORKER)
    batches = []
    for _ in range(3):
        batches.append(issue(ledger, notary, 2))
        seal(ledger, notary)
    notary.close()
    for size in sizes:
        revoking.revoke(ledger, WORKER, size=size, reason="the key was copied")

    for job in batches[0]:
        told, size = _verified(ledger, job)
        assert (size, "logged as leaf" in told) == (2, True), told
    for job in (*batches[1], *batches[2]):
        told, _ = _verified(ledger, job)
        assert "the leaves before 2 are left standing" in told
