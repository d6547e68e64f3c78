"""Requests that cannot be run, kept as failed jobs: whoever waits for them learns why."""

from __future__ import annotations

import json
import uuid
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from ledger import Job, NewJob, jobs
from monitoring.trace_context import TraceContext
from routing import INGEST
from tasks.errors import HoneyflowError

if TYPE_CHECKING:
    from tasks.client import Client


def enter(
    client: Client,
    *,
    job_id: str,
    fields: Mapping[str, Any],
    error: HoneyflowError,
    **columns: Any,
) -> Job:
    """Enter a request as a job that has failed with this error; `created` tells if it is new."""
    model = fields.get("model")
    known = isinstance(model, str) and model.isprintable() and 0 < len(model) <= 64
    draft = NewJob(
        id=str(uuid.UUID(job_id)),
        model=str(model) if known else "unknown",
        queue=INGEST,
        request=json.dumps(fields, ensure_ascii=False, default=str).encode(errors="replace"),
        policy="dynamic",
        traceparent=str(TraceContext.of_caller() or TraceContext.new()),
        **columns,
    )
    with client.ledger.write() as tx:
        return jobs.refuse(tx, draft, error.to_dict())
