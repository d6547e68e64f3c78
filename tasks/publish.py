"""The message of a job: its id, which ledger it is in, and the number of this copy."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import redis
from celery import Celery
from kombu.exceptions import OperationalError

from executors.resampling import parse_policy
from ledger import Job
from tasks.messages import HEADER, INFER

VERSION = 1
_AT_ONCE = {"max_retries": 0}


def send(app: Celery, jobs: Sequence[Job], *, ledger_uuid: str) -> None:
    """Put each job's message into its queue.

    Raises:
        kombu.exceptions.OperationalError: the broker is away; the jobs stay queued in the ledger.
    """
    if not jobs:
        return
    with app.producer_pool.acquire(block=True) as producer:
        for job in jobs:
            message = app.amqp.as_task_v2(
                job.id,
                INFER,
                argsrepr=job.id,
                kwargsrepr="",
                root_id=job.root_id,
                parent_id=job.parent_id,
            )
            message.headers[HEADER] = header(job, ledger_uuid)
            _put(app, producer, message, queue=job.queue, priority=_priority(job))


def _put(app: Celery, producer: Any, message: Any, **place: Any) -> None:
    """Put a message into its queue, once more over a connection that turned out to be closed.

    A broker that stays silent is not asked twice: whoever submits is waiting.
    """
    for last in (False, True):
        try:
            app.amqp.send_task_message(
                producer, INFER, message, retry=True, retry_policy=_AT_ONCE, **place
            )
        except (OperationalError, redis.RedisError) as error:
            cause = error.__cause__ or error
            if last or not isinstance(cause, redis.ConnectionError):
                raise
        else:
            return


def header(job: Job, ledger_uuid: str) -> dict[str, Any]:
    """What a worker needs before it claims: the ledger, the copy's number, the first wave."""
    return {
        "v": VERSION,
        "ledger": ledger_uuid,
        "n": job.sent_number,
        "wave": parse_policy(job.policy).first_wave,
    }


def _priority(job: Job) -> int:
    """The job's own, or the first if it has waited for so long that it was promoted."""
    return job.priority if job.promoted_at is None else 0
