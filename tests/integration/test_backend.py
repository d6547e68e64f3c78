"""The result backend beside Redis: what waiting for many results costs the ledger."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
import sqlalchemy as sa
from celery.backends.redis import ResultConsumer  # type: ignore[attr-defined]

from ledger import jobs, sessions
from tasks import app
from tasks.client import Client
from tests.integration.ledger.support import commit, new_job, open_session

RESULT = (
    b'{"job_id":"x","state":"succeeded","confidence":1.0,"k":3,"receipt":"sha256:0",'
    b'"review":false,"answer":"yes"}'
)


@contextmanager
def counted(client: Client) -> Iterator[list[str]]:
    """The statements that the ledger's readers run, BEGIN of a transaction among them."""
    told: list[str] = []

    def statement(_conn: Any, _cursor: Any, text: str, *_: Any) -> None:
        told.append(text)

    engine = client.ledger._reader
    sa.event.listen(engine, "before_cursor_execute", statement)
    yield told
    sa.event.remove(engine, "before_cursor_execute", statement)


@pytest.mark.parametrize(("pending", "batches"), [(10, 1), (1100, 3)])
def test_waiting_for_many_costs_a_few_statements(
    client: Client, monkeypatch: pytest.MonkeyPatch, pending: int, batches: int
) -> None:
    """Whatever their number, and what has ended is resolved all the same."""
    with client.ledger.write() as tx:
        session = open_session(tx, f"reader-{pending}")
        entered = jobs.submit(tx, [new_job() for _ in range(pending + 3)])
        done, cancelled, failed = (
            jobs.claim(tx, session=session, job_id=job.id, number=job.sent_number).job  # type: ignore[union-attr]
            for job in entered[:3]
        )
        jobs.fail(tx, job_id=failed.id, fence=failed.fence, error={"code": "X", "message": "no"})
        jobs.cancel(tx, job_id=cancelled.id, reason="asked")
        jobs.finish_cancel(tx, job_id=cancelled.id, fence=cancelled.fence)
    assert commit(client.ledger, done, result=RESULT)
    with client.ledger.write() as tx:
        sessions.close(tx, session, crashed=False, reason="stopped")
    consumer = app.backend.result_consumer
    ids = [job.id for job in entered]
    told: dict[str, Any] = {}
    monkeypatch.setattr(ResultConsumer, "drain_events", lambda *_, **__: None)
    keys = {app.backend.get_key_for_task(job_id) for job_id in ids}
    monkeypatch.setattr(consumer, "subscribed_to", keys)
    monkeypatch.setattr(consumer, "_looked", 0.0)
    monkeypatch.setattr(
        consumer, "on_state_change", lambda meta, _: told.__setitem__(meta["task_id"], meta)
    )

    with counted(client) as statements:
        consumer.drain_events(timeout=0)

    assert 1 == statements.count("BEGIN")
    # One for each batch's rows, and one for the results of those that have any.
    assert batches + 1 == len(statements) - 1
    assert {done.id: "SUCCESS", cancelled.id: "REVOKED", failed.id: "FAILURE"} == {
        task_id: meta["status"] for task_id, meta in told.items()
    }
    assert "yes" == told[done.id]["result"]["answer"]
