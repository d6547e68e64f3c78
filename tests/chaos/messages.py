"""Messages by hand: what senders that nobody trusts could put into the queues' lists.

A message is a real one first, as `tasks.publish` makes it; then it is bent.
"""

from __future__ import annotations

import base64
import copy
import json
import os
import pickle
import re
import uuid
from dataclasses import replace
from typing import Any

from celery import Celery

from ledger import Job, jobs, quarantine
from routing import list_keys
from tasks import publish
from tests.chaos.harness import Cluster

SPARE = "spare"
_UUID = re.compile("[0-9a-f]{8}-[0-9a-f-]{27}")
_RAN = re.compile(r"\[([0-9a-f-]{36})\] succeeded")
Envelope = dict[str, Any]


def job_message(home: Cluster, job: Job) -> Envelope:
    """The message of a job, which nobody has sent."""
    client = home.client
    moved = replace(job, queue=SPARE)
    publish.send(client.app, [moved], ledger_uuid=client.ledger.uuid)
    return _popped(home, job.queue)


def stock_message(home: Cluster, name: str, *args: Any, **kwargs: Any) -> Envelope:
    """The message that a stock Celery program sends, which has the broker and nothing else."""
    Celery.send_task(home.client.app, name, args=args, kwargs=kwargs, queue=SPARE)
    return _popped(home, "celery")


def entered(home: Cluster, number: int = 1, **fields: Any) -> list[Job]:
    """Jobs in the ledger whose messages were not sent."""
    asked = {"model": "fake-a", "prompt": "x", "policy": "fixed:1", **fields}
    with home.client.ledger.write() as tx:
        return jobs.submit(tx, [home.client.draft(asked) for _ in range(number)])


