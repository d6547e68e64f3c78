"""Messages of stock senders: an app that has only the broker sends `tasks.infer` with arguments.

Any worker enters such a message in the ledger, with the canvas it carries, acks it, and sends the
job's own message to the model's queue. Its times become columns: `strategy` takes them out of the
message before Celery would hold it back in memory. A request that is wrong ends as a failed job, so
that whoever waits is told; what cannot be entered at all is in `tasks/unentered.py`.
"""

from __future__ import annotations

import logging
import time
import uuid
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

from celery import Celery, Task
from celery.worker.request import Request
from celery.worker.strategy import default
from kombu.utils.json import object_hook

from ledger import InvalidValue, Job, LedgerError, NewJob, Transaction, jobs
from tasks import canvas, messages, publish, refusals, submission, unentered
from tasks.client import Client
from tasks.errors import HoneyflowError, JobNotFound
from tasks.messages import INFER

logger = logging.getLogger(__name__)
T = TypeVar("T")

TIMES = "honeyflow_times"
_LEDGER_PAUSES_S = (0.5, 1.0, 2.0, 4.0)


def strategy(task: Task, app: Celery, consumer: Any) -> Callable[..., Any]:  # type: ignore[type-arg]
    """Celery's own strategy, to which no message of a stock sender is early or late."""
    handle = default(task, app, consumer)

    def on_message(message: Any, *args: Any, **kwargs: Any) -> Any:
        headers = message.headers
        if messages.HEADER not in headers:
            _read_plainly(message)
            headers[TIMES] = {"eta": headers.get("eta"), "expires": headers.get("expires")}
            headers["eta"] = headers["expires"] = None
        return handle(message, *args, **kwargs)

    return on_message


def _read_plainly(message: Any) -> None:
    """Let a user's own words stand as they are, and read the canvas beside them as kombu does."""
    args, kwargs, embed = messages.plain_body(message)
    message._decoded_cache = (args, kwargs, _typed(embed))


def _typed(value: Any) -> Any:
    """Kombu's typed values as what they stand for; not inside the arguments of a job of ours."""
    if isinstance(value, list):
        return [_typed(one) for one in value]
    if not isinstance(value, dict):
        return value
    theirs = ("args", "kwargs") if value.get("task") == INFER else ()
    return object_hook({k: v if k in theirs else _typed(v) for k, v in value.items()})


def enter(client: Client, request: Request) -> None:
    """Enter one stock message in the ledger and send its job on."""
    unentered.account_for(_enter, client, request)


def send_on(client: Client, request: Request) -> None:
    """Send a job's message again, to its own queue: it came to a worker without an engine."""
    unentered.account_for(_send_on, client, request)


def _enter(client: Client, request: Request) -> None:
    try:
        draft = _draft(client, request)
    except Exception as error:
        if not unentered.is_its_own(error):
            raise
        _refuse(client, request, unentered.refusal_of(error))
        return
    entered = _write(client, lambda tx: jobs.submit(tx, [draft]))
    _settle(client, request, [job for job in entered if job.state == "queued"])


def _send_on(client: Client, request: Request) -> None:
    try:
        job = client.job(request.id)
    except JobNotFound as error:
        unentered.keep(request, "JOB_UNKNOWN", error.message)
        _settle(client, request, [])
    else:
        _settle(client, request, [job] if job.state == "queued" else [])


def _draft(client: Client, request: Request) -> NewJob:
    header = request.request_dict
    times = header.get(TIMES) or {}
    app = client.app
    return client.draft(
        canvas.fill_in(request.kwargs, request.args),
        job_id=request.id,
        priority=_priority(header),
        delay_s=canvas.seconds_until(app, times.get("eta"), "eta"),
        expires_s=canvas.seconds_until(app, times.get("expires"), "expires"),
        run_timeout_s=submission.time_limit(*(header.get("timelimit") or (None, None))),
        origin="message",
        **_columns(request),
    )


def _columns(request: Request) -> dict[str, Any]:
    header = request.request_dict
    _, _, embed = request._payload  # type: ignore[attr-defined]
    return {
        "canvas": canvas.from_message(header, embed or {}),
        "group_id": header.get("group"),
        "group_index": header.get("group_index"),
        "root_id": header.get("root_id"),
        "parent_id": header.get("parent_id"),
    }


def _refuse(client: Client, request: Request, refusal: HoneyflowError) -> None:
    """End a wrong request as a failed job.

    Raises:
        HoneyflowError: the refusal, where nothing of the message can be a job.
    """
    try:
        job_id = str(uuid.UUID(request.id))
        columns = _columns(request)
    except Exception as error:
        raise refusal from error
    fields = request.kwargs if isinstance(request.kwargs, Mapping) else {}
    try:
        job = refusals.enter(
            client, job_id=job_id, fields=fields, error=refusal, origin="message", **columns
        )
    except InvalidValue as error:
        raise refusal from error
    logger.info("job %s was refused: %s", job.id, refusal.code)
    try:
        canvas.continue_from(client.app, client, job)
        _write(client, lambda tx: jobs.mark_delivered(tx, [job.id]))
    except Exception as undelivered:
        # Not lost: the reconciler delivers what has no delivered_at.
        logger.warning("job %s is refused but not delivered yet: %s", job.id, undelivered)
    _settle(client, request, [])


def _write(client: Client, operation: Callable[[Transaction], T]) -> T:
    """Write, and try again for some seconds while the ledger is away."""
    for pause in (*_LEDGER_PAUSES_S, None):
        try:
            with client.ledger.write() as tx:
                return operation(tx)
        except LedgerError as error:
            if pause is None or not error.retriable:
                raise
            time.sleep(pause)
    raise AssertionError("the last try returns or raises")


def _settle(client: Client, request: Request, queued: list[Job]) -> None:
    """Send what is due, then ack: in the other order a crash in between would wait for a sweep."""
    publish.send(client.app, queued, ledger_uuid=client.ledger.uuid)
    unentered.let_go(request)


def _priority(header: dict[str, Any]) -> int:
    given = (header.get("properties") or {}).get("priority")
    # kombu labels what nobody labelled with 0, the priority of interactive work.
    return given or 3
