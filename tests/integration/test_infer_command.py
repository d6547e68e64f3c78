"""`honeyflow infer --stream`: its timeout, and what it does when Redis goes away."""

from __future__ import annotations

import os
import re
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from ledger import Job, Ledger, jobs
from tasks import redis_server
from tests.stack import BIN, Worker, running_redis, wait_for, write_config, write_script

WORDS = "all of these words come slowly one after the other until the very last one"
SLOW = {"rules": [{"answers": [{"text": WORDS}], "token_s": 0.25}]}


@pytest.fixture
def home(tmp_path: Path) -> Iterator[Path]:
    """A home of this test's own, with Redis and a worker that answers in about four seconds."""
    write_config(tmp_path)
    write_script(tmp_path, "fake-a", SLOW)
    with running_redis(tmp_path / "data" / "redis"):
        worker = Worker(tmp_path, ["--device", "cpu", "--model", "fake-a"], {})
        try:
            worker.wait_ready()
            yield tmp_path
        finally:
            worker.kill()
            print(worker.text()[-6000:])


def infer(home: Path, *words: str) -> subprocess.Popen[str]:
    """Start the command; what it says on standard error goes to a file."""
    with (home / "stderr").open("w") as stderr:
        return subprocess.Popen(
            [str(BIN / "honeyflow"), "infer", "fake-a", "who?", "--stream", *words],
            env={**os.environ, "HONEYFLOW_CONFIG": str(home / "honeyflow.toml")},
            cwd=home,
            stdout=subprocess.PIPE,
            stderr=stderr,
            text=True,
        )


def job_in(home: Path, job_id: str) -> Job:
    """The job's row."""
    with Ledger.open(f"sqlite:///{home}/data/ledger.db") as ledger, ledger.read() as tx:
        job = jobs.get(tx, job_id)
    assert job is not None
    return job


def test_the_timeout_holds_while_tokens_flow(home: Path) -> None:
    """Exit code 124 on time; the job goes on, and its id is told."""
    command = infer(home, "--timeout", "1.5")
    wait_for(lambda: "all of" in (home / "stderr").read_text())
    began = time.monotonic()

    command.communicate(timeout=20)

    told = (home / "stderr").read_text()
    assert (124, True) == (command.returncode, "WAIT_TIMEOUT" in told), told
    assert time.monotonic() - began < 4
    assert "1.5 s" in told
    job_id = re.search(r"Job ([0-9a-f-]{36}) has not ended", told)
    assert job_id is not None, told
    wait_for(lambda: job_in(home, job_id[1]).state == "succeeded")


def test_the_answer_comes_although_redis_ends_midway(home: Path) -> None:
    """The tokens stop, and the ledger has the answer."""
    command = infer(home, "--timeout", "60")
    wait_for(lambda: "all of" in (home / "stderr").read_text())

    redis_server.stop_detached(home / "data" / "redis")
    answer, _ = command.communicate(timeout=60)

    told = (home / "stderr").read_text()
    assert (0, WORDS) == (command.returncode, answer.strip()), told
    assert "live events stopped" in told
    assert "Traceback" not in told
