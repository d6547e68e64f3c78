"""`honeyflow receipts show|verify|export`, on the receipts of real workers."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from cli.main import app as commands
from ledger import logs
from tasks import exporting
from tests.chaos.harness import YES, Cluster
from tests.chaos.workers import ChaosWorker
from tests.stack import wait_for

WAITS = "a verdict of a person (corrected) waits for its place in the log\n"


def command(*words: str) -> tuple[str, Any]:
    """What a `honeyflow receipts` command prints, and the error it ends with."""
    told = CliRunner().invoke(commands, ["receipts", *words])
    return told.stdout, told.exception if told.exit_code else None


@pytest.fixture
def worker(place: Cluster) -> ChaosWorker:
    """A worker that answers."""
    place.script(YES)
    return place.start_worker()


@pytest.fixture
def job_id(place: Cluster, worker: ChaosWorker) -> str:
    """A job that it has answered."""
    (answered,) = place.submit(1)
    place.wait_all([answered])
    return answered


def correct(job_id: str, folder: Path) -> None:
    """Say that the answer is another."""
    text = folder / "severe.txt"
    text.write_bytes(b"severe")
    _, error = command("correct", job_id, "--verdict", "corrected", "--output", str(text))
    assert error is None


def test_a_verdict_that_waits_for_its_place_refutes_nothing(
    place: Cluster, worker: ChaosWorker, job_id: str, tmp_path: Path
) -> None:
    """What is proved of the receipt holds as before, and that somebody has decided is told."""
    assert command("seal", worker.name)[1] is None
    wait_for(lambda: _sealed(place) == 1)
    before, _ = command("verify", job_id)
    assert "logged as leaf 0" in before

    correct(job_id, tmp_path)

    assert (before + WAITS, None) == command("verify", job_id)
    assert command("show", job_id)[0].endswith(WAITS)
    printed, error = command("export", job_id, "-o", str(tmp_path / "out"), "--report")
    assert (None, False) == (error, exporting.CORRECTED in printed)
    assert 0 == worker.stop()
    for asked in ("verify", "show"):
        printed, error = command(asked, job_id)
        assert (None, False) == (error, WAITS in printed)
    assert "corrected by a person" in command("verify", job_id)[0]


def test_an_export_keeps_texts_for_its_owner_and_writes_over_nothing(
    worker: ChaosWorker, job_id: str, tmp_path: Path
) -> None:
    """The report, the answer and the correction are texts; what is in the way is told."""
    correct(job_id, tmp_path)
    assert 0 == worker.stop()
    folder = tmp_path / "out"
    words = ("export", job_id, "--report", "-o")

    printed, error = command(*words, str(folder), "--batch")

    assert error is None
    assert sorted(printed.splitlines()) == sorted(str(file) for file in folder.iterdir())
    texts = {file.name for file in folder.iterdir() if not file.stat().st_mode & 0o077}
    assert {exporting.REPORT, exporting.OUTPUT, exporting.CORRECTED} == texts
    assert {"batch.json", exporting.PROOF} <= {file.name for file in folder.iterdir()}
    assert command(*words, str(folder))[1] is None
    (folder / exporting.OUTPUT).write_bytes(b"mild")
    assert "EXPORT_EXISTS" == command(*words, str(folder))[1].code
    assert b"mild" == (folder / exporting.OUTPUT).read_bytes()
    assert "EXPORT_UNWRITABLE" == command(*words, str(folder / exporting.OUTPUT))[1].code


def _sealed(place: Cluster) -> int:
    with place.client.ledger.read() as tx:
        return sum(log.sealed_size for log in logs.list(tx))
