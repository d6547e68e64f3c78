"""The result backend beside Redis: what waiting for many results costs the ledger."""

from __future__ import annotations

import dataclasses
import datetime as dt
import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
import sqlalchemy as sa
from celery.backends.redis import ResultConsumer  # type: ignore[attr-defined]

from ledger import State, jobs, sessions
from tasks import app, canvas, ledger_id
from tasks.client import Client
from tests.integration.ledger.support import commit, new_job, open_session
from tests.stack import Worker, wait_for

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

    def begin(_conn: Any) -> None:
        told.append("BEGIN")

    engine = client.ledger._reader
    sa.event.listen(engine, "before_cursor_execute", statement)
    sa.event.listen(engine, "begin", begin)
    yield told
    sa.event.remove(engine, "begin", begin)
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


@pytest.mark.filterwarnings("ignore:.*deprecated setex:DeprecationWarning")  # Celery's own
@pytest.mark.parametrize("expires", [None, 0])
@pytest.mark.parametrize(
    "columns",
    [
        {},
        {"group_id": "a-group", "group_index": 3, "root_id": "a-root", "parent_id": "a-parent"},
        {"canvas": {"errbacks": [{"task": "other.task"}], "reply_to": "somebody"}},
    ],
)
def test_copies_that_are_stored_together_are_celerys_own(
    client: Client, monkeypatch: pytest.MonkeyPatch, columns: dict[str, Any], expires: int | None
) -> None:
    """Member by member, but for the moment; they last as long, and are told on the same channel."""
    if expires is not None:
        monkeypatch.setattr(app.backend, "expires", expires)
    with client.ledger.write() as tx:
        entered = jobs.submit(tx, [new_job(**columns) for _ in range(3)])
    results = {
        job.id: {"job_id": job.id, "answer": 'é "x" \n', "confidence": 0.5, "review": False}
        for job in entered
    }
    done = [dataclasses.replace(job, state=State.SUCCEEDED) for job in entered]
    assert all(canvas.sets_nothing_off(job) for job in done)

    with told(client) as heard:
        for job in done:
            canvas.continue_from(app, client, job, result=results[job.id])
        own = [stored(job.id) for job in done]
        for job in done:
            app.backend.delete(app.backend.get_key_for_task(job.id))
        canvas.tell(app, [(job, results[job.id]) for job in done])
        together = [stored(job.id) for job in done]
        on_channels = heard()

    assert [list(copy) for copy, _ in own] == [list(copy) for copy, _ in together]
    moments = [copy.pop("date_done") for copy, _ in [*own, *together]]
    assert [copy for copy, _ in own] == [copy for copy, _ in together]
    assert all(dt.datetime.fromisoformat(moment).tzinfo for moment in moments)
    lasts = -1 if expires == 0 else client.settings.timing.result_ttl_s
    assert all(lasts - 5 <= left <= lasts for _, left in [*own, *together])
    assert [job.id for job in done] * 2 == [one["task_id"] for one in on_channels]
    assert on_channels[:3] == [
        {**one, "date_done": on_channels[n]["date_done"]} for n, one in enumerate(on_channels[3:])
    ]
    assert [results[job.id] for job in done] == [
        app.AsyncResult(job.id).get(timeout=1) for job in done
    ]


def test_many_results_are_told_and_none_is_mixed_up(
    start: Callable[..., Worker], client: Client
) -> None:
    """Those that succeed are told together, those that fail beside them by themselves."""
    rules = [
        {"marker": "BAD", "do": "error", "code": "NO", "retriable": False},
        {"answers": [{"text": "yes"}]},
    ]
    start(script={"rules": rules})
    fields = [{"prompt": "BAD" if number % 10 == 0 else "x"} for number in range(60)]
    tickets = client.submit_many(
        [{"model": "fake-a", "policy": "fixed:1", **one} for one in fields]
    )
    results = [app.AsyncResult(ticket.job_id) for ticket in tickets]

    for one, asked in zip(results, fields, strict=True):
        if asked["prompt"] == "BAD":
            with pytest.raises(Exception, match="NO"):
                one.get(timeout=20)
        else:
            assert (one.id, "yes") == tuple(
                one.get(timeout=20)[name] for name in ("job_id", "answer")
            )

    wait_for(lambda: all(client.job(one.id).delivered_at for one in results))
    assert all(stored(one.id) for one in results)


def stored(task_id: str) -> tuple[dict[str, Any], int]:
    """The copy that Redis keeps of a task's result, and how many seconds it lasts."""
    key = app.backend.get_key_for_task(task_id)
    redis = app.backend.client
    return json.loads(redis.get(key)), redis.ttl(key)


@contextmanager
def told(client: Client) -> Iterator[Callable[[], list[Any]]]:
    """What is told of results on Redis's channels meanwhile."""
    with ledger_id.connect(client.settings) as redis, redis.pubsub() as channel:
        channel.psubscribe("celery-task-meta-*")
        assert "psubscribe" == wait_for(lambda: channel.get_message(timeout=1.0))["type"]
        yield lambda: [
            json.loads(heard["data"])
            for heard in iter(lambda: channel.get_message(timeout=0.2), None)
        ]
