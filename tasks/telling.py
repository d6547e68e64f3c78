"""What a worker tells of an attempt that has ended: one line in its log, and its spans.

On the finisher's thread, after the ledger and Celery know: it costs no job anything.
"""

from __future__ import annotations

import logging

from monitoring import log_context
from monitoring.trace_context import TraceContext
from tasks import naming, narration, wiring
from tasks.attempt_spans import Attempt
from tasks.runner import Ending
from tasks.slots import Slot

logger = logging.getLogger(__name__)

ATTEMPT_ENDED = "attempt_ended"
_DELIVERED = frozenset({"succeeded", "failed", "cancelled", "expired", "dead"})


def attempt_ended(slot: Slot, ending: Ending, *, delivery: tuple[float, float]) -> None:
    """Tell of an attempt; `delivery` is when its result was being told, by the monotonic clock."""
    job, course = ending.job, slot.hold.course
    code = (ending.error or {}).get("code")
    seconds = (course.ended or 0.0) - (course.began or course.ended or 0.0)
    with log_context.bound(narration.context_of(job)):
        logger.info(
            "job %s: attempt %d ended after %.3f s: %s",
            job.id,
            job.fence,
            seconds,
            ending.state,
            extra={"event": ATTEMPT_ENDED, "duration_s": round(seconds, 6), "code": code},
        )
    trace = TraceContext.read(job.traceparent)
    tracer = wiring.tracer()
    if trace is None or not tracer.wants(trace):
        return
    attempt = Attempt(
        job=job,
        trace=trace,
        course=course,
        worker=naming.worker_name(),
        state=ending.state,
        code=code,
        result=ending.result,
        delivery=delivery if ending.state in _DELIVERED else None,
    )
    tracer.record(attempt.spans)
