"""A ledger of the version before, with everything in it, becomes one of this version."""

from __future__ import annotations

import uuid
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from alembic import command
from alembic.config import Config

from ledger import (
    ChordState,
    Claim,
    Ledger,
    LedgerNotMigrated,
    SampleRow,
    State,
    bodies,
    changes,
    chords,
    jobs,
    samples,
    schema,
    sessions,
    sqlite,
    workers,
)
from tests.integration.ledger.support import begin, commit, new_job, open_session, take
from tests.postgres import PostgresServer

REQUEST = b'{"prompt":"hello"}'
QUEUED, RUNNING = str(uuid.uuid4()), str(uuid.uuid4())


@pytest.fixture(params=["sqlite", "postgresql"])
def old_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """A ledger at r0001, as that version wrote it."""
    if request.param == "sqlite":
        path = tmp_path / "old.db"
        sqlite.create_file(path)
        url, engine = f"sqlite:///{path}", sqlite.engine(path, readonly=False)
    else:
        server: PostgresServer = request.getfixturevalue("postgres_server")
        url = server.url(server.create_database())
        engine = sa.create_engine(url)
    with engine.begin() as connection:
        config = Config()
        config.set_main_option("script_location", str(Path(schema.__file__).parent / "migrations"))
        config.attributes["connection"] = connection
        command.upgrade(config, "r0001")
        fill(connection)
    engine.dispose()
    return url


def fill(connection: sa.Connection) -> None:
    """What a client, a worker and a chord of that version left."""
    digest = bodies.digest_of(REQUEST)
    stored = {"digest": digest, "media_type": bodies.JSON, "size": len(REQUEST), "data": REQUEST}
    insert(connection, "bodies", created_at=1.0, **stored)
    insert(
        connection,
        "sessions",
        id="old-session",
        worker="worker-1",
        node="node-1",
        pid=4711,
        pid_started=1.0,
        pid_namespace="",
        boot_id="boot-1",
        lease_until=5.0,
        opened_at=1.0,
        renewed_at=1.0,
    )
    old_job(connection, QUEUED, state="queued", step=1, fence=0, queued_at=1.0)
    held = {"session": "old-session", "previous": "queued", "claimed_at": 2.0}
    old_job(connection, RUNNING, state="running", step=2, fence=1, queued_at=1.0, **held)
    moves = ((QUEUED, 1, None, "queued"), (RUNNING, 1, None, "queued"))
    for seq, (job_id, step, source, target) in enumerate(
        (*moves, (RUNNING, 2, "queued", "running")), start=1
    ):
        moved = {"step": step, "source": source, "target": target, "fence": step - 1}
        insert(connection, "changes", seq=seq, at=1.0, job_id=job_id, **moved)
    insert(
        connection,
        "samples",
        job_id=RUNNING,
        index=0,
        fence=1,
        seed="7",
        text_digest=digest,
        prompt_tokens=1,
        completion_tokens=1,
        valid=True,
        duration_ms=1,
        created_at=2.0,
    )
    insert(
        connection, "workers", worker="worker-1", state="ready", facts={}, seen_at=1.0, drain=True
    )
    insert(connection, "chords", group_id="g", size=0, claimed_at=1e12)


def old_job(connection: sa.Connection, job_id: str, **columns: Any) -> None:
    """A job as r0001 wrote it."""
    insert(
        connection,
        "jobs",
        id=job_id,
        tries=0,
        crashes=0,
        suspect=False,
        model="queenbee-spine",
        queue="model.queenbee-spine",
        priority=3,
        policy="dynamic",
        origin="client",
        stream=False,
        run_timeout=300.0,
        cancel_requested=False,
        sent_number=1,
        created_at=1.0,
        delivery_tries=0,
        request_digest=bodies.digest_of(REQUEST),
        review=False,
        **columns,
    )


def insert(connection: sa.Connection, table: str, **columns: Any) -> None:
    """One row, by the names of its columns alone."""
    there = sa.Table(table, sa.MetaData(), autoload_with=connection)
    connection.execute(sa.insert(there), columns)


def test_an_old_ledger_is_upgraded_with_all_that_is_in_it(old_url: str) -> None:
    """A client waits for that; then every row reads, and goes on living."""
    with pytest.raises(LedgerNotMigrated, match="r0001"):
        Ledger.open(old_url)
    with Ledger.open(old_url, migrate=True) as ledger:
        with ledger.write() as tx:
            queued, running = jobs.get_many(tx, [QUEUED, RUNNING])
            for job in (queued, running):
                assert (None, False, None) == (job.promoted_at, job.dedupe, job.follows)
            assert (State.QUEUED, State.RUNNING) == (queued.state, running.state)
            assert jobs.request(tx, QUEUED) == REQUEST
            assert len(changes.after(tx, 0)) == 3
            assert [SampleRow] == [type(row) for row in samples.of(tx, RUNNING)]
            (worker,) = workers.list(tx)
            assert (True, False) == (worker.drain, worker.stop)
            assert ["old-session"] == [session.id for session in sessions.lapsed(tx)]
            assert chords.take(tx, "g", session="s") == ChordState.TAKEN
            freed = sessions.close(tx, "old-session", crashed=False, reason="lost")
            assert [RUNNING] == [job.id for job in freed]
            assert [QUEUED] == [job.id for job in jobs.promote(tx, 3600)]
        session = begin(ledger)
        for job_id in (QUEUED, RUNNING):
            assert commit(ledger, take(ledger, job_id, session))
    with Ledger.open(old_url) as ledger, ledger.read() as tx:
        assert jobs.counts(tx) == {("queenbee-spine", State.SUCCEEDED): 2}


def test_a_worker_that_had_it_open_goes_on_writing(old_url: str) -> None:
    """It names only the columns that it knows."""
    job_id = str(uuid.uuid4())
    with Ledger.open(old_url, migrate=True) as ledger, ledger.write() as tx:
        old_job(tx._connection, job_id, state="queued", step=1, fence=0, queued_at=1.0)
        told = {"worker": "worker-0", "state": "ready", "facts": {}, "drain": False}
        insert(tx._connection, "workers", **told)
        insert(tx._connection, "chords", group_id="h", size=0)
        assert [False, False] == [row.stop for row in workers.list(tx)]
        assert chords.take(tx, "h") == ChordState.MINE
        (job,) = jobs.submit(tx, [new_job(dedupe=True)])
        assert job.follows is None
        taken = jobs.claim(tx, session=open_session(tx), job_id=job_id, number=1)
        assert isinstance(taken, Claim)
