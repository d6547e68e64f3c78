"""Signatures of messages: what they cover, how long they hold, and which keys are keys."""

from __future__ import annotations

import copy
import datetime as dt
import json
import secrets
import time
import uuid
from pathlib import Path
from typing import Any
from unittest import mock

import pytest
from hypothesis import given
from hypothesis import strategies as st
from kombu.utils.json import dumps, loads

from tasks import signing
from tasks.errors import SettingsInvalid
from tasks.signing import AHEAD_S, MAX_AGE_S, SIGNATURE, Keys

NEW, OLD = b"n" * 32, b"o" * 32
MESSAGE: dict[str, Any] = {
    "body": "W1tdLCB7fSwge31d",
    "content-type": "application/json",
    "content-encoding": "utf-8",
    "properties": {
        "priority": 3,
        "reply_to": "c3b1",
        "correlation_id": "0b0b1f7e-9d43-4d0e-8f1c-6a6a1c9a7a10",
        "body_encoding": "base64",
        "delivery_tag": "1",
        "delivery_info": {"exchange": "", "routing_key": "model.m"},
    },
    "headers": {
        "group": None,
        "timelimit": [None, None],
        "task": "tasks.infer",
        "id": "0b0b1f7e-9d43-4d0e-8f1c-6a6a1c9a7a10",
        "honeyflow": {"v": 1, "ledger": "u", "n": 1, "wave": 3},
    },
}


def signed(keys: Keys, *, queue: str = "model.m", at: float | None = None) -> dict[str, Any]:
    """The message under a signature, as made at a time."""
    made = copy.deepcopy(MESSAGE)
    with mock.patch("tasks.signing.time.time", return_value=time.time() if at is None else at):
        keys.sign(queue, made)
    return made


def reason(keys: Keys, message: dict[str, Any], *, queue: str = "model.m") -> str | None:
    """Why the message is not taken."""
    flaw = keys.flaw_of(queue, message)
    return None if flaw is None else flaw.reason


def test_what_was_signed_for_this_queue_is_taken() -> None:
    """By any process that holds the key."""
    assert reason(Keys([NEW]), signed(Keys([NEW]))) is None


@pytest.mark.parametrize(
    "change",
    [
        {"body": "W10="},
        {"headers": {"task": "foreign.danger"}},
        {"headers": {"id": "0b0b1f7e-9d43-4d0e-8f1c-6a6a1c9a7a11"}},
        {"headers": {"honeyflow": {"v": 1, "ledger": "u", "n": 2, "wave": 3}}},
        {"headers": {"honeyflow": {"v": 1, "ledger": "w", "n": 1, "wave": 3}}},
        {"headers": {"honeyflow": None}},
        {"headers": {"group": "g"}},
        {"headers": {"group_index": 1}},
        {"headers": {"eta": "2030-01-01T00:00:00"}},
        {"headers": {"timelimit": [1, 1]}},
        {"headers": {"root_id": "0b0b1f7e-9d43-4d0e-8f1c-6a6a1c9a7a11"}},
        {"headers": {"anything": "new"}},
        {"properties": {"priority": 0}},
        {"properties": {"reply_to": "elsewhere"}},
        {"properties": {"correlation_id": "another"}},
        {"properties": {"body_encoding": None}},
        {"properties": {"delivery_info": {"exchange": "", "routing_key": "celery"}}},
        {"content-type": "application/data"},
    ],
)
def test_a_changed_message_is_not_taken(change: dict[str, Any]) -> None:
    """The signature covers all that decides what is done."""
    message = signed(Keys([NEW]))
    within = {name: {**message[name], **change.get(name, {})} for name in ("headers", "properties")}
    message = {**message, **change, **within}

    assert "SIGNATURE_INVALID" == reason(Keys([NEW]), message)


def test_a_header_that_is_taken_away_is_missed() -> None:
    """As one that says how long a task may run."""
    message = signed(Keys([NEW]))
    del message["headers"]["timelimit"]

    assert "SIGNATURE_INVALID" == reason(Keys([NEW]), message)


def test_what_kombu_puts_back_is_taken_again() -> None:
    """It notes that a message was delivered before."""
    message = json.loads(json.dumps(signed(Keys([NEW]))))
    message["headers"]["redelivered"] = True
    message["properties"]["delivery_info"]["redelivered"] = True

    assert reason(Keys([NEW]), message) is None


