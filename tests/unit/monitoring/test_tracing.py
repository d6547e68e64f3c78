"""Spans leave in the background, in a bounded queue, or are not made at all."""

from __future__ import annotations

import ast
import sys
import threading
from collections.abc import Sequence
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from monitoring import trace_names
from monitoring.errors import TracingUnavailable
from monitoring.trace_context import TraceContext, going_on, new_span
from monitoring.tracing import BackgroundTracer, NoTracer, SpanData, open_tracer, traces_url

ROOT = Path(__file__).resolve().parents[3]


class Sink:
    """Takes spans when it is let; `open` holds it up."""

    def __init__(self) -> None:
        self.open = threading.Event()
        self.open.set()
        self.asked = threading.Event()
        self.accepts = True
        self.spans: list[SpanData] = []
        self.closed = False

    def export(self, spans: Sequence[SpanData]) -> bool:
        self.asked.set()
        self.open.wait(20)
        if self.accepts:
            self.spans += spans
        return self.accepts

    def close(self) -> None:
        self.closed = True
        self.open.set()


def span(name: str = "attempt") -> list[SpanData]:
    """One span."""
    trace = TraceContext.new()
    return [
        SpanData(
            name=name,
            trace_id=trace.trace_id,
            span_id=new_span(),
            parent_id=None,
            began=1.0,
            ended=2.0,
        )
    ]


def test_what_is_recorded_is_sent_before_the_end() -> None:
    """Stopping sends what waits."""
    sink = Sink()
    tracer = BackgroundTracer(sink, period_s=60)

    for at in range(1000):
        tracer.record(lambda at=at: span(str(at)))
    tracer.stop(patience_s=20)

    assert [str(at) for at in range(1000)] == [one.name for one in sink.spans]
    assert (1000, 0, True) == (tracer.exported, tracer.lost, sink.closed)


def test_a_receiver_that_hangs_holds_up_nobody_and_no_memory() -> None:
    """The queue forgets its oldest, counts them, and the end does not wait for it."""
    sink = Sink()
    sink.open.clear()
    tracer = BackgroundTracer(sink, most_waiting=10, period_s=0.0)
    tracer.record(span)
    assert sink.asked.wait(20)

    for at in range(25):
        tracer.record(lambda at=at: span(str(at)))
    tracer.stop(patience_s=0.0)

    assert 15 == tracer.lost
    assert sink.closed
    tracer.stop(patience_s=20)


