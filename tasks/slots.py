"""One message in the worker's hands: Celery's request, the job it names, and its coroutine."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable
from typing import Any

from celery.worker import state as worker_state
from celery.worker.request import Request

from tasks import messages
from tasks.runner import Ending, Hold

logger = logging.getLogger(__name__)


class Slot:
    """One job's place in the pool. Celery keeps only a weak reference; the host keeps this one.

    It is `claimed` once the ledger has given it the job, and `ended` when the run is over and only
    has to be told.
    """

    def __init__(
        self,
        *,
        pid: int,
        request: Request,
        accept: Callable[[int, float], None],
        terminate: Callable[[int], None],
    ) -> None:
        self.pid = pid
        self.request = request
        self.job_id: str = request.id
        header = request.request_dict.get(messages.HEADER) or {}
        self.number = int(header.get("n", 0))
        self.wave = int(header.get("wave", 0))
        self.ledger = header.get("ledger")
        self.priority = int((request.delivery_info or {}).get("priority") or 0)
        self.task: asyncio.Task[None] | None = None
        self.hold = Hold()
        self.claimed = False
        self.ended = False
        self.began = time.monotonic()
        self._accept = accept
        self._terminate = terminate

    def accept(self) -> None:
        """Tell Celery that the job was claimed: this acks the message."""
        self.began = time.monotonic()
        self._accept(self.pid, self.began)

    def drop(self) -> None:
        """Ack the message and forget it: somebody else has the job, or it has ended."""
        self.request.acknowledge()
        worker_state.task_ready(self.request)

    def put_back(self) -> None:
        """Put the message back into its queue, in front, for another worker."""
        self.request.reject(requeue=True)
        worker_state.task_ready(self.request)

    def finish(self, ending: Ending) -> None:
        """Free the slot and send the event that monitors expect."""
        runtime = time.monotonic() - self.began
        succeeded = ending.state == "succeeded"
        worker_state.task_ready(self.request, successful=succeeded)
        match ending.state:
            case "succeeded":
                self.request.send_event("task-succeeded", result=self.job_id, runtime=runtime)
            case "cancelled" | "expired":
                expired = ending.state == "expired"
                self.request.send_event(
                    "task-revoked", terminated=True, signum="TERM", expired=expired
                )
            case "failed" | "dead":
                code = (ending.error or {}).get("code", "INTERNAL")
                self.request.send_event("task-failed", exception=code, traceback="")
            case _:
                self.request.send_event("task-retried", exception=ending.state, traceback="")

    def terminate(self, _signal: Any = None) -> None:
        """What Celery calls on a revoke and on a cold stop; see the pool."""
        self._terminate(self.pid)
