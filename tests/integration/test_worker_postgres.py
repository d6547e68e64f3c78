"""The same worker on a PostgreSQL ledger: a fleet's store."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.postgres import PostgresServer, postgres_server
from tests.stack import Worker, running_redis, write_config, write_script

__all__ = ["postgres_server"]

SCRIPT = """
from celery import chord
from tasks import infer, infer_many, wiring
many = infer_many([{"model": "fake-a", "prompt": f"{i}"} for i in range(30)])
whole = chord([infer.s(model="fake-a", prompt=f"p{i}") for i in range(4)],
              infer.s(model="fake-a", prompt="all ${previous}"))()
print(len(many.get(timeout=40)), whole.get(timeout=40)["answer"], wiring.client().ledger.dialect)
"""


@pytest.fixture
def home(postgres_server: PostgresServer, tmp_path: Path) -> Iterator[Path]:
    """A home whose ledger is a database of its own, with Redis running."""
    write_config(tmp_path, ledger_url=postgres_server.url(postgres_server.create_database()))
    write_script(tmp_path, "fake-a", {"rules": [{"answers": [{"text": "yes"}], "token_s": 0.01}]})
    with running_redis(tmp_path / "data" / "redis"):
        yield tmp_path


def test_groups_and_chords_complete_on_postgresql(home: Path) -> None:
    """Two workers share the queue of one model; one is killed in between."""
    first = Worker(home, ["--device", "cpu", "--model", "fake-a", "-n", "one@testnode"], {})
    second = Worker(home, ["--device", "cpu", "--model", "fake-a", "-n", "two@testnode"], {})
    try:
        first.wait_ready()
        second.wait_ready()
        asking = subprocess.Popen(
            [sys.executable, "-c", SCRIPT],
            env={**os.environ, "HONEYFLOW_CONFIG": str(home / "honeyflow.toml")},
            stdout=subprocess.PIPE,
            text=True,
        )
        first.kill()
        told, _ = asking.communicate(timeout=90)
    finally:
        first.kill()
        second.kill()
        print(second.text()[-4000:])

    assert "30 yes postgresql\n" == told
