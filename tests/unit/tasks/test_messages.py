"""What comes out of a queue: any bytes are read without an error; what passes, kombu can take."""

from __future__ import annotations

import base64
import json
import tracemalloc
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from kombu.transport.virtual import Channel, Message

from tasks import messages
from tasks.messages import Flaw

STOCK: dict[str, Any] = {
    "body": base64.b64encode(b'[[], {"model": "m"}, {"chord": null}]').decode(),
    "content-encoding": "utf-8",
    "content-type": "application/json",
    "headers": {"task": "tasks.infer", "id": "0b0b1f7e-9d43-4d0e-8f1c-6a6a1c9a7a10", "eta": None},
    "properties": {
        "delivery_tag": "1",
        "delivery_info": {"exchange": "", "routing_key": "model.m"},
        "priority": 3,
        "body_encoding": "base64",
    },
}
OURS = {
    **STOCK,
    "headers": {**STOCK["headers"], "honeyflow": {"v": 1, "ledger": "u", "n": 1, "wave": 3}},
}

json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.text(max_size=5), inner, max_size=3)
        | st.fixed_dictionaries({"__type__": st.text(max_size=8), "__value__": inner})
    ),
    max_leaves=8,
)
places = st.sampled_from(
    [
        *((name,) for name in STOCK),
        *(("headers", name) for name in ("task", "id", "eta", "honeyflow", "compression")),
        *(("headers", name) for name in ("group", "group_index", "root_id", "parent_id")),
        *(("headers", "honeyflow", name) for name in ("ledger", "n", "wave")),
        *(("properties", name) for name in STOCK["properties"]),
        *(("properties", "delivery_info", name) for name in ("exchange", "routing_key")),
    ]
)


def taken(raw: bytes) -> None:
    """Take a message as kombu does, which fails where it cannot."""
    read = messages.read(raw)
    assert not isinstance(read, Flaw)
    channel: Any = Channel.__new__(Channel)
    Message(read, channel=channel)


def changed(message: dict[str, Any], path: tuple[str, ...], value: Any) -> dict[str, Any]:
    """A message with another value at one place."""
    if not path:
        return value
    here = message if isinstance(message, dict) else {}
    return {**here, path[0]: changed(here.get(path[0], {}), path[1:], value)}


@given(st.binary(max_size=200))
def test_any_bytes_are_read_or_flawed(raw: bytes) -> None:
    """Never an error: a flaw has a reason and a sentence."""
    found = messages.read(raw)

    assert isinstance(found, Flaw)
    assert found.reason.isupper()
    assert found.detail


@given(json_values)
def test_any_json_is_read_or_flawed(value: Any) -> None:
    """Whatever JSON it is."""
    found = messages.read(json.dumps(value).encode())

    assert isinstance(found, Flaw)


@given(st.sampled_from([STOCK, OURS]), places, json_values)
def test_what_passes_kombu_takes(
    message: dict[str, Any], path: tuple[str, ...], value: Any
) -> None:
    """A good message with anything at any place of it: a flaw, or no trouble for who comes next."""
    raw = json.dumps(changed(message, path, value)).encode()

    if not isinstance(messages.read(raw), Flaw):
        taken(raw)


@given(st.sampled_from([STOCK, OURS]), st.binary(max_size=60))
def test_any_body_is_read_or_flawed(message: dict[str, Any], body: bytes) -> None:
    """As Base64 of anything."""
    raw = json.dumps({**message, "body": base64.b64encode(body).decode()}).encode()

    if not isinstance(messages.read(raw), Flaw):
        taken(raw)


@pytest.mark.parametrize("message", [STOCK, OURS])
def test_a_good_message_passes(message: dict[str, Any]) -> None:
    """As it is, and with the members of later versions."""
    later = {**message, "headers": {**message["headers"], "stamps": {}, "new": [1]}}

    for one in (message, later):
        raw = json.dumps(one).encode()
        assert one == messages.read(raw)
        taken(raw)


@pytest.mark.parametrize(
    ("raw", "reason"),
    [
        (b"[" * 100_000, "MESSAGE_TOO_DEEP"),
        (b'{"a":' * 97 + b"1" + b"}" * 97, "MESSAGE_TOO_DEEP"),
        (b"garbage{", "MESSAGE_NOT_JSON"),
        (b"\xff", "MESSAGE_NOT_JSON"),
        (b'{"__type__": "nobody", "__value__": 1}', "MESSAGE_NOT_JSON"),
        (b"[1, 2]", "MESSAGE_SHAPE"),
        (b"{}", "MESSAGE_SHAPE"),
        (b" " * (messages.MAX_BYTES + 1), "MESSAGE_TOO_LARGE"),
    ],
    ids=["deep", "deep objects", "garbage", "no text", "typed", "list", "empty", "large"],
)
def test_the_reason_is_told(raw: bytes, reason: str) -> None:
    """By a code that stays."""
    found = messages.read(raw)

    assert isinstance(found, Flaw)
    assert reason == found.reason


