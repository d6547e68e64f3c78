"""What a message must look like before Celery sees it: whatever else is in a queue is a flaw.

Celery and kombu trust what they pop: garbage in a queue's list, a header that is missing or JSON
that is nested too deeply ends the worker, and the next one. So the transport asks here first, and
what is not a message goes to quarantine instead. Nothing here is taken on trust either: the ledger
decides what a job's message may do.
"""

from __future__ import annotations

import base64
import binascii
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from kombu.utils.json import loads

from tasks import json_text
from tasks.json_text import Flawed
from tasks.settings import Limits

INFER = "tasks.infer"
"""The name of our one task for callers; part of the wire format."""

HEADER = "honeyflow"
"""The header of our own messages: which ledger, the number of this copy, the first wave."""


def room_for(request_bytes: int) -> int:
    """How large a message may be where a request may have so many bytes.

    Base64 makes four bytes of three. The other factor of three is for a text in which every
    character is escaped, as Celery sends those that are not ASCII, or for a chain of three plain
    requests; and a mebibyte is for all that stands beside them.
    """
    return 4 * request_bytes + 2**20


MAX_BYTES = room_for(Limits().max_request_bytes)
"""How large a message may be where nobody has set the limit of a request."""

MAX_NAME_CHARS = 255
_MAX_NUMBER = 2**62
_MAX_INDEX = 2**31 - 1

_TIMES = ("eta", "expires")
_NAMES = ("shadow", "group", "root_id", "parent_id", "reply_to")
_SURROGATE = re.compile("[\ud800-\udfff]")


@dataclass(frozen=True, slots=True, kw_only=True)
class Flaw:
    """Why something in a queue is no message: a code, and a sentence with the details."""

    reason: str
    detail: str


def read(raw: bytes, *, max_bytes: int = MAX_BYTES) -> dict[str, Any] | Flaw:
    """An element of a queue's list as the message that it is, or what is wrong with it."""
    try:
        return _read(raw, max_bytes)
    except Flawed as flawed:
        return Flaw(reason=flawed.reason, detail=flawed.detail)


def is_json(raw: bytes) -> bool:
    """Whether kombu can parse this."""
    try:
        _check_size(raw, MAX_BYTES)
        json_text.read(raw, "it")
    except Flawed:
        return False
    return True


def plain_body(message: Any) -> Any:
    """A JSON body as plain values.

    kombu takes `{"__type__": …, "__value__": …}` for a value of that type, also where a user typed
    it into a request.
    """
    body = message.body
    return json.loads(body if isinstance(body, str) else bytes(body).decode())


def _read(raw: bytes, max_bytes: int) -> dict[str, Any]:
    _check_size(raw, max_bytes)
    envelope = json_text.read(raw, "the message")
    if not isinstance(envelope, dict):
        raise Flawed("MESSAGE_SHAPE", f"a JSON object is wanted, not {_kind(envelope)}")
    _check_properties(envelope.get("properties"))
    headers = envelope.get("headers")
    if not isinstance(headers, dict):
        raise Flawed("MESSAGE_SHAPE", f"headers: an object is wanted, not {_kind(headers)}")
    _check_content(envelope)
    _check_headers(headers)
    _check_body(envelope, headers)
    return envelope


def _check_size(raw: bytes, max_bytes: int) -> None:
    if len(raw) > max_bytes:
        raise Flawed("MESSAGE_TOO_LARGE", f"{len(raw)} bytes; at most {max_bytes} are read")


def _check_properties(properties: Any) -> None:
    if not isinstance(properties, dict):
        raise Flawed("MESSAGE_SHAPE", f"properties: an object is wanted, not {_kind(properties)}")
    tag, delivery = properties.get("delivery_tag"), properties.get("delivery_info")
    if not _is_name(tag):
        raise Flawed("MESSAGE_SHAPE", f"delivery_tag: a name is wanted, not {_shown(tag)}")
    if not isinstance(delivery, dict) or not all(
        delivery.get(name) == "" or _is_name(delivery.get(name))
        for name in ("exchange", "routing_key")
    ):
        raise Flawed("MESSAGE_SHAPE", "delivery_info: exchange and routing_key are wanted")
    for place in (properties, delivery):
        priority = place.get("priority")
        if priority is not None and (isinstance(priority, bool) or not _is_number(priority)):
            raise Flawed("MESSAGE_SHAPE", f"priority: {priority!r:.40} is no priority")


