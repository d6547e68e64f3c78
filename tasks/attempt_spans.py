"""An attempt as spans: what it waited for, what it drew, how it ended, and its result's delivery.

Everything is made from the job's row and the attempt's course, after the fact: no span is open
while a job runs, so none is left open by a lost worker. All times are the store's clock, which the
claim told.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from ledger import Job
from monitoring import trace_names as names
from monitoring.trace_context import TraceContext, new_span
from monitoring.tracing import SpanData, Value
from tasks.course import Course, Drawn


@dataclass(frozen=True, slots=True, kw_only=True)
class Attempt:
    """What is told of one attempt; `delivery` is when its telling began and ended.

    `state` and `code` are those of its ending, `result` the small copy of its result.
    """

    job: Job
    trace: TraceContext
    course: Course
    worker: str
    state: str
    code: str | None = None
    result: Mapping[str, Any] | None = None
    delivery: tuple[float, float] | None = None

    def spans(self) -> Iterator[SpanData]:
        """All spans of the attempt; with the first one that of the submission too."""
        job, began = self.job, self._at(self.course.began)
        submission = self.trace.submission(job.id)
        if job.fence == 1:
            yield self._span(
                names.SUBMIT,
                (job.created_at, job.created_at),
                span_id=submission,
                parent=None if self.trace.ours else self.trace.span_id,
                attributes=_submitted(job),
                kind="PRODUCER",
            )
        yield self._span(
            names.QUEUE,
            (job.queued_at or job.created_at, began),
            parent=submission,
            attributes={names.DESTINATION: job.queue, names.ATTEMPT_NUMBER: job.fence},
        )
        attempt = self._span(
            names.ATTEMPT,
            (began, self._at(self.course.ended)),
            parent=submission,
            attributes=self._attempted(),
            kind="CONSUMER",
            error=self.code,
        )
        yield attempt
        yield from (self._generated(one, attempt.span_id) for one in self.course.drawn)
        yield from self._concluded(attempt.span_id)
        if self.delivery is not None:
            begun, told = self.delivery
            yield self._span(
                names.DELIVER,
                (self._at(begun), self._at(told)),
                span_id=self.trace.delivery(job.id),
                parent=submission,
                attributes={names.JOB_STATE: self.state},
            )

    def _concluded(self, parent: str) -> Iterator[SpanData]:
        course, result = self.course, self.result or {}
        if course.settled is None:
            return
        last = max((one.ended for one in course.drawn), default=course.settled)
        yield self._span(
            names.AGGREGATE,
            (self._at(last), self._at(course.settled)),
            parent=parent,
            attributes=_known(
                {
                    names.REQUEST_CHOICES: result.get("k"),
                    names.CONFIDENCE: result.get("confidence"),
                    names.REVIEW: result.get("review"),
                }
            ),
        )
        if course.written is not None:
            yield self._span(
                names.RECEIPT,
                (self._at(course.settled), self._at(course.written)),
                parent=parent,
                attributes=_known({names.RECEIPT_DIGEST: result.get("receipt")}),
            )

    def _generated(self, drawn: Drawn, parent: str) -> SpanData:
        first = drawn.first_token_ms
        return self._span(
            names.GENERATE,
            (self._at(drawn.began), self._at(drawn.ended)),
            parent=parent,
            attributes=_known(
                {
                    **self._asked(),
                    names.SAMPLE_INDEX: drawn.index,
                    names.INPUT_TOKENS: drawn.prompt_tokens,
                    names.OUTPUT_TOKENS: drawn.completion_tokens,
                    names.FINISH_REASONS: drawn.finish_reason and (drawn.finish_reason,),
                    names.FIRST_TOKEN: None if first is None else first / 1000,
                    names.ERROR_TYPE: drawn.code,
                }
            ),
            error=drawn.code,
        )

    def _asked(self) -> dict[str, Any]:
        course = self.course
        return {
            names.OPERATION: names.CHAT if course.chat else names.COMPLETION,
            names.PROVIDER: course.engine,
            names.REQUEST_MODEL: self.job.model,
            names.REQUEST_MAX_TOKENS: course.max_tokens,
            names.REQUEST_TEMPERATURE: course.temperature,
        }

    def _attempted(self) -> dict[str, Value]:
        drawn = self.course.drawn
        return _known(
            {
                names.JOB_ID: self.job.id,
                names.ATTEMPT_NUMBER: self.job.fence,
                names.WORKER: self.worker,
                names.JOB_STATE: self.state,
                names.REQUEST_MODEL: self.job.model,
                names.REQUEST_CHOICES: len(drawn),
                names.ERROR_TYPE: self.code,
            }
        )

    def _at(self, moment: float | None) -> float:
        """A moment of the process's clock by the store's."""
        claimed = self.job.claimed_at or self.job.created_at
        began = self.course.began
        return claimed if moment is None or began is None else claimed + (moment - began)

    def _span(
        self,
        name: str,
        times: tuple[float, float],
        *,
        parent: str | None,
        attributes: Mapping[str, Value],
        span_id: str | None = None,
        kind: str = "INTERNAL",
        error: str | None = None,
    ) -> SpanData:
        return SpanData(
            name=name,
            trace_id=self.trace.trace_id,
            span_id=span_id or new_span(),
            parent_id=parent,
            began=times[0],
            ended=times[1],
            attributes=attributes,
            kind=kind,
            error=error,
        )


def _submitted(job: Job) -> dict[str, Value]:
    return _known(
        {
            names.JOB_ID: job.id,
            names.REQUEST_MODEL: job.model,
            names.PRIORITY: job.priority,
            names.POLICY: job.policy,
            names.PROFILE: job.profile,
            names.ORIGIN: job.origin,
            names.CORRELATION: job.correlation_id,
        }
    )


def _known(attributes: Mapping[str, Any]) -> dict[str, Value]:
    return {name: value for name, value in attributes.items() if value is not None}