@pytest.mark.parametrize(
    ("name", "value"),
    [
        *((name, "\0") for name in ("task", "id", "shadow", "group", "root_id", "parent_id")),
        *((name, "x\ud800") for name in ("task", "id", "group", "root_id", "parent_id")),
        *((name, "x" * 256) for name in ("group", "root_id", "parent_id", "reply_to", "eta")),
        *((name, [1]) for name in ("shadow", "group", "root_id", "eta", "expires")),
        *(
            ("group_index", value)
            for value in ([1], 2**31, 2**70, -1, True, 1.0, "1", float("nan"))
        ),
    ],
)
def test_a_header_that_no_store_can_hold_is_a_flaw(name: str, value: Any) -> None:
    """It would come back from the ledger or from Redis once Celery had it."""
    found = messages.read(json.dumps(changed(STOCK, ("headers", name), value)).encode())

    assert isinstance(found, Flaw)
    assert "HEADER_INVALID" == found.reason
    assert found.detail.startswith(name)


@pytest.mark.parametrize(
    "path", [("delivery_tag",), ("delivery_info", "exchange"), ("delivery_info", "routing_key")]
)
def test_what_becomes_a_key_of_redis_is_text(path: tuple[str, ...]) -> None:
    """A lone surrogate is none."""
    found = messages.read(json.dumps(changed(STOCK, ("properties", *path), "\ud800")).encode())

    assert isinstance(found, Flaw)
    assert "MESSAGE_SHAPE" == found.reason


def test_names_and_places_of_true_senders_pass() -> None:
    """Names in any script, and the first and the last place in a group."""
    told = {"group": "grüße 🐝", "root_id": "", "parent_id": None, "reply_to": "x" * 255}

    for index in (None, 0, 2**31 - 1):
        headers = {**STOCK["headers"], **told, "group_index": index}
        assert not isinstance(
            messages.read(json.dumps({**STOCK, "headers": headers}).encode()), Flaw
        )


def with_body(body: bytes, *, task: str = "tasks.infer") -> bytes:
    """A message with a body of its own."""
    headers = {**STOCK["headers"], "task": task}
    made = {**STOCK, "headers": headers, "body": base64.b64encode(body).decode()}
    return json.dumps(made).encode()


MANY = {
    "objects": b"[" + b"{}," * 4_000_000 + b"1]",
    "lists": b"[" + b"[]," * 4_000_000 + b"1]",
    "numbers": b"[" + b"1," * 5_000_000 + b"1]",
    "strings": b"[" + b'"",' * 4_000_000 + b"1]",
    "keys": b"{" + b",".join(b'"%d":1' % number for number in range(1_000_000)) + b"}",
    "deep": b"[" * 12_000_000,
    "after an escape": b'["\\\\\\"",' + b"{}," * 4_000_000 + b"1]",
}


@pytest.mark.parametrize("name", MANY)
@pytest.mark.parametrize("task", ["", "tasks.infer", "other.task"])
def test_what_holds_millions_of_values_is_not_parsed(name: str, task: str) -> None:
    """Neither as a message nor as a body: it would take seconds and a gigabyte."""
    raw = with_body(MANY[name], task=task) if task else MANY[name]
    assert len(raw) < messages.MAX_BYTES
    tracemalloc.start()
    found = messages.read(raw)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()

    assert isinstance(found, Flaw)
    assert "MESSAGE_TOO_LARGE" == found.reason
    assert peak < 150 * 2**20


@pytest.mark.parametrize(
    "prompt",
    [
        "a, [b], {c}" * 90_000,
        '{"a": [1, 2]}, ' * 60_000,
        "\\" * 999_999,
        "🐝" * 10**6,
        "\0" * 10**6,
    ],
    ids=["commas", "quoted", "backslashes", "escaped", "NUL"],
)
def test_the_longest_requests_pass(prompt: str) -> None:
    """Whatever a prompt of a million characters is made of, as Celery writes it."""
    body = json.dumps([[], {"model": "m", "prompt": prompt}, {"chord": None}]).encode()

    assert not isinstance(messages.read(with_body(body)), Flaw)


def test_a_chain_of_long_requests_passes() -> None:
    """Three of them, each with the longest prompt and as many values as one may hold."""
    fields = {"model": "m", "prompt": "x" * 10**6, "agreement": {"any": [0.5] * 99_000}}
    steps = [{"task": "tasks.infer", "kwargs": fields} for _ in range(2)]
    body = json.dumps([[], fields, {"chain": steps}]).encode()

    assert not isinstance(messages.read(with_body(body)), Flaw)


def test_a_higher_limit_of_requests_makes_room_for_their_messages() -> None:
    """The limit of messages is made from it."""
    raw = with_body(json.dumps([[], {"prompt": "x" * messages.MAX_BYTES}, {}]).encode())

    assert isinstance(messages.read(raw), Flaw)
    assert not isinstance(messages.read(raw, max_bytes=messages.room_for(16_000_000)), Flaw)


def test_a_users_typed_values_stay_as_they_are() -> None:
    """kombu would take them for a date; here they are what somebody wrote."""
    typed = {"__type__": "date", "__value__": "soon"}
    body = json.dumps([[], {"metadata": typed}, {}])
    raw = json.dumps({**STOCK, "body": base64.b64encode(body.encode()).decode()}).encode()

    read = messages.read(raw)
    assert not isinstance(read, Flaw)
    channel: Any = Channel.__new__(Channel)
    assert [[], {"metadata": typed}, {}] == messages.plain_body(Message(read, channel=channel))


def test_what_is_json_is_json() -> None:
    """The little that is asked of events and answers."""
    assert messages.is_json(b'{"a": [1]}')
    assert not messages.is_json(b"[" * 100_000)
    assert not messages.is_json(b"\xff")
    assert not messages.is_json(MANY["objects"])
    assert not messages.is_json(b" " * messages.MAX_BYTES + b"1 ")
