"""The passwords of Redis and of the ledger are told nowhere."""

from __future__ import annotations

import os
import re
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
import redis

from tasks import redis_server
from tests.commands import run_all
from tests.postgres import PostgresServer, postgres_server
from tests.stack import BIN, Worker, is_served, start_up, wait_for, write_config, write_script

__all__ = ["postgres_server"]
BROKER_SECRET, LEDGER_SECRET = "hunter2-broker", "hunter2-ledger"


def run(home: Path, *words: str) -> str:
    """All that a command says."""
    told = subprocess.run(
        [str(BIN / words[0]), *words[1:]],
        env={**os.environ, "HONEYFLOW_CONFIG": str(home / "honeyflow.toml")},
        cwd=home,
        capture_output=True,
        text=True,
        timeout=60,
    )
    return told.stdout + told.stderr


@pytest.fixture(params=["port", "socket"])
def home(
    request: pytest.FixtureRequest, postgres_server: PostgresServer, tmp_path: Path
) -> Iterator[Path]:
    """A home whose Redis and whose ledger are reached with passwords."""
    database = postgres_server.url(postgres_server.create_database())
    ledger_url = re.sub(r"//([^@:]+)@", rf"//\1:{LEDGER_SECRET}@", database)
    assert LEDGER_SECRET in ledger_url
    directory = tmp_path / "data" / "redis"
    port = 0 if request.param == "port" else None
    server = redis_server.start_detached(directory, port=port).address
    with redis.Redis.from_url(server.client_url) as client:
        client.acl_setuser(
            "bee", enabled=True, passwords=[f"+{BROKER_SECRET}"], categories=["+@all"],
            keys=["*"], channels=["*"],
        )  # fmt: skip
    redis_url = server.url.replace("://", f"://bee:{BROKER_SECRET}@")
    write_config(
        tmp_path,
        ledger_url=ledger_url,
        redis_url=f'"{redis_url}"',
        cpu_model_assignments='["fake-a"]',
    )
    write_script(tmp_path, "fake-a", {"rules": [{"answers": [{"text": "yes"}]}]})
    yield tmp_path
    redis_server.stop_detached(directory)


def test_nothing_that_people_read_holds_a_password(home: Path) -> None:
    """A worker's log, Celery's remote control and report, the doctor, and errors."""
    worker = Worker(home, ["--device", "cpu", "--model", "fake-a"], {})
    try:
        worker.wait_ready()
        answered = run(home, "honeyflow", "infer", "fake-a", "who?", "--timeout", "20")
        commands = (
            "celery -A tasks inspect conf",
            "celery -A tasks inspect stats",
            "celery -A tasks report",
            "honeyflow doctor",
            "honeyflow doctor --json",
        )
        told = dict(zip(commands, run_all(home, *commands), strict=True))
        redis_server.stop_detached(home / "data" / "redis")
        wait_for(lambda: "Connection to broker lost" in worker.text() or None)
        away = ("honeyflow doctor", "honeyflow infer fake-a x --timeout 1")
        for command, said in zip(away, run_all(home, *away), strict=True):
            told[f"{command}, Redis away"] = said
    finally:
        worker.kill()
    told["log"] = worker.text()

    assert "yes" in answered, answered
    conf, stats, report, doctor, _ = (told[command] for command in commands)
    assert "ledger+" in conf and "broker_url" in conf, conf
    assert '"broker"' in stats, stats
    assert "broker_url" in report, report
    assert "postgresql" in doctor
    assert "BROKER" in told[f"{away[0]}, Redis away"] or "bad" in told[f"{away[0]}, Redis away"]
    assert {} == {name: text for name, text in told.items() if "hunter2" in text}


def test_up_tells_both_places_without_a_password(home: Path) -> None:
    """The two lines that say where things are, and the logs of its children after them."""
    up = start_up(home, env={"HONEYFLOW_CONFIG": str(home / "honeyflow.toml")})
    try:
        wait_for(lambda: is_served(home), timeout=60)
        answered = run(home, "honeyflow", "infer", "fake-a", "who?", "--timeout", "30")
    finally:
        up.send_signal(signal.SIGINT)
        output, _ = up.communicate(timeout=60)

    assert "yes" in answered, answered + output
    assert re.search(r"^Redis   redis", output, re.MULTILINE), output
    assert re.search(r"^ledger  postgresql\+psycopg://\w+@/test_", output, re.MULTILINE), output
    assert "hunter2" not in output
