"""What real processes print: one JSON object per line, with the job in it, and no user's text."""

from __future__ import annotations

import json
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from celery import Celery

from ledger import events, workers
from monitoring.alerts import happenings
from tasks.client import Client
from tests.otlp import Receiver, receiving
from tests.stack import BIN, Worker, wait_for

Start = Callable[..., Worker]

PROMPT, ANSWER, ERROR = "canary-in-a-prompt", "canary-in-an-answer", "canary-in-an-error"
CANARIES = (PROMPT, ANSWER, ERROR)
ENGINE = {
    "rules": [
        {"marker": "FAIL", "do": "error", "message": ERROR, "retriable": False},
        {"marker": "DIE", "do": "die", "message": ERROR},
        {"answers": [{"text": f"{ANSWER} yes"}]},
    ]
}


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    """Where spans go."""
    with receiving() as made:
        yield made


@pytest.fixture
def beat(home: Path, broker: None, tmp_path: Path) -> Iterator[Path]:
    """A beat; gives its log."""
    log = tmp_path / "beat.log"
    with log.open("wb") as output:
        process = subprocess.Popen(
            [
                BIN / "celery",
                "-A",
                "tasks",
                "beat",
                "-l",
                "INFO",
                "--pidfile=",
                "-s",
                tmp_path / "b",
            ],
            stdout=output,
            stderr=subprocess.STDOUT,
            cwd=tmp_path,
        )
    yield log
    process.terminate()
    process.wait(10)


@pytest.fixture
def metrics(client: Client, tmp_path: Path) -> Iterator[Callable[[], str]]:
    """An exporter; gives what it exports, if it does yet, and below it what it has logged."""
    log = tmp_path / "metrics.log"
    with log.open("wb") as output:
        process = subprocess.Popen(
            [BIN / "honeyflow", "metrics", "--port", "0"],
            stdout=subprocess.PIPE,
            stderr=output,
            text=True,
        )
    assert process.stdout is not None

    address = process.stdout.readline().split()[-1]

    def seen() -> str:
        try:
            with urllib.request.urlopen(address, timeout=20) as answer:
                return str(answer.read().decode()) + log.read_text()
        except urllib.error.HTTPError:
            # It has not looked at the ledger yet.
            return ""

    with process.stdout:
        yield seen
        process.terminate()
        process.wait(20)


def lines(text: str) -> list[dict[str, Any]]:
    """The lines of a log; the warning that tests run as root is no line of ours."""
    begin = text.find("{")
    assert "{" not in text[:begin]
    return [json.loads(line) for line in text[begin:].splitlines() if line]


def test_no_process_prints_what_a_user_typed(
    start: Start,
    client: Client,
    beat: Path,
    receiver: Receiver,
    metrics: Callable[[], str],
) -> None:
    """Not of a job that succeeds, fails, ends its engine, or never became one.

    Neither do spans, metrics and what people are told of events.
    """
    told = {"OTEL_EXPORTER_OTLP_ENDPOINT": receiver.address}
    maintenance = start("--maintenance", ready=False)
    worker = start(script=ENGINE, env=told)
    good = client.submit({"model": "fake-a", "prompt": f"{PROMPT}?"})
    bad = client.submit({"model": "fake-a", "prompt": f"{PROMPT} FAIL"})
    _send_nonsense(client)
    good.result(timeout_s=20)
    wait_for(lambda: client.job(bad.job_id).state == "failed")
    wait_for(lambda: "TASK_UNKNOWN" in worker.text() + maintenance.text())
    wait_for(lambda: receiver.of(client.job(bad.job_id).traceparent.split("-")[1]))
    deadly = client.submit({"model": "fake-a", "prompt": f"{PROMPT} DIE"})
    assert 1 == worker.wait_exit()
    maintenance.wait_ready()
    wait_for(lambda: "Sending due task" in beat.read_text())
    time.sleep(0.3)
    client.cancel(deadly.job_id)

    for text in (worker.text(), maintenance.text(), beat.read_text()):
        assert lines(text)
        assert [] == [line for line in text.splitlines() if any(one in line for one in CANARIES)]
    exported = wait_for(metrics)
    assert "swarmos_jobs_total" in exported
    with client.ledger.read() as tx:
        happened = events.after(tx, 0, limit=10_000)
    assert "engine_lost" in {event.kind for event in happened}
    news = str([happenings.news_of(event) for event in happened])
    everything = b"".join(receiver.raw) + exported.encode() + news.encode()
    assert [] == [one for one in CANARIES if one.encode() in everything]


def test_a_jobs_lines_are_found_by_its_id_and_errors_are_counted(
    start: Start, client: Client
) -> None:
    """Attempt, worker, model, trace, seconds and code; and the count that heartbeats tell."""
    worker = start(script=ENGINE)
    ticket = client.submit({"model": "fake-a", "prompt": "FAIL"}, correlation_id="ward-7")
    wait_for(lambda: client.job(ticket.job_id).state == "failed")
    _send_nonsense(client)
    (told,) = wait_for(
        lambda: [one for one in lines(worker.text()) if one["event"] == "attempt_ended"]
    )

    job = client.job(ticket.job_id)
    assert told["trace_id"] == (job.traceparent or "").split("-")[1]
    assert 0 < told["duration_s"] < 20
    assert {
        "job_id": job.id,
        "attempt": 1,
        "worker": "cpu-fake-a@testnode",
        "model": "fake-a",
        "correlation_id": "ward-7",
        "code": "FAKE_ERROR",
        "level": "info",
    }.items() <= told.items()

    def counted() -> bool:
        with client.ledger.read() as tx:
            (row,) = [one for one in workers.list(tx) if one.worker == told["worker"]]
        errors = [one for one in lines(worker.text()) if one["level"] in ("error", "critical")]
        return len(errors) >= 2 and row.facts.get("logged_errors") == len(errors)

    wait_for(counted, explain=worker.text)


def test_people_get_lines_of_their_own(start: Start, client: Client) -> None:
    """Where `text` is asked for, with Celery's banner."""
    worker = start(script=ENGINE, env={"HONEYFLOW_LOG_FORMAT": "text"})
    ticket = client.submit({"model": "fake-a", "prompt": "?"})
    ticket.result(timeout_s=20)
    wait_for(lambda: f"job {ticket.job_id}: attempt 1 ended" in worker.text())

    assert "[config]" in worker.text()
    assert '{"ts"' not in worker.text()


def _send_nonsense(client: Client) -> None:
    """Messages that become no job: an unknown task, a wrong request, and no message at all."""
    from tasks import ledger_id

    app: Any = client.app
    Celery.send_task(app, "no.such.task", args=(PROMPT,), kwargs={"a": PROMPT}, queue="celery")
    wrong = {"model": "fake-a", "prompt": PROMPT, "max_tokens": PROMPT}
    Celery.send_task(app, "tasks.infer", kwargs=wrong, queue="celery")
    Celery.send_task(app, "tasks.infer", args=(PROMPT,), queue="celery")
    with ledger_id.connect(client.settings) as redis:
        redis.lpush("celery", json.dumps({"body": PROMPT}), PROMPT)