def _check_content(envelope: Mapping[str, Any]) -> None:
    kind, encoding = envelope.get("content-type"), envelope.get("content-encoding")
    if kind != "application/json" or encoding not in ("utf-8", "UTF-8"):
        raise Flawed("CONTENT_REFUSED", f"only JSON in UTF-8 is read, not {kind!r:.80}")
    if envelope["properties"].get("body_encoding") not in (None, "base64"):
        raise Flawed("CONTENT_REFUSED", "a body is Base64 or plain")
    if envelope["headers"].get("compression"):
        # A few bytes could become more than the memory holds.
        raise Flawed("CONTENT_REFUSED", "compressed bodies are not read")


def _check_headers(headers: Mapping[str, Any]) -> None:
    for name in ("task", "id"):
        if not _is_name(value := headers.get(name)):
            raise Flawed("HEADER_INVALID", f"{name}: a name is wanted, not {_shown(value)}")
    for name in _NAMES:
        # What is a column of the ledger, or a key of Redis, must be one that they can hold.
        if (value := headers.get(name)) not in (None, "") and not _is_name(value):
            raise Flawed("HEADER_INVALID", f"{name}: {_shown(value)} is no name")
    for name in _TIMES:
        # Which text is no time is told to its sender, whom quarantine would keep waiting.
        if (value := headers.get(name)) is not None and not (
            isinstance(value, str) and len(value) <= MAX_NAME_CHARS
        ):
            raise Flawed("HEADER_INVALID", f"{name}: {_shown(value)} is no time")
    if (index := headers.get("group_index")) is not None and not (
        _is_number(index) and 0 <= index <= _MAX_INDEX
    ):
        raise Flawed("HEADER_INVALID", f"group_index: {_shown(index)} is no place in a group")
    if HEADER in headers:
        _check_ours(headers[HEADER])


def _check_ours(header: Any) -> None:
    if not isinstance(header, dict):
        raise Flawed("HEADER_INVALID", f"{HEADER}: an object is wanted, not {_kind(header)}")
    if not isinstance(header.get("ledger"), str):
        raise Flawed("HEADER_INVALID", f"{HEADER}.ledger: {_kind(header.get('ledger'))}")
    for name in ("n", "wave"):
        if not _is_number(header.get(name)):
            raise Flawed("HEADER_INVALID", f"{HEADER}.{name}: {header.get(name)!r:.40}")


def _check_body(envelope: Mapping[str, Any], headers: Mapping[str, Any]) -> None:
    body = envelope.get("body")
    if not isinstance(body, str):
        raise Flawed("BODY_INVALID", f"a text is wanted, not {_kind(body)}")
    if envelope["properties"].get("body_encoding") == "base64":
        try:
            body = base64.b64decode(body, validate=True).decode()
        except (binascii.Error, UnicodeDecodeError) as error:
            raise Flawed("BODY_INVALID", f"it is not Base64 of UTF-8: {error}") from None
    ours = headers["task"] == INFER
    # A user's own arguments are read as plain JSON; see `plain_body`.
    content = json_text.read(body, "the body", parse=json.loads if ours else loads)
    kinds = [type(part) for part in content] if isinstance(content, list) else []
    # What is wrong inside a request is told to its sender, whom quarantine would keep waiting.
    if len(kinds) != 3 or not (ours or kinds[:2] == [list, dict]):
        raise Flawed("BODY_INVALID", "a list of arguments, keywords and a canvas is wanted")


def _is_name(value: Any) -> bool:
    """Whether a value is a text that Redis and the ledger can hold, and no longer than a name."""
    return (
        isinstance(value, str)
        and 0 < len(value) <= MAX_NAME_CHARS
        and "\0" not in value
        and (value.isascii() or not _SURROGATE.search(value))
    )


def _is_number(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and -1 <= value <= _MAX_NUMBER


def _kind(value: Any) -> str:
    return "nothing" if value is None else type(value).__name__


def _shown(value: Any) -> str:
    """A value as a flaw tells it: its kind, and its beginning."""
    return f"{_kind(value)} {value!r:.40}"
