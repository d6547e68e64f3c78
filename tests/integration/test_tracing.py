"""A job's spans as a receiver gets them from a real worker: one tree, in the names of one file."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from celery import chain, chord
from opentelemetry.sdk.trace import TracerProvider

from monitoring import trace_names as names
from monitoring.trace_context import TraceContext
from tasks import infer
from tasks.client import Client, Ticket
from tasks.errors import JobFailed
from tests.integration.foreign import LONG, TOO_LONG
from tests.otlp import Receiver, Seen, receiving
from tests.stack import Worker, wait_for, write_script

Start = Callable[..., Worker]


@pytest.fixture(scope="module")
def once(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Marks that a passing error has passed."""
    return tmp_path_factory.mktemp("once") / "once"


@pytest.fixture(scope="module")
def receiver(broker: None, home: Path, once: Path) -> Iterator[Receiver]:
    """A receiver that takes the spans of a worker, which runs beside it."""
    rules = [
        {"marker": "FAIL", "do": "error", "message": "a text", "retriable": False},
        {"marker": "AGAIN", "do": "error", "retriable": True, "once": str(once)},
        {"marker": "AT LENGTH", "answers": [{"text": LONG}]},
        {"answers": [{"text": "yes it is"}], "token_s": 0.01},
    ]
    write_script(home, "fake-a", {"rules": rules})
    with receiving() as made:
        told = {"OTEL_EXPORTER_OTLP_ENDPOINT": made.address}
        worker = Worker(home, ["--device", "cpu", "--model", "fake-a"], told)
        try:
            worker.wait_ready()
            yield made
        finally:
            worker.kill()
            print(worker.text()[-6000:])
            write_script(home, "fake-a", {})


def trace_of(client: Client, job_id: str) -> TraceContext:
    """The trace that a job belongs to."""
    found = TraceContext.read(client.job(job_id).traceparent)
    assert found is not None
    return found


def spans_of(client: Client, receiver: Receiver, job_id: str, last: str) -> list[Seen]:
    """A job's spans, when the last one has come."""
    trace_id = trace_of(client, job_id).trace_id

    def come() -> list[Seen]:
        found = receiver.of(trace_id)
        return found if last in {span.name for span in found} else []

    return list(wait_for(come, explain=lambda: str(receiver.spans)))


def named(spans: list[Seen], name: str) -> Seen:
    """The one span of a name."""
    (found,) = [span for span in spans if span.name == name]
    return found


def test_a_job_is_one_tree_from_submission_to_delivery(client: Client, receiver: Receiver) -> None:
    """Every span once, K of the engine, each below the right one, in the order of time."""
    result = infer.delay(model="fake-a", prompt="Is it?", k=5).get(timeout=20)
    spans = spans_of(client, receiver, result["job_id"], names.DELIVER)

    assert Counter(names.SPANS) + Counter({names.GENERATE: 4}) == Counter(s.name for s in spans)
    root, attempt = named(spans, names.SUBMIT), named(spans, names.ATTEMPT)
    above = {
        names.SUBMIT: "",
        names.QUEUE: root.span_id,
        names.ATTEMPT: root.span_id,
        names.DELIVER: root.span_id,
        names.GENERATE: attempt.span_id,
        names.AGGREGATE: attempt.span_id,
        names.RECEIPT: attempt.span_id,
    }
    assert [(s.name, above[s.name]) for s in spans] == [(s.name, s.parent_id) for s in spans]
    assert root.span_id == trace_of(client, result["job_id"]).span_id
    assert len(spans) == len({span.span_id for span in spans})
    starts = {span.name: span.began for span in reversed(spans)}
    assert list(names.SPANS) == sorted(names.SPANS, key=lambda name: starts[name])
    assert all(span.began <= span.ended for span in spans)
    assert all(
        attempt.began <= s.began and s.ended <= attempt.ended
        for s in spans
        if s.parent_id == attempt.span_id
    )
    assert not any(span.error for span in spans)


