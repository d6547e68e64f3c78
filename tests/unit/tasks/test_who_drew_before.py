"""A job names whose samples it has only if it has any."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from ledger import Claim, Ledger, NewJob, SampleRow, jobs, sessions
from tasks.runner import who_drew_before

LEADER = str(uuid.UUID(int=7))


@pytest.fixture
def claim(tmp_path: Path) -> Iterator[Claim]:
    """A job that follows another one and has just been claimed for the first time."""
    with Ledger.open(f"sqlite:///{tmp_path / 'ledger.db'}", migrate=True) as ledger:
        new = NewJob(
            id=str(uuid.UUID(int=8)), model="m", queue="model.m", request=b"{}", policy="fixed:3"
        )
        with ledger.write() as tx:
            (job,) = jobs.submit(tx, [new])
            session = sessions.open(
                tx,
                worker="w",
                node="n",
                pid=1,
                pid_started=0.0,
                pid_namespace="",
                boot_id="",
                lease_s=60.0,
            )
            claimed = jobs.claim(tx, session=session.id, job_id=job.id, number=job.sent_number)
        assert isinstance(claimed, Claim)
        yield replace(claimed, job=replace(claimed.job, follows=LEADER))


def sample(claim: Claim, *, after_s: float) -> SampleRow:
    """One that was drawn so long after the job's first claim."""
    began = claim.job.started_at
    assert began is not None
    return SampleRow(
        job_id=claim.job.id, index=0, fence=1, seed=1, text="yes", created_at=began + after_s
    )


def test_samples_from_before_its_first_claim_are_the_leaders(claim: Claim) -> None:
    """Nobody else can have drawn them."""
    assert LEADER == who_drew_before(replace(claim, samples=[sample(claim, after_s=-1.0)]))


def test_what_it_drew_itself_it_owes_to_nobody(claim: Claim) -> None:
    """After a purge of its leader it draws anew, and says so, also when it runs a second time."""
    assert who_drew_before(claim) is None
    assert who_drew_before(replace(claim, samples=[sample(claim, after_s=2.0)])) is None
