"""Messages of stock senders: an app that has only the broker sends `tasks.infer` with arguments.

Any worker enters such a message in the ledger, with the canvas it carries, acks it, and sends the
job's own message to the model's queue. A request that is wrong ends as a failed job, so that
whoever waits is told.
"""

from __future__ import annotations

import json
import logging
import uuid
from typing import Any

from celery.worker import state as worker_state
from celery.worker.request import Request

from ledger import Job, NewJob, jobs
from routing import INGEST
from tasks import canvas, publish
from tasks.client import Client
from tasks.errors import HoneyflowError

logger = logging.getLogger(__name__)


def enter(client: Client, request: Request) -> None:
    """Enter one stock message in the ledger and send its job on."""
    header = request.request_dict
    _, _, embed = request._payload  # type: ignore[attr-defined]
    columns: dict[str, Any] = {
        "job_id": request.id,
        "canvas": canvas.from_message(header, embed or {}),
        "group_id": header.get("group"),
        "group_index": header.get("group_index"),
        "root_id": header.get("root_id"),
        "parent_id": header.get("parent_id"),
    }
    app = client.app
    try:
        draft = client.draft(
            canvas.fill_in(request.kwargs, request.args),
            priority=_priority(header),
            delay_s=canvas.seconds_until(app, header.get("eta"), "eta"),
            expires_s=canvas.seconds_until(app, header.get("expires"), "expires"),
            run_timeout_s=(header.get("timelimit") or [None])[0],
            origin="message",
            **columns,
        )
    except HoneyflowError as error:
        _refuse(client, request, columns, error)
        return
    with client.ledger.write() as tx:
        entered = jobs.submit(tx, [draft])
    _settle(client, request, [job for job in entered if job.state == "queued"])


def send_on(client: Client, request: Request) -> None:
    """Send a job's message again, to its own queue: it came to a worker without an engine."""
    job = client.job(request.id)
    _settle(client, request, [job] if job.state == "queued" else [])


def _refuse(
    client: Client, request: Request, columns: dict[str, Any], error: HoneyflowError
) -> None:
    try:
        job_id = str(uuid.UUID(request.id))
    except ValueError:
        logger.warning("a message with the id %.80r is dropped: not a UUID", request.id)
        _settle(client, request, [])
        return
    model = request.kwargs.get("model")
    raw = json.dumps(request.kwargs, ensure_ascii=False, default=str).encode(errors="replace")
    draft = NewJob(
        id=job_id,
        model=model if isinstance(model, str) and 0 < len(model) <= 64 else "unknown",
        queue=INGEST,
        request=raw,
        policy="dynamic",
        profile=None,
        profile_digest=None,
        not_before=None,
        deadline=None,
        origin="message",
        canvas=columns["canvas"],
        group_id=columns["group_id"],
        group_index=columns["group_index"],
        root_id=columns["root_id"],
        parent_id=columns["parent_id"],
    )
    with client.ledger.write() as tx:
        job = jobs.refuse(tx, draft, error.to_dict())
    logger.info("job %s was refused: %s", job_id, error.code)
    canvas.continue_from(client.app, client, job)
    with client.ledger.write() as tx:
        jobs.mark_delivered(tx, [job.id])
    _settle(client, request, [])


def _settle(client: Client, request: Request, queued: list[Job]) -> None:
    """Send what is due, then ack: in the other order a crash in between would wait for a sweep."""
    publish.send(client.app, queued, ledger_uuid=client.ledger.uuid)
    request.acknowledge()
    worker_state.task_ready(request)


def _priority(header: dict[str, Any]) -> int:
    given = (header.get("properties") or {}).get("priority")
    # kombu labels what nobody labelled with 0, the priority of interactive work.
    return given or 3
