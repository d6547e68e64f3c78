"""Canvas with tasks of ours and of the user's: what a job sets off when it has ended."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from celery import chain, chord, group
from celery.exceptions import ChordError

from tasks import app, infer
from tasks.client import Client
from tasks.errors import JobFailed
from tests.integration.foreign import OPTIONS, SCRIPT, ask, write
from tests.stack import Worker, wait_for

Serve = Callable[..., Worker]


@pytest.fixture
def notes(home: Path) -> Path:
    """Where the user's own tasks write, and the module that has them."""
    return write(home)


@pytest.fixture
def worker(serve: Serve, notes: Path, client: Client) -> Worker:
    """A worker that also knows the user's tasks."""
    return serve(*OPTIONS, script=SCRIPT)


def test_a_users_own_task_runs_beside_the_engine(worker: Worker, client: Client) -> None:
    """Ordinary Celery tasks run under Celery's own tracer."""
    assert "noted" == app.send_task("foreign.note", args=["x"]).get(timeout=10)


def test_a_callback_of_the_users_gets_the_result(
    worker: Worker, client: Client, notes: Path
) -> None:
    """`link` sets off a task that is not ours, with our result."""
    job = infer.apply_async(
        kwargs={"model": "fake-a", "prompt": "x"}, link=app.signature("foreign.note")
    )

    job.get(timeout=10)

    assert job.id in wait_for(notes.read_text)


def test_an_error_callback_is_set_off(worker: Worker, client: Client, notes: Path) -> None:
    """`link_error` runs when the job fails, and not otherwise."""
    sig = app.signature("foreign.failed")
    good = infer.apply_async(kwargs={"model": "fake-a", "prompt": "x"}, link_error=sig)
    good.get(timeout=10)
    bad = infer.apply_async(kwargs={"model": "fake-a", "prompt": "BAD"}, link_error=sig)

    with pytest.raises(JobFailed, match="NO_GOOD"):
        bad.get(timeout=10)

    assert "failed\n" == wait_for(notes.read_text)


def test_a_chord_of_ours_with_a_body_of_the_users(worker: Worker, client: Client) -> None:
    """The body gets the list of results, in order."""
    whole = chord([ask("a"), ask("b"), ask("c")])(app.signature("foreign.join"))

    assert "yes+yes+yes" == whole.get(timeout=10)


def test_a_chord_with_a_failing_part_fails_its_body(worker: Worker, client: Client) -> None:
    """Nobody waits for ever."""
    whole = chord([ask("a"), ask("BAD")])(app.signature("foreign.join"))

    wait_for(lambda: whole.state == "FAILURE", timeout=10)
    assert isinstance(whole.result, ChordError)
    with pytest.raises(JobFailed, match="NO_GOOD"):
        whole.get(timeout=10)


def test_a_chord_of_ours_with_a_failing_part_fails_a_body_of_ours(
    worker: Worker, client: Client
) -> None:
    """Also when the body would have been a job."""
    whole = chord([ask("a"), ask("BAD")])(infer.s(model="fake-a", prompt="${previous}"))

    wait_for(lambda: whole.state == "FAILURE", timeout=10)
    assert isinstance(whole.result, ChordError)


def test_a_chain_stops_at_a_failing_step(worker: Worker, client: Client) -> None:
    """Whoever waits for the end of the chain is told."""
    last = chain(ask("BAD"), ask("then ${previous}"), ask("last"))()

    with pytest.raises(JobFailed, match="NO_GOOD"):
        last.get(timeout=10)


def test_a_chain_through_a_task_of_the_users(worker: Worker, client: Client) -> None:
    """Ours, theirs, ours."""
    last = chain(ask("a"), app.signature("foreign.note"), ask("after ${previous}"))()

    assert "yes" == last.get(timeout=10)["answer"]


def test_a_group_in_a_chain_becomes_a_chord(worker: Worker, client: Client) -> None:
    """One, then three at once, then one over all."""
    last = chain(ask("a"), group(ask("b"), ask("c"), ask("d")), app.signature("foreign.join"))()

    assert "yes+yes+yes" == last.get(timeout=15)


def test_a_group_of_chains(worker: Worker, client: Client) -> None:
    """Each chain is one part."""
    parts = group(chain(ask("a"), ask("${previous} 1")), chain(ask("b"), ask("${previous} 2")))()

    assert ["yes", "yes"] == [part["answer"] for part in parts.get(timeout=15)]


def test_a_chord_of_chains(worker: Worker, client: Client) -> None:
    """The last step of each chain counts."""
    header = [chain(ask("a"), ask("${previous}")), chain(ask("b"), ask("${previous}"))]
    whole = chord(header)(app.signature("foreign.join"))

    assert "yes+yes" == whole.get(timeout=15)


def test_an_immutable_step_ignores_what_came_before(worker: Worker, client: Client) -> None:
    """`.si` takes no result."""
    last = chain(ask("a"), infer.si(model="fake-a", prompt="alone"))()

    assert "yes" == last.get(timeout=10)["answer"]
