"""`honeyflow job purge` erases a job's texts in the ledger and in Redis, and keeps its receipt."""

from __future__ import annotations

import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from celery import chain
from typer.testing import CliRunner

from cli.main import app as commands
from ledger import bodies, jobs, leases, receipts, uploads
from ledger.uploads import UploadKind
from proofs import CidProfile, Outcome, Receipt, check_receipt, compute_cid
from tasks import app, infer, stream
from tasks.client import Client
from tasks.errors import BrokerUnavailable, HoneyflowError, JobNotFound, JobUnanswered
from tasks.purge import purge
from tasks.uploads import LEASE, Uploader
from tests.integration.foreign import ask
from tests.integration.scripts import SLOW
from tests.stack import Worker, wait_for

Start = Callable[..., Worker]

# Said by no other job of this run, which would keep it.
UNHEARD = {"rules": [{"answers": [{"text": "unheard-of"}]}]}


def job(*words: str) -> tuple[str, HoneyflowError | None]:
    """What a `honeyflow job` command prints, and the error it ends with."""
    told = CliRunner().invoke(commands, ["job", *words])
    error: Any = told.exception if told.exit_code else None
    return told.stdout, error


def keys_of(job_id: str) -> list[Any]:
    """Celery's copy and the live events of a job, where they are in Redis."""
    backend: Any = app.backend
    keys = (backend.get_key_for_task(job_id), stream.key(job_id))
    return [key for key in keys if backend.client.exists(key)]


@pytest.fixture
def answered(start: Start, client: Client) -> str:
    """The id of a sensitive job that has ended, with live events, and been told."""
    start(script=UNHEARD)
    result = infer.apply_async(
        kwargs={"model": "fake-a", "prompt": "Is it unheard-of?", "sensitive": True}, stream=True
    )
    result.get(timeout=10)
    wait_for(lambda: client.job(result.id).delivered_at)
    wait_for(lambda: len(keys_of(result.id)) == 2)
    return str(result.id)


def test_texts_go_and_the_receipt_stays(answered: str, client: Client, tmp_path: Path) -> None:
    """What is left verifies as far as it can be compared; the rest says what became of it."""
    before, _ = job("show", answered, "--receipt")

    printed, error = job("purge", answered)

    assert error is None
    assert printed.startswith(
        f"The texts of job {answered} are erased (4 of them). Its receipt sha"
    )
    assert [] == keys_of(answered)
    assert (before, None) == job("show", answered, "--receipt")
    receipt = Receipt.from_bytes(before.encode())
    row = client.job(answered)
    assert (receipt.input_hash, receipt.output_hash) == (row.request_digest, row.output_digest)
    steps = check_receipt(before.encode())
    assert {Outcome.PASSED, Outcome.SKIPPED} == {step.outcome for step in steps}
    for part in ("--request", "--report", "--page"):
        printed, error = job("show", answered, part)
        assert isinstance(error, JobUnanswered)
        assert "any more: its texts are erased" in error.message
    printed, error = job("bundle", answered, "-o", str(tmp_path / "bundle"))
    assert isinstance(error, JobUnanswered)
    with pytest.raises(JobNotFound, match="no longer stored"):
        app.AsyncResult(answered).get(timeout=5)
    printed, error = job("show", answered)
    assert error is None
    assert "its texts are erased" in printed
    assert "unheard-of" not in printed


def test_a_second_purge_says_when_the_first_one_was(answered: str) -> None:
    """And is no error."""
    job("purge", answered)

    printed, error = job("purge", answered)

    assert error is None
    assert f"The texts of job {answered} were erased at " in printed
    assert " UTC already. Its receipt sha256:" in printed


def test_what_is_running_is_refused(start: Start, client: Client) -> None:
    """With what to do about it."""
    start(script=SLOW)
    job_id = client.submit({"model": "fake-a", "prompt": "LONG"}).job_id
    wait_for(lambda: client.job(job_id).state == "running")

    _, error = job("purge", job_id, "--force")

    assert isinstance(error, HoneyflowError)
    assert ("JOB_IN_USE", 1) == (error.code, error.exit_code)
    assert "Cancel it first" in error.suggested_action
    client.cancel(job_id)


def test_an_unknown_job_is_named(client: Client) -> None:
    """As everywhere."""
    _, error = job("purge", "00000000-0000-4000-8000-000000000000")

    assert isinstance(error, HoneyflowError)
    assert "JOB_NOT_FOUND" == error.code


