"""Steps that cannot be set off: refused where the caller is, or told to whoever waits."""

from __future__ import annotations

import datetime as dt
import uuid
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from celery import chain, chord, group

from ledger import NewJob, jobs
from tasks import app, canvas, infer
from tasks.client import Client
from tasks.errors import JobFailed, RequestInvalid
from tests.integration.foreign import OPTIONS, SCRIPT, TOO_LONG, ask, counted, theirs, write
from tests.stack import Worker, wait_for

Serve = Callable[..., Worker]


@pytest.fixture
def notes(home: Path) -> Path:
    """Where the user's own tasks write."""
    return write(home)


@pytest.fixture
def worker(serve: Serve, notes: Path, client: Client) -> Worker:
    """A worker that also knows the user's tasks."""
    return serve(*OPTIONS, script=SCRIPT)


def known(client: Client, job_id: str) -> bool:
    """Whether there is such a job."""
    with client.ledger.read() as tx:
        return jobs.get(tx, job_id) is not None


def entered(client: Client) -> set[str]:
    """The ids of all jobs there are."""
    with client.ledger.read() as tx:
        return {job.id for job in jobs.list(tx, limit=10_000)}


def odd(prompt: str, **options: Any) -> Any:
    """One job of ours with options that are not what they should be."""
    step: Any = ask(prompt)
    return step.set(**options)


NOPE = ask("x", model="nope")


@pytest.mark.parametrize(
    ("call", "code"),
    [
        (chain(ask("a"), NOPE), "MODEL_UNKNOWN"),
        (chain(ask("a"), ask("b", k=99), ask("c")), "K_OUT_OF_RANGE"),
        (chain(ask("a"), ask("b", max_tokens="many")), "REQUEST_INVALID"),
        (chain(ask("a"), ask("b").set(expires=-1)), "DEADLINE_EXPIRED"),
        (chain(ask("a"), odd("b", priority="x")), "PRIORITY"),
        (chain(ask("a"), group(ask("b"), chain(ask("c"), NOPE))), "MODEL_UNKNOWN"),
        (lambda: chord([ask("a"), ask("b")])(NOPE), "MODEL_UNKNOWN"),
        (chain(ask("a"), chord([ask("b")], NOPE), ask("c")), "MODEL_UNKNOWN"),
        (lambda: ask("a").apply_async(link=[theirs("note"), NOPE]), "MODEL_UNKNOWN"),
        (lambda: ask("a").apply_async(link_error=NOPE), "MODEL_UNKNOWN"),
        (lambda: ask("a").apply_async(link=odd("b", link="x")), "CANVAS_INVALID"),
    ],
)
def test_a_later_step_is_checked_where_the_caller_is(
    client: Client, call: Callable[[], Any], code: str
) -> None:
    """Nothing is entered when a step could never be submitted."""
    before = entered(client)

    with pytest.raises(RequestInvalid, match=code):
        call()

    assert before == entered(client)


@pytest.mark.parametrize(
    ("options", "field"),
    [
        ({"priority": "x"}, "priority"),
        ({"countdown": "soon"}, "countdown"),
        ({"countdown": float("nan")}, "countdown"),
        ({"expires": float("inf")}, "expires"),
        ({"eta": "soon"}, "eta"),
        ({"link": "str"}, "link"),
        ({"link_error": [theirs("note"), 5]}, "link_error"),
        ({"link": {"no": "task"}}, "link"),
        ({"group_id": 5}, "group_id"),
        ({"group_index": "zz"}, "group_index"),
        ({"group_index": True}, "group_index"),
    ],
)
def test_a_wrong_option_is_named(client: Client, options: dict[str, Any], field: str) -> None:
    """As a typed error, with nothing entered."""
    before = entered(client)

    with pytest.raises(RequestInvalid, match=field) as caught:
        ask("a").apply_async(**options)

    assert before == entered(client)
    if field in ("link", "link_error", "group_index"):
        assert "CANVAS_INVALID" == caught.value.code


def test_a_priority_may_be_a_name(client: Client) -> None:
    """As everywhere else."""
    job = odd("a", priority="interactive").apply_async()

    assert 0 == client.job(job.id).priority


def test_the_callers_messages_stay_as_they_are() -> None:
    """Only the copy that is sent has the answer in it."""
    turns = [{"role": "user", "content": "${previous}!"}]

    filled = canvas.fill_in({"messages": turns}, [{"answer": "yes"}])

    assert [{"role": "user", "content": "yes!"}] == filled["messages"]
    assert [{"role": "user", "content": "${previous}!"}] == turns


def test_a_step_that_became_too_long_is_told(worker: Worker, client: Client) -> None:
    """It is a failed job under its own id; the rest of the chain ends with it."""
    last = chain(ask("AT LENGTH"), ask(TOO_LONG), theirs("note"), ask("last"))()

    with pytest.raises(JobFailed, match="PROMPT_TOO_LARGE"):
        last.get(timeout=15)

    refused = client.job(last.parent.parent.id)
    assert ("failed", "PROMPT_TOO_LARGE") == (refused.state, (refused.error or {})["code"])
    wait_for(lambda: client.job(refused.id).delivered_at)
    wait_for(lambda: client.job(refused.parent_id or "").delivered_at)


