"""What hostile or broken senders put into the broker harms no worker and starts nothing."""

from __future__ import annotations

import json
import pickle
import time
import uuid
from pathlib import Path
from typing import Any

import pytest
from celery import Celery, chain

from ledger import jobs, quarantine
from tasks import payloads
from tests.chaos import messages
from tests.chaos.harness import YES, Cluster, NewCluster
from tests.chaos.history import ACCEPTED
from tests.chaos.reporting import Report, fault
from tests.stack import wait_for

EVENTS = "_kombu.binding.celeryev"
TYPED: list[tuple[str, Any]] = [
    ("datetime", "2026-01-01T00:00:00"),
    ("date", "2026-01-01"),
    ("time", "12:00:00"),
    ("decimal", "1.5"),
    ("uuid", {"hex": "0" * 32}),
    ("bytes", "abc"),
    ("base64", "YWJj"),
    ("decimal", "no number"),
    ("nobody", [1, {"__type__": "nobody", "__value__": None}]),
]


class Touch:
    """Makes a file when it is unpickled."""

    def __init__(self, path: str) -> None:
        self._path = path

    def __reduce__(self) -> Any:
        return Path.touch, (Path(self._path),)


def kept(home: Cluster) -> dict[str, int]:
    """How many elements came into quarantine, by reason."""
    with home.client.ledger.read() as tx:
        return quarantine.totals(tx)


@fault("T70", "100 garbage elements on the queues' lists", required="0 exits, 100 kept, good done")
def test_garbage_goes_to_quarantine(cluster: NewCluster, report: Report) -> None:
    """Whatever it is: the worker takes the next message as if nothing had been there."""
    home = cluster()
    home.script(YES)
    worker = home.start_worker()
    (job,) = messages.entered(home)
    ours = messages.job_message(home, job)
    stock = messages.stock_message(home, "tasks.infer", model="fake-a", prompt="x")
    bad = messages.garbage(ours, stock)
    good: list[str] = []

    for number in range(100):
        queue = ("model.fake-a", "celery")[number % 2]
        messages.put(home, queue, bad[number % len(bad)], priority=3 * (number % 4))
        if number % 10 == 0:
            good += home.submit(1)
    messages.put(home, "model.fake-a", ours, priority=3)
    home.tell([job.id], ACCEPTED)
    home.wait_all([job.id, *good])
    wait_for(lambda: sum(kept(home).values()) >= 100, 20, lambda: f"{kept(home)}")

    report(f"{int(not worker.alive)} exits, {sum(kept(home).values())} kept, {len(bad)} kinds")
    assert worker.alive
    assert 100 == sum(kept(home).values())
    with home.client.ledger.read() as tx:
        rows = quarantine.list(tx, 200)
    assert all(row.reason and row.detail and row.worker == worker.name for row in rows)
    wait_for(lambda: 0 == messages.waiting(home, "model.fake-a", "celery"))


ODD: list[Any] = [
    *(7, -1, True, "odd", "\x00", "x\ud800", "x" * 300, [1, [2]], {"a": {"b": 1}}, [["x"]]),
    *(2**31, 2**70, float("nan"), float("inf"), [float("nan"), None]),
]


@fault("T70", "odd values in Celery's own headers", required="0 exits, all accounted for")
def test_odd_headers_end_no_worker(cluster: NewCluster, report: Report) -> None:
    """What Celery reads out of a message may be of any type, and no message vanishes over it."""
    home = cluster()
    home.script(YES)
    worker = home.start_worker()
    stock = messages.stock_message(home, "tasks.infer", model="fake-a", prompt="x")
    bare = messages.stock_message(home, "tasks.sweep_workers")
    names = [name for name in bare["headers"] if name not in ("task", "id")]
    more = ("stamps", "stamped_headers", "headers", "redelivered", "callbacks", "chain", "chord")
    sent: dict[str, str] = {}

    for name in (*names, *more):
        for value in ODD:
            for message in (bare, stock):
                task_id = str(uuid.uuid4())
                made = messages.bent(message, headers={name: value})
                messages.put(home, "celery", messages.under(task_id, made))
                sent[task_id] = f"{message['headers']['task']} with {name} = {value!r:.40}"
    for canvas in messages.odd_canvases():
        task_id = str(uuid.uuid4())
        body = messages.encoded(json.dumps([[], {"model": "fake-a", "prompt": "x"}, canvas]))
        messages.put(home, "celery", messages.under(task_id, messages.bent(stock, body=body)))
        sent[task_id] = f"tasks.infer with {canvas!r:.80}"
    good = home.submit(1)
    home.wait_all(good)
    wait_for(lambda: 0 == messages.waiting(home, "celery", "model.fake-a"), 60, home.tail)
    lost = set(sent)

    def accounted() -> bool:
        lost.difference_update(*messages.accounts(home, worker.text(), lost).values())
        return not lost

    wait_for(accounted, 20, lambda: f"{[sent[one] for one in lost]}")
    found = messages.accounts(home, worker.text(), set(sent))
    told = ", ".join(f"{len(ids)} {name}" for name, ids in found.items())
    report(f"{int(not worker.alive)} exits, {len(sent)} sent: {told}; {len(lost)} lost")
    assert worker.alive


