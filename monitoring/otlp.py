"""Spans over OTLP/HTTP, through OpenTelemetry's SDK and exporter. Needs the extra `tracing`."""

from __future__ import annotations

import logging
import threading
from collections.abc import Sequence
from importlib.metadata import version

from opentelemetry import trace as api
from opentelemetry.context import Context
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import ReadableSpan, SpanProcessor, TracerProvider
from opentelemetry.sdk.trace.export import SpanExportResult
from opentelemetry.sdk.trace.id_generator import IdGenerator
from opentelemetry.sdk.trace.sampling import ALWAYS_ON

from monitoring import trace_names
from monitoring.tracing import SpanData

TIMEOUT_S = 5.0
_SAMPLED = api.TraceFlags(api.TraceFlags.SAMPLED)


class OtlpSink:
    """Sends spans of one worker to one address; used on one thread."""

    def __init__(self, url: str, *, worker: str, timeout_s: float = TIMEOUT_S) -> None:
        self._exporter = OTLPSpanExporter(endpoint=url, timeout=timeout_s)
        self._ended = _Ended()
        self._ids = _GivenIds()
        provider = TracerProvider(
            resource=Resource.create(
                {
                    "service.name": trace_names.SERVICE,
                    "service.version": version("honeyflow"),
                    "service.instance.id": worker,
                }
            ),
            id_generator=self._ids,
            sampler=ALWAYS_ON,
            shutdown_on_exit=False,
        )
        provider.add_span_processor(self._ended)
        self._tracer = provider.get_tracer(
            trace_names.SCOPE, version("honeyflow"), schema_url=trace_names.SCHEMA_URL
        )
        _hush()

    def export(self, spans: Sequence[SpanData]) -> bool:
        """Send spans; false if they did not arrive within the timeout."""
        for span in spans:
            self._make(span)
        return self._exporter.export(self._ended.take()) is SpanExportResult.SUCCESS

    def close(self) -> None:
        """Give up what is being sent."""
        self._exporter.shutdown()  # type: ignore[no-untyped-call]

    def _make(self, data: SpanData) -> None:
        self._ids.trace_id, self._ids.span_id = int(data.trace_id, 16), int(data.span_id, 16)
        span = self._tracer.start_span(
            data.name,
            context=_parent(data),
            kind=api.SpanKind[data.kind],
            attributes=data.attributes,
            start_time=_nanoseconds(data.began),
        )
        if data.error is not None:
            span.set_status(api.StatusCode.ERROR)
        span.end(end_time=max(_nanoseconds(data.began), _nanoseconds(data.ended)))


class _GivenIds(IdGenerator):
    """Gives the numbers that a span has already: they are in the ledger."""

    trace_id = 0
    span_id = 0

    def generate_trace_id(self) -> int:
        return self.trace_id

    def generate_span_id(self) -> int:
        return self.span_id


class _Ended(SpanProcessor):
    """Keeps spans until they are sent."""

    def __init__(self) -> None:
        self._spans: list[ReadableSpan] = []

    def on_end(self, span: ReadableSpan) -> None:
        self._spans.append(span)

    def take(self) -> list[ReadableSpan]:
        """All that have ended since the last time."""
        spans, self._spans = self._spans, []
        return spans


def _parent(data: SpanData) -> Context:
    if data.parent_id is None:
        return Context()
    parent = api.SpanContext(
        int(data.trace_id, 16), int(data.parent_id, 16), is_remote=True, trace_flags=_SAMPLED
    )
    return api.set_span_in_context(api.NonRecordingSpan(parent), Context())


def _nanoseconds(moment: float) -> int:
    return round(moment * 1_000_000) * 1000


def _hush() -> None:
    """Leave out what the exporter says at every failure, address included; it is told once."""

    def others(record: logging.LogRecord) -> bool:
        return record.threadName != "traces" or threading.current_thread().name != "traces"

    logger = logging.getLogger("opentelemetry.exporter.otlp.proto.http.trace_exporter")
    if not logger.filters:
        logger.addFilter(others)
