"""`honeyflow quarantine`: what came out of a queue and was no message, looked at and dropped."""

from __future__ import annotations

import json
import uuid
from collections.abc import Callable

import pytest
from celery import Celery
from click.testing import Result
from typer.testing import CliRunner

from cli.main import app
from ledger import quarantine
from tasks import infer, ledger_id
from tasks.client import Client
from tasks.errors import HoneyflowError
from tests.integration.scripts import YES
from tests.stack import Worker, wait_for

Serve = Callable[..., Worker]


def run(*words: str) -> Result:
    """What the command says."""
    return CliRunner().invoke(app, ["quarantine", *words])


def code(told: Result) -> str:
    """The code of the error that it ended with."""
    return str(getattr(told.exception, "code", told.exception))


def totals(client: Client) -> dict[str, int]:
    """How many there ever were of each kind."""
    with client.ledger.read() as tx:
        return quarantine.totals(tx)


def push(client: Client, *elements: bytes) -> None:
    """Put elements among the messages of a model."""
    with ledger_id.connect(client.settings) as redis:
        redis.lpush("model.fake-a", *elements)


@pytest.fixture
def kept(serve: Serve, client: Client) -> list[bytes]:
    """Three elements in quarantine, of which one holds what a terminal would obey."""
    before = sum(totals(client).values())
    mark = uuid.uuid4().hex.encode()
    elements = [b"garbage{" + mark, b"\x1b[31m\xff" + mark, b"[1, 2]"]
    serve(script=YES)
    push(client, *elements)
    wait_for(lambda: sum(totals(client).values()) == before + 3)
    return elements


def test_the_list_tells_where_when_and_why(client: Client, kept: list[bytes]) -> None:
    """The newest first; nothing that a terminal would obey; and what there ever was."""
    lines = [json.loads(line) for line in run("list", "--json", "--limit", "3").stdout.splitlines()]
    table = run("list").stdout

    assert ["MESSAGE_SHAPE", "MESSAGE_NOT_JSON", "MESSAGE_NOT_JSON"] == [x["reason"] for x in lines]
    assert {"model.fake-a"} == {line["queue"] for line in lines}
    assert [len(one) for one in reversed(kept)] == [line["size"] for line in lines]
    assert all(line["worker"] and line["detail"] and line["digest"] for line in lines)
    assert "\x1b" not in table
    assert f"MESSAGE_NOT_JSON {totals(client)['MESSAGE_NOT_JSON']}" in table


def test_show_prints_the_bytes(client: Client, kept: list[bytes]) -> None:
    """As they were in the queue, whatever they are."""
    newest = json.loads(run("list", "--json", "--limit", "1").stdout)["id"]

    assert kept == [run("show", str(newest - back)).stdout_bytes for back in (2, 1, 0)]
    assert "QUARANTINE_UNKNOWN" == code(run("show", str(newest + 1)))


@pytest.mark.parametrize("number", [str(2**63), "9" * 21, "9" * 400, "0"])
def test_a_number_that_no_element_can_have_is_not_known(client: Client, number: str) -> None:
    """However large it is; whoever asks over HTTP is told so too."""
    told = run("show", number)

    assert isinstance(told.exception, HoneyflowError)
    assert ("QUARANTINE_UNKNOWN", 404) == (told.exception.code, told.exception.http_status)
    assert "0 dropped." in run("drop", number).stdout


def test_drop_deletes_and_the_counts_stay(client: Client, kept: list[bytes]) -> None:
    """By their ids, or all."""
    newest = json.loads(run("list", "--json", "--limit", "1").stdout)["id"]
    before = totals(client)

    assert "2 dropped." in run("drop", str(newest), str(newest - 1)).stdout
    assert "QUARANTINE_UNKNOWN" == code(run("show", str(newest)))
    assert kept[0] == run("show", str(newest - 2)).stdout_bytes
    assert "dropped." in run("drop", "--all").stdout
    assert "" == run("list", "--json").stdout
    assert before == totals(client)


@pytest.mark.parametrize("words", [(), ("1", "--all")])
def test_what_is_dropped_is_said_in_one_way(client: Client, words: tuple[str, ...]) -> None:
    """Nothing, or ids and everything, are mistakes."""
    assert "OPTIONS_EXCLUSIVE" == code(run("drop", *words))


def test_a_second_request_under_an_id_is_kept(serve: Serve, client: Client) -> None:
    """The first one's sender waits under it, and is not told of the second."""
    serve(script=YES)
    stock = Celery(broker=infer.app.conf.broker_url, backend=infer.app.conf.broker_url)
    job_id, before = str(uuid.uuid4()), totals(client).get("JOB_CONFLICT", 0)
    fields = {"model": "fake-a", "prompt": "x"}
    first = stock.send_task("tasks.infer", kwargs=fields, task_id=job_id)
    assert "yes" == first.get(timeout=10)["answer"]

    stock.send_task("tasks.infer", kwargs={**fields, "prompt": "y"}, task_id=job_id)

    wait_for(lambda: before + 1 == totals(client).get("JOB_CONFLICT"))
    assert "succeeded" == str(client.job(job_id).state)
    assert "SUCCESS" == stock.AsyncResult(job_id).state
    stock.close()


def test_what_names_no_job_is_kept_and_acked(serve: Serve, client: Client) -> None:
    """A true message of a job that this ledger does not have, and one of a task nobody knows."""
    serve(script=YES)
    before = totals(client)
    infer.app.send_task("tasks.nobody", task_id=str(uuid.uuid4()))
    with ledger_id.connect(client.settings) as redis:
        ticket = client.submit({"model": "fake-a", "prompt": "x"}, delay_s=3600)
        message = infer.app.amqp.as_task_v2(str(uuid.uuid4()), "tasks.infer")
        message.headers["honeyflow"] = {"v": 1, "ledger": client.ledger.uuid, "n": 1, "wave": 1}
        with infer.app.producer_pool.acquire(block=True) as producer:
            infer.app.amqp.send_task_message(producer, "tasks.infer", message, queue="model.fake-a")
            message.headers["id"] = ticket.job_id
            message.headers["honeyflow"]["ledger"] = str(uuid.uuid4())
            infer.app.amqp.send_task_message(producer, "tasks.infer", message, queue="model.fake-a")
        wanted = ("TASK_UNKNOWN", "JOB_UNKNOWN", "LEDGER_FOREIGN")
        wait_for(lambda: all(totals(client).get(one, 0) > before.get(one, 0) for one in wanted))
        wait_for(lambda: 0 == redis.llen("model.fake-a\x06\x163"))
        wait_for(lambda: redis.hlen("unacked") == 0)
    assert "scheduled" == str(client.job(ticket.job_id).state)
