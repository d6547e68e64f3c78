"""The tasks people call. They run in the worker's pool, as coroutines beside one engine."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from celery import Task, uuid
from celery.result import AsyncResult, GroupResult

from tasks.celery import app
from tasks.messages import INFER


class InferTask(Task):  # type: ignore[type-arg]
    """A task whose body is the worker's engine; its arguments are a request (payload v1)."""

    abstract = True
    Strategy = "tasks.ingest:strategy"
    typing = False
    ignore_result = False
    track_started = False
    acks_late = False
    max_retries = None
    send_events = True


@app.task(name=INFER, base=InferTask)
def infer(*args: Any, **request: Any) -> Any:
    """Ask a model and wait for the answer; `.delay` and `apply_async` do not wait.

    Keyword arguments are the fields of `tasks.payloads.Request`. In a chain or as a chord's body
    the results before it arrive as the one positional argument, and `${previous}` in the prompt
    stands for their answers; in an error callback (`link_error`) for the failure's sentence.

    Of `apply_async`'s options `time_limit` and `soft_time_limit` are the run timeout, the shorter
    one if both are given, and `queue="gpu.<node>.<gpu>"` runs the job on that GPU's worker alone.

    Returns:
        `{job_id, state, confidence, k, receipt, review, answer}`, the answer as one string.

    Raises:
        tasks.errors.HoneyflowError: with a code, a sentence and what to do.
    """
    return infer.apply_async(args, request).get()


def infer_many(
    requests: Iterable[Mapping[str, Any]], *, priority: int | None = None
) -> GroupResult:
    """Submit many requests in one transaction; `.get()` gives their results in order.

    Raises:
        tasks.errors.RequestInvalid: names the first request that is wrong; none was entered.
    """
    from tasks import wiring

    client = wiring.client()
    tickets = client.submit_many(requests, priority=3 if priority is None else priority)
    results: list[AsyncResult[Any]] = [
        AsyncResult(ticket.job_id, app=app, task_name=INFER) for ticket in tickets
    ]
    return GroupResult(uuid(), results, app=app)
