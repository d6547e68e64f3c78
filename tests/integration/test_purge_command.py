"""`honeyflow job purge` erases a job's texts in the ledger and in Redis, and keeps its receipt."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from cli.main import app as commands
from ledger import receipts
from proofs import Outcome, Receipt, check_receipt
from tasks import app, infer, stream
from tasks.client import Client
from tasks.errors import BrokerUnavailable, HoneyflowError, JobNotFound, JobUnanswered
from tasks.purge import purge
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
