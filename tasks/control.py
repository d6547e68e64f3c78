"""Celery's remote control, with `revoke` written into the ledger first, so that it always holds."""

from __future__ import annotations

import logging
from typing import Any

from celery.app.control import Control as CeleryControl

from tasks.errors import HoneyflowError

logger = logging.getLogger(__name__)

_NO_JOB = ("JOB_NOT_FOUND", "INVALID_VALUE")


class Control(CeleryControl):
    """Remote control whose revoke reaches jobs with or without a worker up."""

    def revoke(self, task_id: Any, *args: Any, **kwargs: Any) -> Any:
        """Cancel the jobs in the ledger, and tell the workers as Celery does.

        Raises:
            HoneyflowError: the ledger could not be told of one: it may run all the same.
        """
        unwritten: HoneyflowError | None = None
        for job_id in [task_id] if isinstance(task_id, str) else task_id:
            try:
                _cancel(job_id)
            except HoneyflowError as error:
                unwritten = error
        told = super().revoke(task_id, *args, **kwargs)
        if unwritten is not None:
            raise unwritten
        return told


def _cancel(job_id: str) -> None:
    from tasks import wiring

    try:
        wiring.client().cancel(job_id, reason="revoked")
    except HoneyflowError as error:
        if error.code not in _NO_JOB:
            raise
        # A task that is no job of ours is Celery's alone.
        logger.debug("revoke of %s is not in the ledger: %s", job_id, error)
