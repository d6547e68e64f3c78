"""What Celery's processes tell: workers, maintenance and beat log in honeyflow's form.

Celery sets its loggers up as ever, with `-l` and `-f`; here their lines get their form, `[logs]
format`. Where lines are JSON Celery's banners are left out: a reader of lines could not read them.
"""

from __future__ import annotations

import contextlib
import logging
import os
import sys
from collections.abc import Mapping
from typing import Any

from celery.signals import after_setup_logger, after_setup_task_logger, celeryd_init
from celery.utils.log import get_multiprocessing_logger

from ledger import Job
from monitoring import log_context, log_hooks, log_writer, logs
from monitoring.log_context import JobContext
from monitoring.log_counter import ErrorCounter
from monitoring.trace_context import TraceContext

logger = logging.getLogger(__name__)

error_counter = ErrorCounter()
"""Counts the lines of level error or worse of this process."""

BEAT = "beat"
_roles: list[str] = []


def identity() -> Mapping[str, str]:
    """Which worker this process is, and which model it serves; as far as is known by now."""
    from tasks import naming, pinning

    if _roles:
        return {"worker": _roles[-1]}
    pin = pinning.settled()
    told = {"worker": naming.worker_name()}
    if pin is not None and pin.engine is not None:
        told["model"] = pin.engine.model
    return told


def play(role: str) -> None:
    """Say that this process is no worker, but `beat` or `metrics`."""
    _roles[:] = [role]


def context_of(job: Job) -> JobContext:
    """What lines about a job have of it; `attempt` once it was claimed."""
    return JobContext(
        job_id=job.id,
        attempt=job.fence or None,
        model=job.model,
        correlation_id=job.correlation_id,
        trace_id=TraceContext.id_of(job.traceparent),
    )


def bind(job: Job) -> None:
    """From now on, in this coroutine, lines are about this job."""
    log_context.bind(context_of(job))


def is_json(logfile: str | None = None, stream: Any = None) -> bool:
    """Whether this process's lines are JSON; a log file is no terminal."""
    from tasks import wiring

    return logs.is_json(wiring.settings().log_format, None if logfile else stream or sys.stderr)


def connect() -> None:
    """Have Celery tell us when its loggers are set up and before it prints anything."""
    after_setup_logger.connect(_dress_all)
    after_setup_task_logger.connect(_dress_tasks)
    celeryd_init.connect(_no_banner)


def _dress_all(logger: logging.Logger, **_: Any) -> None:
    _dress(logger)
    log_hooks.install()
    if (lower := get_multiprocessing_logger()) is not None:
        _dress(lower)


def _dress_tasks(logger: logging.Logger, **_: Any) -> None:
    # It does not hand its lines on to the root.
    _dress(logger)


def _no_banner(instance: Any = None, options: Mapping[str, Any] | None = None, **_: Any) -> None:
    if is_json((options or {}).get("logfile")):
        from celery.apps import worker

        instance.quiet = True
        # What Celery says of a signal goes past every logger, because a handler of signals says it.
        worker.safe_say = _say  # type: ignore[attr-defined]


def _say(message: str, stream: Any = sys.__stderr__) -> None:
    """Write a line at once, whatever the logger's handler is doing."""
    record = logger.makeRecord(logger.name, logging.INFO, "", 0, message, (), None)
    line = logs.JsonFormatter(identity).format(record)
    with contextlib.suppress(OSError, ValueError):
        os.write(stream.fileno(), f"{line}\n".encode())


def _dress(one: logging.Logger) -> None:
    from tasks import wiring

    logs.dress(one, wiring.settings().log_format, identity=identity)
    log_writer.write_together(one)
    error_counter.attach(one)