def test_spans_say_what_the_names_file_lists_and_no_more(
    client: Client, receiver: Receiver
) -> None:
    """The generative ones in OpenTelemetry's words, with figures that equal the ledger's."""
    good = infer.delay(model="fake-a", prompt="Is it so?", max_tokens=50).get(timeout=20)
    bad = client.submit({"model": "fake-a", "prompt": "FAIL"}).job_id
    failed = spans_of(client, receiver, bad, names.DELIVER)
    spans = spans_of(client, receiver, good["job_id"], names.DELIVER)

    assert (
        set() == {key for span in (*spans, *failed) for key in span.attributes} - names.ATTRIBUTES
    )
    generates = [span.attributes for span in spans if span.name == names.GENERATE]
    assert [0, 1, 2] == sorted(one[names.SAMPLE_INDEX] for one in generates)
    for one in generates:
        assert {
            names.OPERATION: names.COMPLETION,
            names.PROVIDER: "fake",
            names.REQUEST_MODEL: "fake-a",
            names.REQUEST_MAX_TOKENS: 50,
            names.INPUT_TOKENS: 3,
            names.OUTPUT_TOKENS: 3,
            names.FINISH_REASONS: ["stop"],
        }.items() <= one.items()
    assert good["receipt"] == named(spans, names.RECEIPT).attributes[names.RECEIPT_DIGEST]
    attempt = named(failed, names.ATTEMPT)
    assert (True, "", "FAKE_ERROR") == (
        attempt.error,
        attempt.error_text,
        attempt.attributes[names.ERROR_TYPE],
    )
    assert {("honeyflow", "cpu-fake-a@testnode")} == {
        (span.resource["service.name"], span.resource["service.instance.id"]) for span in spans
    }


def test_a_retried_job_keeps_its_trace(client: Client, receiver: Receiver) -> None:
    """Two attempts below one submission, the first with its error's code."""
    ticket = client.submit({"model": "fake-a", "prompt": "AGAIN"})
    ticket.result(timeout_s=20)
    spans = spans_of(client, receiver, ticket.job_id, names.RECEIPT)

    attempts = [span for span in spans if span.name == names.ATTEMPT]
    assert [1, 2] == [span.attributes[names.ATTEMPT_NUMBER] for span in attempts]
    assert [True, False] == [span.error for span in attempts]
    assert {named(spans, names.SUBMIT).span_id} == {span.parent_id for span in attempts}


def test_the_callers_span_is_the_parent(client: Client, receiver: Receiver) -> None:
    """Each job has a submission of its own below it."""
    tracer = TracerProvider().get_tracer("an application")

    with tracer.start_as_current_span("a request") as request:
        tickets = [client.submit({"model": "fake-a", "prompt": str(at)}) for at in range(2)]
    for ticket in tickets:
        ticket.result(timeout_s=20)

    context = request.get_span_context()
    trace_id = f"{context.trace_id:032x}"
    wait_for(lambda: Counter(s.name for s in receiver.of(trace_id))[names.DELIVER] == 2)
    roots = [span for span in receiver.of(trace_id) if span.name == names.SUBMIT]
    assert [f"{context.span_id:016x}"] * 2 == [span.parent_id for span in roots]
    assert {ticket.job_id for ticket in tickets} == {s.attributes[names.JOB_ID] for s in roots}


