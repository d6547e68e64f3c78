"""`revoke` as Celery's programs call it: the ledger is told, or whoever asks is."""

from __future__ import annotations

import base64
import json
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from celery.result import AsyncResult

from ledger import sqlite
from tasks import infer, ledger_id, wiring
from tasks.celery import app
from tasks.client import Client
from tasks.errors import LedgerAway, RequestInvalid
from tests.chaos.harness import Cluster
from tests.integration.scripts import state_of
from tests.postgres import PostgresServer, postgres_server
from tests.stack import wait_for

__all__ = ["postgres_server"]

FOREIGN = ["no-uuid", "a\0b", "1b1f2c1e-52a4-4d39-9f6e-2f6a1c1d7e55"]


@pytest.fixture
def told(client: Client) -> Iterator[Callable[[], list[Any]]]:
    """What workers are told to revoke, as it comes to them over Redis."""
    found: list[Any] = []
    with ledger_id.connect(client.settings) as redis, redis.pubsub() as channel:
        channel.psubscribe("*.pidbox")
        assert "psubscribe" == wait_for(lambda: channel.get_message(timeout=1.0))["type"]

        def listen() -> list[Any]:
            while heard := channel.get_message(ignore_subscribe_messages=True, timeout=0.2):
                command = json.loads(base64.b64decode(json.loads(heard["data"])["body"]))
                if command["method"] == "revoke":
                    found.append(command["arguments"]["task_id"])
            return found

        yield listen


@pytest.fixture
def impatient(client: Client, monkeypatch: pytest.MonkeyPatch) -> Iterator[Client]:
    """The client of this process, which waits half a second for the ledger's write lock."""
    monkeypatch.setattr(sqlite, "BUSY_TIMEOUT_S", 0.5)
    wiring.client.cache_clear()
    made = wiring.client()
    yield made
    wiring.client.cache_clear()
    made.ledger.close()


@contextmanager
def locked(home: Path) -> Iterator[None]:
    """Hold the ledger's one write lock, so that nobody else can write."""
    connection = sqlite3.connect(home / "data" / "ledger.db", isolation_level=None)
    connection.execute("BEGIN IMMEDIATE")
    try:
        yield
    finally:
        connection.execute("ROLLBACK")
        connection.close()


def test_a_revoke_that_the_ledger_never_heard_of_is_an_error(
    impatient: Client, home: Path, told: Callable[[], list[Any]]
) -> None:
    """Typed, and one to try again; the workers were told all the same."""
    job = infer.delay(model="fake-b", prompt="x")

    with locked(home), pytest.raises(LedgerAway) as caught:
        job.revoke()

    assert caught.value.retriable
    assert [job.id] == told()
    assert ("queued", False) == (
        state_of(impatient, job.id),
        impatient.job(job.id).cancel_requested,
    )
    job.revoke()
    assert "cancelled" == state_of(impatient, job.id)


def test_of_many_revokes_none_is_left_out_for_anothers_sake(
    client: Client, told: Callable[[], list[Any]]
) -> None:
    """What is no job of ours stands between two that are."""
    first, last = (infer.delay(model="fake-b", prompt=f"{number}") for number in range(2))
    named = [first.id, *FOREIGN, last.id]

    app.control.revoke(named)

    assert {"cancelled"} == {state_of(client, first.id), state_of(client, last.id)}
    assert [named] == told()


@pytest.mark.parametrize("task_id", FOREIGN)
def test_a_task_that_is_no_job_is_celerys_alone(
    client: Client, told: Callable[[], list[Any]], task_id: str
) -> None:
    """No error, whatever its id holds; the workers are told."""
    AsyncResult(task_id, app=app).revoke()
    assert [task_id] == told()


def test_an_id_that_postgresql_cannot_hold_is_celerys_alone(
    tmp_path: Path, postgres_server: PostgresServer
) -> None:
    """It says so before it looks; another store only finds nothing."""
    url = postgres_server.url(postgres_server.create_database())
    home = Cluster(tmp_path / "home", ledger_url=url)
    home.settled = True
    try:
        home.client.app.AsyncResult("a\0b").revoke()
        with pytest.raises(RequestInvalid, match="INVALID_VALUE"):
            home.client.cancel("a\0b")
    finally:
        home.close()