@fault("T70", "a stock message that no ledger can hold", required="kept, and its sender told")
@pytest.mark.parametrize("place", ["a later step", "a callback", "an error callback"])
def test_what_cannot_be_stored_is_told_to_its_sender(
    cluster: NewCluster, report: Report, place: str
) -> None:
    """JSON that Celery writes and no database takes; whoever waits for the last step learns it."""
    home = cluster()
    home.script(YES)
    home.start_worker()
    stock = Celery(broker=home.broker.url, backend=home.broker.url, set_as_current=False)
    fields = {"model": "fake-a", "prompt": "x", "policy": "fixed:1"}
    good = stock.signature("tasks.infer", kwargs=fields)
    bad = stock.signature("tasks.infer", kwargs={**fields, "temperature": float("nan")})
    call = {
        "a later step": chain(good, bad, good.clone(), app=stock),
        "a callback": good.clone(link=[bad]),
        "an error callback": good.clone(link_error=[bad]),
    }[place]

    asked = call.apply_async()
    with pytest.raises(Exception, match="cannot be stored"):
        asked.get(timeout=20)
    wait_for(lambda: {"INVALID_VALUE": 1} == kept(home), 5, lambda: f"{kept(home)}")
    report(f"told, {kept(home)}")
    stock.close()


@fault("T31", "the ledger's file is away while stock messages come", required="lost 0")
def test_stock_messages_outlive_a_ledger_that_is_gone(cluster: NewCluster, report: Report) -> None:
    """They go back to their queue, slowly, although the ledger says that no second try helps."""
    home = cluster()
    home.script(YES)
    worker = home.start_worker()
    ledger = home.home / "data" / "ledger.db"
    stock = messages.stock_message(home, "tasks.infer", model="fake-a", prompt="x")
    ids = [str(uuid.uuid4()) for _ in range(6)]
    away = ledger.rename(ledger.with_name("away.db"))

    for task_id in ids:
        messages.put(home, "celery", messages.under(task_id, stock))
    wait_for(lambda: "goes back to its queue" in worker.text(), 20, home.tail)
    time.sleep(3)
    turns = worker.text().count("goes back to its queue")
    away.rename(ledger)
    if not worker.alive:
        home.start_worker()
    home.tell(ids, ACCEPTED)
    home.wait_all(ids, timeout=30)

    report(f"lost {home.lost(ids)} of {len(ids)}, {turns} times put back in 3 s")
    assert turns < 30


@fault("T70", "garbage on the channels of events and commands", required="0 exits, good done")
def test_garbage_beside_the_queues_ends_no_worker(cluster: NewCluster, report: Report) -> None:
    """Celery's gossip and remote control read from Redis as well."""
    home = cluster()
    home.script(YES)
    worker = home.start_worker()
    client = home.redis()
    (job,) = messages.entered(home)
    bad = messages.garbage(
        messages.job_message(home, job), messages.stock_message(home, "tasks.infer")
    )
    for element in bad:
        wait_for(lambda: client.pubsub_numpat() and client.smembers(EVENTS), 10, home.tail)
        for bound in client.smembers(EVENTS):
            client.lpush(bound.split(b"\x06\x16")[-1], element)
        client.publish("/0.celery.pidbox", element)
    home.wait_all([job.id, *home.submit(1)])
    wait_for(lambda: home.client.app.control.ping(timeout=1, limit=1), 10, home.tail)

    report(f"{int(not worker.alive)} exits; {len(bad)} elements each")
    assert worker.alive