def test_spans_that_cannot_be_made_or_sent_are_counted(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """One line tells of them, however many there are; the thread goes on."""
    sink = Sink()
    sink.accepts = False
    tracer = BackgroundTracer(sink, period_s=60)

    def broken() -> list[SpanData]:
        raise ValueError("a canary")

    for make in (span, broken, span, span):
        tracer.record(make)
    tracer.stop(patience_s=20)

    assert (0, 4) == (tracer.exported, tracer.lost)
    assert 1 == len([one for one in caplog.records if "lost so far" in one.getMessage()])


@given(hexes=st.binary(min_size=24, max_size=24), sampled=st.booleans())
def test_a_traceparent_reads_back(hexes: bytes, sampled: bool) -> None:
    """As W3C writes it; zeros are no numbers."""
    trace_id, span_id = hexes[:16].hex(), hexes[16:].hex()
    context = TraceContext(trace_id=trace_id, span_id=span_id, sampled=sampled)

    valid = any(hexes[:16]) and any(hexes[16:])
    assert (context if valid else None) == TraceContext.read(str(context))


@pytest.mark.parametrize(
    "text",
    [
        "",
        "00",
        "01-" + "a" * 32 + "-" + "b" * 16 + "-01",
        "00-" + "A" * 32 + "-" + "b" * 16 + "-01",
    ],
    ids=["empty", "short", "version", "capitals"],
)
def test_what_is_no_traceparent_is_none(text: str) -> None:
    """A job without one has lines and no trace."""
    assert TraceContext.read(text) is None
    assert TraceContext.read(None) is None


def test_a_trace_of_ours_begins_with_its_submission() -> None:
    """Below a caller's span every job has a submission of its own, the same in every attempt."""
    ours = TraceContext.new()
    callers = TraceContext(trace_id=ours.trace_id, span_id=new_span(), sampled=True)

    assert (True, ours.span_id) == (ours.ours, ours.submission("a"))
    assert not callers.ours
    assert callers.submission("a") == callers.submission("a") != callers.submission("b")


def test_a_share_of_our_traces_is_sampled_and_callers_decide_for_theirs() -> None:
    """The same decision everywhere, whoever makes it."""
    one, other = (BackgroundTracer(Sink(), sample=0.25) for _ in range(2))
    traces = [TraceContext.new() for _ in range(2000)]

    chosen = [trace for trace in traces if one.wants(trace)]

    assert 350 < len(chosen) < 650
    assert chosen == [trace for trace in traces if other.wants(trace)]
    for sampled in (True, False):
        callers = TraceContext(trace_id=traces[0].trace_id, span_id=new_span(), sampled=sampled)
        assert one.wants(callers) is sampled


def test_what_a_job_sets_off_is_traced_if_the_job_is() -> None:
    """Its place is below the job's delivery and never that of a trace's own beginning."""
    tracer = BackgroundTracer(Sink(), sample=0.25)
    traces = [TraceContext.new() for _ in range(200)]

    for trace in traces:
        step = trace.after("a", share=0.25)
        later = step.after("b", share=0.25)
        assert {trace.trace_id} == {step.trace_id, later.trace_id}
        assert (step.span_id, later.span_id) == (trace.delivery("a"), step.delivery("b"))
        numbers = [trace.span_id, step.span_id, step.submission("b"), later.span_id]
        numbers.append(later.submission("c"))
        assert len(numbers) == len(set(numbers))
        assert not (step.ours or later.ours)
        assert tracer.wants(trace) is tracer.wants(step) is tracer.wants(later)


def test_within_a_delivery_submissions_go_on_from_it() -> None:
    """And outside it from the caller's span, or from nothing."""
    place = TraceContext.new().after("a", share=1.0)

    with going_on(place):
        assert place == TraceContext.of_caller()
        with going_on(None):
            assert TraceContext.of_caller() is None
    assert TraceContext.of_caller() is None


def test_without_an_endpoint_nothing_is_traced_or_imported(monkeypatch: pytest.MonkeyPatch) -> None:
    """The extra is needed only by those who ask for it; they are told its name."""
    monkeypatch.delitem(sys.modules, "monitoring.otlp", raising=False)
    monkeypatch.setitem(sys.modules, "opentelemetry.sdk.trace", None)

    tracer = open_tracer(None, worker="w")
    assert isinstance(tracer, NoTracer)
    assert not tracer.wants(TraceContext.new())
    with pytest.raises(TracingUnavailable, match="not installed") as told:
        open_tracer("http://127.0.0.1:4318", worker="w")
    assert "honeyflow[tracing]" in told.value.suggested_action


def test_an_endpoint_is_an_http_address() -> None:
    """The base that all signals share, or the whole of it; a password in it is not repeated."""
    assert {"http://a:4318/v1/traces"} == {
        traces_url(given)
        for given in ("http://a:4318", "http://a:4318/", "http://a:4318/v1/traces")
    }
    with pytest.raises(TracingUnavailable) as told:
        open_tracer("user:secret@collector:4317", worker="w")
    assert "secret" not in str(told.value) + told.value.suggested_action


def test_names_of_attributes_stand_in_one_file() -> None:
    """No other file of ours spells one out."""
    known = trace_names.ATTRIBUTES | set(trace_names.SPANS[3:4])
    spelt = {
        (path.name, node.value)
        for package in ("cli", "monitoring", "tasks")
        for path in (ROOT / package).rglob("*.py")
        if path.name != "trace_names.py"
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Constant) and node.value in known
    }
    assert set() == spelt