def put(home: Cluster, queue: str, *elements: bytes | Envelope, priority: int = 0) -> None:
    """Put elements at the end of one of a queue's lists."""
    raw = [one if isinstance(one, bytes) else json.dumps(one).encode() for one in elements]
    with home.broker.client() as client:
        client.lpush(list_keys(queue)[priority // 3], *raw)


def bent(message: Envelope, **changes: Any) -> Envelope:
    """A message with other members; `headers`, `properties` and `delivery` change single ones."""
    made = copy.deepcopy(message)
    for name, place in (
        ("headers", made["headers"]),
        ("properties", made["properties"]),
        ("delivery", made["properties"]["delivery_info"]),
    ):
        place.update(changes.pop(name, {}))
    return {**made, **changes}


def under(task_id: str, message: Envelope) -> Envelope:
    """A message under another id, with a tag of its own, by which Redis knows it."""
    return bent(message, headers={"id": task_id}, properties={"delivery_tag": task_id})


def without(message: Envelope, *path: str) -> Envelope:
    """A message that lacks one member."""
    made = place = copy.deepcopy(message)
    for name in path[:-1]:
        place = place[name]
    del place[path[-1]]
    return made


def encoded(text: str | bytes) -> str:
    """A body as kombu puts it into a message."""
    return base64.b64encode(text.encode() if isinstance(text, str) else text).decode()


def waiting(home: Cluster, *queues: str) -> int:
    """How many elements are in these queues, or in a worker's hand."""
    with home.broker.client() as client:
        listed: int = sum(client.llen(key) for queue in queues for key in list_keys(queue))  # type: ignore[misc]
        return listed + int(client.hlen("unacked"))  # type: ignore[arg-type]


def odd_canvases() -> list[Any]:
    """What a stock message may say that comes next, and no ledger can hold or nobody can read."""
    later = {"task": "tasks.infer", "args": [], "kwargs": {}, "options": {"task_id": "later"}}
    values = (float("nan"), float("inf"), "\0", "\ud800", 2**70, [[float("nan")]])
    steps = [{**later, "kwargs": {"model": "fake-a", "temperature": value}} for value in values]
    names = ("chain", "callbacks", "errbacks")
    return [
        *({name: [step]} for name in names for step in steps),
        *({"chord": step} for step in steps),
        *({name: value} for name in (*names, "chord") for value in (7, "odd", [7], {"a": 1})),
        *([], [7], 7, "odd", None, {"chord": {"chord_size": float("nan")}}),
    ]


def accounts(home: Cluster, log: str, ids: set[str]) -> dict[str, set[str]]:
    """Of the messages under these ids, which are where: nothing that came out of a queue vanishes.

    A message may be in more than one place, as one that was kept and whose sender was told.
    """
    with home.client.ledger.read() as tx:
        rows = quarantine.list(tx, quarantine.MAX_ROWS)
        entered_ids = {job.id for job in jobs.list(tx, limit=100_000)}
    with home.broker.client() as client:
        raw = {one: client.get(f"celery-task-meta-{one}") for one in ids}
    results = {one: json.loads(meta)["status"] for one, meta in raw.items() if meta}  # type: ignore[arg-type]
    return {
        "in quarantine": {one for row in rows for one in _UUID.findall(row.data.decode())} & ids,
        "jobs": entered_ids & ids,
        "told of the failure": {one for one in results if results[one] in ("FAILURE", "REVOKED")},
        "ordinary tasks that ran": set(_RAN.findall(log)) & ids,
    }


def garbage(ours: Envelope, stock: Envelope) -> list[bytes]:
    """What is no message, of all the kinds that have been seen or can be thought of."""
    deep = "[" * 500 + "]" * 500
    odd: list[Envelope] = [
        *(without(ours, name) for name in ("body", "headers", "properties", "content-type")),
        *(without(stock, "headers", name) for name in ("id", "task")),
        without(ours, "properties", "delivery_tag"),
        without(ours, "properties", "delivery_info"),
        bent(ours, headers={"id": None}),
        bent(ours, headers={"id": ["x"]}),
        bent(ours, headers={"task": {"a": 1}}),
        bent(ours, headers={"honeyflow": [1]}),
        bent(ours, headers={"honeyflow": {"ledger": "x", "n": 1.5, "wave": 1}}),
        bent(ours, headers={"honeyflow": {"ledger": "x", "n": 2**70, "wave": 1}}),
        bent(ours, headers={"compression": "application/x-gzip"}),
        bent(ours, headers={"compression": "application/x-nobody"}),
        bent(ours, headers={"eta": [1]}),
        bent(ours, headers={"reply_to": {}}),
        bent(ours, properties={"delivery_tag": 7}),
        bent(ours, properties={"body_encoding": "rot13"}),
        bent(ours, properties={"priority": "high"}),
        bent(ours, delivery={"exchange": None}),
        bent(ours, body=encoded("[]")),
        bent(ours, body=encoded("[[], {}]")),
        bent(ours, body=encoded("null")),
        bent(ours, body="!!! no Base64 !!!"),
        bent(ours, body=encoded(b"\xff\xfe")),
        bent(ours, body=["x"]),
        bent(stock, body=encoded(f"[[], {{}}, {deep}]")),
        bent(stock, headers={"task": "other.task"}, body=encoded('[[{"__type__":"x"}], 1, {}]')),
        bent(
            stock,
            headers={"task": "other.task"},
            body=encoded('[[{"__type__": "nobody", "__value__": 1}], {}, {}]'),
        ),
        bent(stock, headers={"task": "tasks.nobody", "id": str(uuid.uuid4())}),
        bent(ours, headers={"id": str(uuid.uuid4())}),
        # Celery's protocol 1, which has no headers.
        {**ours, "headers": {}, "body": encoded(json.dumps({"task": "tasks.infer", "id": "1"}))},
    ]
    foreign: list[Any] = [
        {"class": "HardWorker", "args": ["x"], "jid": "b4a577edbccf1d805744efa9", "retry": True},
        {"queue_name": "default", "actor_name": "add", "args": [1], "message_id": "5"},
        {"v": 2, "jobs": [{"__type__": "datetime", "__value__": "never"}]},
        {"body": deep},
        *([], {}, None, 42, "text", [1, 2], True),
    ]
    plain = [
        *(b"garbage{", b"", b"\x00" * 64, b"\xff\xfe\xfd", b"NaN", b"9" * 5000, b'{"a":1,"a"'),
        *(deep.encode(), b"[" * 100_000, b'{"a":' * 100_000, b"rq:job:0c2f", os.urandom(256)),
        pickle.dumps({"task": "tasks.infer"}),
    ]
    return [*(json.dumps(one).encode() for one in (*odd, *foreign)), *plain]


def _popped(home: Cluster, queue: str) -> Envelope:
    with home.broker.client() as client:
        found = [raw for key in list_keys(SPARE) if (raw := client.rpop(key)) is not None]
    (message,) = (json.loads(raw) for raw in found)  # type: ignore[arg-type]
    message["properties"]["delivery_info"]["routing_key"] = queue
    made: Envelope = message
    return made