def test_what_was_read_has_the_signature_of_what_was_sent() -> None:
    """A time, a tuple or a number as a key is something else once it is JSON."""
    sent = copy.deepcopy(MESSAGE)
    moment = dt.datetime(2026, 1, 2, 3, 4, 5, 600, tzinfo=dt.UTC)
    sent["headers"] |= {"at": moment, "limits": (1, None), "stamps": {10: "a", 2: uuid.UUID(int=7)}}
    Keys([NEW]).sign("model.m", sent)

    assert reason(Keys([NEW]), loads(dumps(sent))) is None


def test_the_first_version_covered_less_and_is_not_believed() -> None:
    """Whoever holds the key signs anew."""
    message = signed(Keys([NEW]))
    message["headers"][SIGNATURE]["v"] = 1

    assert "SIGNATURE_INVALID" == reason(Keys([NEW]), message)


def test_a_message_of_another_queue_is_not_taken() -> None:
    """It was meant for somebody else."""
    assert "SIGNATURE_INVALID" == reason(Keys([NEW]), signed(Keys([NEW])), queue="celery")


def test_a_key_that_nobody_holds_is_not_known() -> None:
    """Another process's key, or one that was taken away."""
    assert "SIGNATURE_INVALID" == reason(Keys([NEW]), signed(Keys([OLD])))


def test_keys_are_rotated() -> None:
    """The first one signs, all of them verify."""
    both = Keys([NEW, OLD])

    assert [None, None] == [reason(both, signed(Keys([key]))) for key in (NEW, OLD)]
    assert reason(Keys([NEW]), signed(both)) is None
    assert "SIGNATURE_INVALID" == reason(Keys([OLD]), signed(both))


@pytest.mark.parametrize(
    ("age", "expected"),
    [
        (MAX_AGE_S - 10, None),
        (MAX_AGE_S + 10, "SIGNATURE_EXPIRED"),
        (-AHEAD_S + 10, None),
        (-AHEAD_S - 10, "SIGNATURE_EXPIRED"),
    ],
)
def test_a_signature_holds_for_a_day(age: float, expected: str | None) -> None:
    """And a sender's clock may be a little ahead."""
    assert expected == reason(Keys([NEW]), signed(Keys([NEW]), at=time.time() - age))


@given(
    st.none()
    | st.text(max_size=5)
    | st.dictionaries(
        st.sampled_from(["v", "key", "at", "mac"]),
        st.none() | st.integers() | st.floats() | st.text(max_size=5) | st.just("é\ud800"),
    )
)
def test_any_signature_is_a_flaw_and_no_error(value: Any) -> None:
    """Whatever stands where a signature belongs."""
    message = copy.deepcopy(MESSAGE)
    message["headers"][SIGNATURE] = value
    known = next(iter(Keys([NEW])._keys))

    assert reason(Keys([NEW]), message) in ("SIGNATURE_MISSING", "SIGNATURE_INVALID")
    if isinstance(value, dict):
        message["headers"][SIGNATURE] = {**value, "v": signing.VERSION, "key": known}
        assert "SIGNATURE_INVALID" == reason(Keys([NEW]), message)


def test_any_body_can_be_looked_at() -> None:
    """Also one that is no text: a lone surrogate, which JSON can write."""
    message = {**signed(Keys([NEW])), "body": "\ud800"}

    assert "SIGNATURE_INVALID" == reason(Keys([NEW]), message)


def test_without_files_nothing_is_signed() -> None:
    """Off by default."""
    assert signing.load([]) is None


@pytest.mark.parametrize(
    ("content", "mode", "said"),
    [("k" * 64, 0o644, "chmod 600"), ("short", 0o600, "openssl rand"), (None, 0, "")],
)
def test_a_bad_key_file_is_refused(
    tmp_path: Path, content: str | None, mode: int, said: str
) -> None:
    """With a sentence that names the file, and what to do."""
    file = tmp_path / "key"
    if content is not None:
        file.write_text(content)
        file.chmod(mode)

    with pytest.raises(SettingsInvalid) as caught:
        signing.load([file])

    assert str(file) in caught.value.message
    assert said in caught.value.suggested_action


def test_a_good_key_file_is_a_key(tmp_path: Path) -> None:
    """A newline at its end is no part of it."""
    file = tmp_path / "key"
    key = secrets.token_hex(32)
    file.write_text(f"{key}\n")
    file.chmod(0o600)
    keys = signing.load([file])

    assert keys is not None
    assert reason(keys, signed(Keys([key.encode()]))) is None
