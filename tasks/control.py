"""Celery's remote control, with `revoke` written into the ledger first, so that it always holds."""

from __future__ import annotations

import logging
from typing import Any

from celery.app.control import Control as CeleryControl

from tasks.errors import HoneyflowError

logger = logging.getLogger(__name__)


class Control(CeleryControl):
    """Remote control whose revoke reaches jobs with or without a worker up."""

    def revoke(self, task_id: Any, *args: Any, **kwargs: Any) -> Any:
        """Cancel the jobs in the ledger, then tell the workers as Celery does."""
        from tasks import wiring

        for job_id in [task_id] if isinstance(task_id, str) else task_id:
            try:
                wiring.client().cancel(job_id, reason="revoked")
            except HoneyflowError as error:
                # A task that is no job of ours is Celery's alone.
                logger.debug("revoke of %s is not in the ledger: %s", job_id, error)
        return super().revoke(task_id, *args, **kwargs)