def test_a_step_behind_a_users_task_that_became_too_long_is_told(
    worker: Worker, client: Client
) -> None:
    """The user's task has succeeded all the same."""
    last = chain(theirs("const", "l" * 1000), ask(TOO_LONG))()

    with pytest.raises(JobFailed, match="PROMPT_TOO_LARGE"):
        last.get(timeout=15)

    wait_for(lambda: last.parent.state == "SUCCESS")
    assert "failed" == client.job(last.id).state


def test_a_step_whose_time_is_over_is_told(worker: Worker) -> None:
    """Its deadline was in the future when the chain was sent."""
    soon = dt.datetime.now(dt.UTC) + dt.timedelta(seconds=1)
    last = chain(ask("SLOW"), ask("late").set(expires=soon))()

    with pytest.raises(JobFailed, match="DEADLINE_EXPIRED"):
        last.get(timeout=15)


def test_one_bad_callback_stops_none_of_the_others(
    worker: Worker, client: Client, notes: Path
) -> None:
    """Each is set off once; the bad ones are given up, and the job is delivered."""
    unsendable: Any = theirs("count", word="unsendable")
    unsendable.set(countdown="soon", task_id=str(uuid.uuid4()))
    callbacks = [
        theirs("count", word="first"),
        ask(TOO_LONG).set(link_error=theirs("failed")),
        unsendable,
        theirs("count", word="last"),
    ]
    job = ask("AT LENGTH").apply_async(link=callbacks)

    job.get(timeout=15)
    wait_for(lambda: client.job(job.id).delivered_at)
    wait_for(lambda: counted(notes)["last"] and counted(notes)["failed"])

    assert {"first": 1, "failed": 1, "last": 1} == counted(notes)
    assert 0 == client.job(job.id).delivery_tries
    assert "FAILURE" == app.AsyncResult(unsendable.options["task_id"]).state


def test_an_end_that_cannot_be_told_is_given_up(worker: Worker, client: Client) -> None:
    """After a few rounds, with the reason in the ledger; others are delivered meanwhile."""
    broken = NewJob(
        id=str(uuid.uuid4()),
        model="fake-a",
        queue="model.fake-a",
        request=b"{}",
        policy="dynamic",
        canvas={"chord": "no signature"},
        group_id=str(uuid.uuid4()),
    )
    with client.ledger.write() as tx:
        jobs.refuse(tx, broken, {"code": "X", "message": "x"})

    assert "yes" == ask("a").delay().get(timeout=10)["answer"]
    row = wait_for(lambda: (j := client.job(broken.id)).delivered_at and j)
    assert jobs.MAX_DELIVERIES == row.delivery_tries
    assert "AttributeError" in (row.delivery_error or "")


def test_an_error_callback_of_ours_learns_what_went_wrong(worker: Worker, client: Client) -> None:
    """`${previous}` stands for the failure's sentence, of our job and of a user's task."""
    explain = [ask("Explain: ${previous}").set(task_id=str(uuid.uuid4())) for _ in range(2)]

    ask("BAD").apply_async(link_error=explain[0])
    theirs("raise").apply_async(link_error=explain[1])

    for step, sentence in zip(explain, ("the script says so", "no good"), strict=True):
        job_id = step.options["task_id"]
        wait_for(partial(known, client, job_id))
        assert "yes" == client.wait(job_id, timeout_s=15).answer
        with client.ledger.read() as tx:
            told = jobs.request(tx, job_id).decode()
        assert "Explain: " in told
        assert "${previous}" not in told
        assert sentence in told


def test_a_group_as_a_callback_is_entered_once(worker: Worker, client: Client) -> None:
    """Its members' ids are fixed, so that delivering a job twice enters nothing twice."""
    earlier = entered(client)
    nested = group(ask("b"), chain(ask("c"), ask("${previous}")), chord([ask("d")], ask("e")))
    job = ask("a").apply_async(link=nested)

    job.get(timeout=15)
    wait_for(lambda: client.job(job.id).delivered_at)
    root = uuid.UUID(job.id)
    first = str(uuid.uuid5(root, "link-0.0"))
    assert "yes" == app.AsyncResult(first).get(timeout=15)["answer"]
    before = wait_for(lambda: settled(client, entered(client) - earlier) and entered(client))

    canvas.continue_from(app, client, client.job(job.id))

    assert before == entered(client)


def settled(client: Client, ids: set[str]) -> bool:
    """Whether each of these jobs has ended and been delivered."""
    return all(client.job(job_id).delivered_at for job_id in ids)


def test_infer_alone_is_still_a_callback(worker: Worker, client: Client) -> None:
    """A callback that names no id has one that is made from its job's."""
    job = ask("a").apply_async(link=infer.s(model="fake-a", prompt="then ${previous}"))

    job.get(timeout=15)

    then = str(uuid.uuid5(uuid.UUID(job.id), "link-0"))
    assert "yes" == app.AsyncResult(then).get(timeout=15)["answer"]