def test_what_a_job_sets_off_goes_on_in_its_trace(client: Client, receiver: Receiver) -> None:
    """The steps of a chain, a callback, and a step that is refused: each below a delivery."""
    refused: Any = chain(
        infer.s(model="fake-a", prompt="a").set(link=[infer.s(model="fake-a", prompt="d")]),
        infer.s(model="fake-a", prompt="b: ${previous}"),
        infer.s(model="fake-a", prompt="AT LENGTH"),
        infer.s(model="fake-a", prompt=TOO_LONG),
    ).apply_async()
    with pytest.raises(JobFailed, match="PROMPT_TOO_LARGE"):
        refused.get(timeout=20)
    third, second, first = (refused.parent, refused.parent.parent, refused.parent.parent.parent)
    chained = [first.id, second.id, third.id]
    trace_id = trace_of(client, first.id).trace_id
    assert {trace_id} == {trace_of(client, one).trace_id for one in (*chained, refused.id)}

    def delivered() -> dict[str, str]:
        found = {s.parent_id: s.span_id for s in receiver.of(trace_id) if s.name == names.DELIVER}
        return found if len(found) == 4 else {}

    deliveries = wait_for(delivered, explain=lambda: str(receiver.of(trace_id)))
    spans = receiver.of(trace_id)
    submitted = {s.attributes[names.JOB_ID]: s for s in spans if s.name == names.SUBMIT}
    below = {one: deliveries[span.span_id] for one, span in submitted.items()}
    (callback,) = submitted.keys() - set(chained)
    assert {
        first.id: "",
        second.id: below[first.id],
        third.id: below[second.id],
        callback: below[first.id],
    } == {one: span.parent_id for one, span in submitted.items()}
    assert len(spans) == len({span.span_id for span in spans})


def test_the_body_of_a_chord_goes_on_where_its_last_member_ended(
    client: Client, receiver: Receiver
) -> None:
    """In the trace of that one, for it can have only one."""
    members = [infer.s(model="fake-a", prompt=name) for name in ("a", "b")]
    whole: Any = chord(members)(infer.s(model="fake-a", prompt="c"))

    whole.get(timeout=20)

    ended = {one.id: trace_of(client, one.id) for one in whole.parent.results}
    body = trace_of(client, whole.id)
    assert 2 == len({trace.trace_id for trace in ended.values()})
    assert (body.trace_id, body.span_id) in {
        (trace.trace_id, trace.delivery(job_id)) for job_id, trace in ended.items()
    }


def test_a_receiver_that_fails_costs_no_job_anything(start: Start, client: Client) -> None:
    """Whether it refuses, hangs or is gone: jobs succeed, and the worker ends as ever."""
    with receiving() as receiver:
        receiver.status = 503
        worker = start(
            "--device",
            "cpu",
            "--model",
            "fake-b",
            script={"rules": [{"answers": [{"text": "yes"}]}]},
            model="fake-b",
            env={"OTEL_EXPORTER_OTLP_ENDPOINT": receiver.address},
        )
        _answers(client, 10)
        seen = wait_for(lambda: receiver.requests)
        receiver.hang = threading.Event()
        _answers(client, 10)
        wait_for(lambda: receiver.requests > seen)
        _answers(client, 10)
    _answers(client, 10)

    assert 0 == worker.stop()
    assert "Traceback" not in worker.text()
    assert receiver.address not in worker.text()


def _answers(client: Client, number: int) -> None:
    """Have jobs answered."""
    asked = [{"model": "fake-b", "prompt": str(at)} for at in range(number)]
    tickets: list[Ticket] = client.submit_many(asked)
    assert ["yes"] * number == [ticket.result(timeout_s=20).answer for ticket in tickets]


def test_a_worker_without_the_extra_says_what_to_install(start: Start, tmp_path: Path) -> None:
    """Only where tracing is asked for; it does not start and trace nothing."""
    (tmp_path / "sitecustomize.py").write_text(
        "import sys\nsys.modules['opentelemetry.sdk.trace'] = None\n"
    )
    env = {"PYTHONPATH": str(tmp_path), "OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:9"}

    worker = start("--device", "cpu", "--model", "fake-b", ready=False, env=env)

    assert 1 == worker.wait_exit(40)
    assert "TRACING_UNAVAILABLE" in worker.text()
    assert "honeyflow[tracing]" in worker.text()