@fault("T71", "kombu's typed values in prompts, metadata and kwargs", required="0 lost, identical")
def test_typed_values_are_text_to_us(cluster: NewCluster, report: Report) -> None:
    """What kombu would decode reaches the engine and the receipt as it was written."""
    home = cluster()
    typed = [{"__type__": kind, "__value__": value} for kind, value in TYPED]
    prompts = [json.dumps(one) for one in typed]
    home.script(
        {"rules": [{"marker": p, "answers": [{"text": f"saw {i}"}]} for i, p in enumerate(prompts)]}
    )
    home.start_worker()
    wanted: dict[str, tuple[str, dict[str, Any]]] = {}

    for number, (prompt, value) in enumerate(zip(prompts, typed, strict=True)):
        fields: dict[str, Any] = {
            "model": "fake-a",
            "prompt": prompt,
            "policy": "fixed:1",
            "metadata": {name: str(part) for name, part in value.items()},
            "response_format": {"type": "json_schema", "json_schema": {"schema": {"const": value}}},
        }
        ticket = home.client.submit(fields)
        task_id = str(uuid.uuid4())
        Celery.send_task(home.client.app, "tasks.infer", kwargs=fields, task_id=task_id)
        for job_id in (ticket.job_id, task_id):
            home.tell([job_id], ACCEPTED)
            wanted[job_id] = (f"saw {number}", fields)
    refused = str(uuid.uuid4())
    Celery.send_task(home.client.app, "tasks.infer", kwargs=typed[0], task_id=refused)
    wait_for(lambda: home.lost([*wanted, refused]) == 0, 20, home.tail)

    answers = {one: home.client.result_of(home.job(one)).answer for one in wanted}
    report(f"lost {home.lost(list(wanted))} of {len(wanted)}, {len(TYPED)} types")
    assert {one: answer for one, (answer, _) in wanted.items()} == answers
    for job_id, (_, fields) in wanted.items():
        with home.client.ledger.read() as tx:
            stored = jobs.request(tx, job_id)
        assert payloads.parse_request(fields).to_bytes() == stored
    assert "failed" == home.state(refused)


@fault("T74", "pickle, YAML and msgpack under true headers", required="0 decoded, all kept")
def test_no_other_content_is_decoded(cluster: NewCluster, report: Report) -> None:
    """The kind of content is looked at before the content; a pickle would run what it names."""
    home = cluster()
    home.script(YES)
    worker = home.start_worker()
    canary = home.home / "canary"
    (job,) = messages.entered(home)
    message = messages.job_message(home, job)
    pickled = pickle.dumps(Touch(str(canary)))
    bodies = {
        "application/x-python-serialize": pickled,
        "application/x-yaml": f"!!python/object/apply:os.mkdir [{canary}]".encode(),
        "application/x-msgpack": b"\x93\x90\x80\x80",
        "application/data": pickled,
        "application/json": pickled,
        "text/plain": b"[[], {}, {}]",
    }
    number = 0
    for kind, body in bodies.items():
        for encoding in ("utf-8", "binary", "us-ascii"):
            bad = messages.bent(
                message,
                **{"content-type": kind, "content-encoding": encoding},
                body=messages.encoded(body),
            )
            messages.put(home, "model.fake-a", bad)
            messages.put(home, "celery", messages.without(bad, "headers", "honeyflow"))
            number += 2
    wait_for(lambda: sum(kept(home).values()) == number, 20, home.tail)
    messages.put(home, "model.fake-a", message)
    home.tell([job.id], ACCEPTED)
    home.wait_all([job.id])

    report(f"{int(canary.exists())} decoded, {number} kept: {kept(home)}")
    assert not canary.exists()
    assert worker.alive
    assert {"CONTENT_REFUSED", "BODY_INVALID"} == set(kept(home))


@fault("T76", "remote-control broadcasts that nobody signed", required="refused; look-ups answer")
def test_remote_control_harms_nothing(cluster: NewCluster, report: Report) -> None:
    """Whoever reaches the broker may look and cancel, and no more."""
    home = cluster()
    home.script(YES)
    worker = home.start_worker()
    control = home.client.app.control
    before = control.inspect(timeout=1).active_queues()
    forbidden: list[tuple[str, dict[str, Any]]] = [
        *((name, {}) for name in ("shutdown", "pool_restart", "pool_shrink", "pool_grow")),
        ("autoscale", {"max": 0, "min": 0}),
        ("add_consumer", {"queue": "elsewhere"}),
        ("cancel_consumer", {"queue": "model.fake-a"}),
        ("rate_limit", {"task_name": "tasks.infer", "rate_limit": "1/h"}),
        ("time_limit", {"task_name": "tasks.infer", "soft": 0.001, "hard": 0.001}),
        *(
            ("terminate", {"signal": "KILL", "task_id": "x"}),
            ("election", {"id": "1", "topic": ""}),
        ),
        *(("memsample", {}), ("memdump", {}), ("objgraph", {"num": 1, "max_depth": 1})),
    ]

    def done(name: str, arguments: dict[str, Any] | None = None) -> bool:
        replies = control.broadcast(name, arguments=arguments, reply=True, timeout=5, limit=1)
        return "error" not in replies[0][worker.name]

    obeyed = [name for name, arguments in forbidden if done(name, arguments)]
    allowed = ["ping", "active", "reserved", "scheduled", "registered", "revoked", "stats", "conf"]
    told = [name for name in allowed if done(name)]
    home.wait_all(home.submit(3))

    report(f"{len(obeyed)} of {len(forbidden)} obeyed, {len(told)} of {len(allowed)} answered")
    assert ([], allowed) == (obeyed, told)
    assert before == control.inspect(timeout=1).active_queues()
    assert worker.alive
