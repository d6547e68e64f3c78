"""Chords of our jobs and of the user's tasks, in any mixture, from any sender."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from celery import Celery, chain, chord, group
from celery.canvas import Signature
from celery.exceptions import ChordError

from ledger import chords, jobs
from tasks import app
from tasks.client import Client
from tasks.errors import JobFailed
from tests.integration.foreign import (
    LONG,
    OPTIONS,
    SCRIPT,
    TOO_LONG,
    ask,
    counted,
    theirs,
    write,
)
from tests.stack import Worker, wait_for

Serve = Callable[..., Worker]


@pytest.fixture
def notes(home: Path) -> Path:
    """Where the user's own tasks write."""
    return write(home)


@pytest.fixture(autouse=True)
def worker(serve: Serve, notes: Path, client: Client) -> Worker:
    """A worker that also knows the user's tasks."""
    return serve(*OPTIONS, script=SCRIPT)


def test_a_chord_of_ours_and_of_the_users() -> None:
    """The body gets all results, in the header's order."""
    header = [ask("a"), theirs("const", 5), ask("b"), theirs("const", None)]
    whole = chord(header)(theirs("join"))

    assert "yes+5+yes+None" == whole.get(timeout=15)


def test_a_mixed_chord_with_a_body_of_ours(client: Client) -> None:
    """`${previous}` stands for all results."""
    whole = chord([theirs("const", 5), ask("a")])(ask("all: ${previous}"))

    assert "yes" == whole.get(timeout=15)["answer"]
    with client.ledger.read() as tx:
        assert 'all: [5, \\"yes\\"]' in jobs.request(tx, whole.id).decode()


def test_a_chord_with_a_chain_that_ends_in_a_users_task(notes: Path) -> None:
    """The last step of the chain counts, whoever's it is."""
    whole = chord([ask("a"), chain(ask("b"), theirs("note"))])(theirs("join"))

    assert "yes+noted" == whole.get(timeout=15)


def test_a_chord_of_the_users_tasks_alone(notes: Path) -> None:
    """Counted like any other; its body runs once."""
    header = [theirs("const", number) for number in range(20)]
    whole = chord(header)(theirs("join") | theirs("count", word="body"))

    assert "body" == whole.get(timeout=15)
    assert 1 == counted(notes)["body"]


def test_a_group_inside_a_chord_gives_a_list() -> None:
    """As in Celery, also where the group's parts count from 0 again."""
    inner = chain(ask("a"), group(theirs("const", 1), theirs("const", 2)))
    whole = chord([inner, theirs("const", 3)])(theirs("const"))

    assert [[1, 2], 3] == whole.get(timeout=15)


def test_a_failing_part_of_the_users_fails_the_chord() -> None:
    """With the ids and the cause."""
    whole = chord([ask("a"), theirs("raise")])(theirs("join"))

    with pytest.raises(Exception, match="no good"):
        whole.get(timeout=15)
    wait_for(lambda: whole.state == "FAILURE")
    assert isinstance(whole.result, ChordError)


@pytest.mark.parametrize("last", [ask("${previous}"), theirs("note")])
def test_a_chain_that_fails_in_a_chord_fails_it(last: Signature[Any]) -> None:
    """Its last step, which never ran, is a part that has failed."""
    whole = chord([ask("a"), chain(ask("BAD"), last)])(theirs("join"))

    wait_for(lambda: whole.state == "FAILURE", timeout=15)
    assert isinstance(whole.result, ChordError)


def test_a_part_that_cannot_be_submitted_fails_the_chord() -> None:
    """It is a failed job, and a part that has failed."""
    whole = chord([ask("a"), chain(ask("AT LENGTH"), ask(TOO_LONG))])(theirs("join"))

    wait_for(lambda: whole.state == "FAILURE", timeout=15)
    assert isinstance(whole.result, ChordError)


def test_a_body_that_cannot_be_submitted_fails(client: Client) -> None:
    """Whoever waits for it gets the typed error."""
    whole = chord([ask("AT LENGTH"), theirs("const", LONG)])(ask(TOO_LONG))

    with pytest.raises(JobFailed, match="PROMPT_TOO_LARGE"):
        whole.get(timeout=15)
    assert "failed" == client.job(whole.id).state


def test_a_body_is_set_off_again_when_its_setter_died(client: Client) -> None:
    """A chord that was taken and never done is not lost."""
    header = group(ask("SLOW a"), ask("SLOW b"))
    whole = chord(header)(theirs("join"))
    parts: Any = whole.parent
    with client.ledger.write() as tx:
        assert chords.take(tx, parts.id, 0) == "mine"

    wait_for(lambda: [part.ready() for part in parts.results] == [True, True])
    with client.ledger.write() as tx:
        chords.give_back(tx, parts.id)

    assert "yes+yes" == whole.get(timeout=15)


@pytest.mark.parametrize("mixed", [False, True])
def test_a_chord_of_a_stock_sender(mixed: bool) -> None:
    """An app that has only the broker's address leaves the chord's size in Redis."""
    stock = Celery(broker=app.conf.broker_url, backend=app.conf.broker_url)
    job = stock.signature("tasks.infer", kwargs={"model": "fake-a", "prompt": "x"})
    body = stock.signature("tasks.infer", kwargs={"model": "fake-a", "prompt": "all ${previous}"})
    other = stock.signature("foreign.const", args=[7])

    whole = chord([job, other if mixed else job], body, app=stock).apply_async()

    assert "yes" == whole.get(timeout=15)["answer"]


def test_a_chord_of_a_stock_sender_without_jobs() -> None:
    """Celery's own way."""
    stock = Celery(broker=app.conf.broker_url, backend=app.conf.broker_url)
    header = [stock.signature("foreign.const", args=[number]) for number in range(3)]

    whole = chord(header, stock.signature("foreign.join"), app=stock).apply_async()

    assert "0+1+2" == whole.get(timeout=15)
