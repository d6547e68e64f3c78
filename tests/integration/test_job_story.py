"""`honeyflow job show` tells what really happened to a job that a real worker ran."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

from typer.testing import CliRunner

from cli.main import app
from tasks.client import Client
from tests.stack import Worker, wait_for

Start = Callable[..., Worker]


def show(job_id: str, *options: str) -> str:
    """What the command prints."""
    told = CliRunner().invoke(app, ["job", "show", job_id, *options])
    assert 0 == told.exit_code, told.output
    return told.stdout


def test_the_story_of_a_job_that_was_tried_twice(
    start: Start, client: Client, tmp_path: Path
) -> None:
    """Moves, attempts, waits, samples, confidence, speed, receipt and its place; in both forms."""
    again = {"marker": "AGAIN", "do": "error", "retriable": True, "once": str(tmp_path / "once")}
    answer = {"answers": [{"text": "yes it is"}], "token_s": 0.02}
    start(script={"rules": [again, answer]})
    job_id = client.submit({"model": "fake-a", "prompt": "AGAIN"}, correlation_id="ward-7").job_id
    client.wait(job_id, timeout_s=20)
    wait_for(lambda: client.job(job_id).delivered_at)

    told, text = json.loads(show(job_id, "--json")), show(job_id)

    assert ("succeeded", 2, 1) == (told["state"], told["fence"], told["tries"])
    assert ["queued", "running", "scheduled", "queued", "running", "succeeded"] == [
        change["target"] for change in told["history"]
    ]
    first, second = told["attempts"]
    assert (1, "scheduled", "cpu-fake-a@testnode") == (
        first["number"],
        first["ended"],
        first["worker"],
    )
    assert (2, "succeeded") == (second["number"], second["ended"])
    # The pause after the error is no wait.
    assert second["waited_s"] < 1 < second["began_at"] - first["began_at"]
    assert {(3, "yes it is")} == {
        (sample["completion_tokens"], sample["class"]) for sample in told["samples"]
    }
    assert all(20 <= sample["first_token_ms"] + 30 for sample in told["samples"])
    assert told["tokens_per_s"] > 0
    assert told["receipt"]["digest"] == told["receipt_digest"]
    assert told["trace_id"] == (told["traceparent"] or "").split("-")[1]
    assert ["it met a passing error 1 time(s)"] == told["notes"]

    for words in (told["trace_id"], "ward-7", "cpu-fake-a@testnode", "tokens/s", "first token"):
        assert words in text
    for words in ("in the log", "confidence", told["receipt"]["digest"], "a passing error"):
        assert words in text


def test_what_a_model_wrote_is_shown_as_it_is_and_does_nothing(
    start: Start, client: Client
) -> None:
    """Neither our own marks for style nor a terminal's orders."""
    start(script={"rules": [{"answers": [{"text": "[/b] grade [red]2 \x1b[2J\x1b]0;t\x07"}]}]})
    job_id = client.submit({"model": "fake-a", "prompt": "who?"}).job_id
    client.wait(job_id, timeout_s=20)

    text = show(job_id)

    assert "answer       [/b] grade [red]2 \ufffd[2J\ufffd]0;t" in text
    assert "\x1b" not in text


def test_the_story_of_a_job_that_waits(client: Client) -> None:
    """There is little to tell, and it is told."""
    job_id = client.submit({"model": "fake-a", "prompt": "who?"}).job_id

    told = json.loads(show(job_id, "--json"))

    assert ([], [], None, None) == (
        told["attempts"],
        told["samples"],
        told["receipt"],
        told["result"],
    )
    assert "attempt" not in show(job_id)