def test_a_purge_without_redis_says_what_is_left_to_do(place: Any) -> None:
    """The ledger's texts are gone; the same command does the rest later."""
    client: Client = place.client
    job_id = client.submit({"model": "fake-a", "prompt": "Is it?"}).job_id
    client.cancel(job_id)
    place.broker.kill()

    with pytest.raises(BrokerUnavailable, match="are erased, but Redis does not answer"):
        purge(client, job_id, force=True)

    assert client.job(job_id).purged_at is not None
    with client.ledger.read() as tx:
        assert receipts.get(tx, job_id) is None


def queue_upload(client: Client, job_id: str) -> str:
    """Have a job's report uploaded; gives its CID."""
    profile = CidProfile.UNIXFS_V0_2015
    with client.ledger.write() as tx:
        row = receipts.get(tx, job_id)
        assert row is not None
        cid = Receipt.from_bytes(row.canonical).ipfs_cid
        assert cid == compute_cid(bodies.get(tx, row.report_digest) or b"", profile)
        uploads.add(
            tx, cid=cid, kind=UploadKind.REPORT, body_digest=row.report_digest, profile=profile
        )
    return cid


def test_a_purge_during_an_upload_says_that_it_may_be_too_late(
    answered: str, client: Client
) -> None:
    """The uploader has read the report, and the node has it before anybody notes that."""
    cid = queue_upload(client, answered)
    printed: list[str] = []

    class Node:
        def add(self, data: bytes, *, profile: str) -> str:
            # Other tests' reports may wait in the same ledger.
            if b"unheard-of" in data:
                printed.append(job("purge", answered)[0])
            return compute_cid(data, CidProfile(profile))

    Uploader(client.ledger, Node(), plaintext=True).run()

    (told,) = printed
    assert f" Its report may have been published as {cid}: an upload of it was under way" in told


def test_a_purge_before_an_upload_says_nothing_of_one(answered: str, client: Client) -> None:
    """Nobody was at it, nobody begins while the purge goes on, and then nothing is left to send."""
    cid = queue_upload(client, answered)

    printed, error = job("purge", answered)

    assert (None, False) == (error, "published" in printed)
    with client.ledger.read() as tx:
        assert leases.holder(tx, LEASE) is None
        assert cid not in {row.cid for row in uploads.list(tx)}


def test_the_next_step_of_a_chain_keeps_the_answer(start: Start, client: Client) -> None:
    """In its own request, and where it said the same; the purge tells both."""
    start(script=UNHEARD)
    last = chain(ask(f"{uuid.uuid4()}"), ask("${previous} " + str(uuid.uuid4())))()
    last.get(timeout=10)
    step = str(last.parent.id)
    wait_for(lambda: client.job(step).delivered_at)

    printed, error = job("purge", step)

    assert error is None
    # Its request, result and report go; the answer, which is its sample too, is the next one's.
    assert printed.startswith(f"The texts of job {step} are erased (3 of them).")
    assert " 1 more stay, because other jobs have the same. What it set off (the next " in printed
    with client.ledger.read() as tx:
        assert b"unheard-of" in (jobs.request(tx, last.id) or b"")
    assert "unheard-of" == client.wait(last.id, timeout_s=5).answer
    wait_for(lambda: client.job(last.id).delivered_at)
    printed, error = job("purge", last.id)
    assert (None, False, False) == (error, "more stay" in printed, "set off" in printed)


def test_a_job_that_shared_an_execution_keeps_its_answer(
    start: Start, client: Client, tmp_path: Path
) -> None:
    """Its request, its samples and its report are its own, though the leader's are erased."""
    start(script={"rules": [{**UNHEARD["rules"][0], "first_token_s": 0.5}]})
    asked = {"model": "fake-a", "prompt": f"{uuid.uuid4()}"}
    leader, follower = (client.submit(asked, dedupe=True).job_id for _ in range(2))
    assert leader == client.job(follower).follows
    for one in (leader, follower):
        client.wait(one, timeout_s=20)
    wait_for(lambda: all(client.job(one).delivered_at for one in (leader, follower)))

    printed, error = job("purge", leader)

    assert error is None
    # What is its own: its result and its report.
    assert printed.startswith(f"The texts of job {leader} are erased (2 of them).")
    assert " 2 more stay, because other jobs have the same." in printed
    assert "unheard-of" == client.wait(follower, timeout_s=5).answer
    _, error = job("bundle", follower, "-o", str(tmp_path / "bundle"))
    assert error is None
    assert b"unheard-of" in (tmp_path / "bundle" / "transcript.ndjson").read_bytes()
    steps = check_receipt(
        *((tmp_path / "bundle" / name).read_bytes() for name in ("receipt.json",)),
        report=(tmp_path / "bundle" / "report.json").read_bytes(),
        output=b"unheard-of",
    )
    assert Outcome.FAILED not in {step.outcome for step in steps}
