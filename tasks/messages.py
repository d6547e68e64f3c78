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
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from kombu.utils.json import loads

INFER = "tasks.infer"
"""The name of our one task for callers; part of the wire format."""

HEADER = "honeyflow"
"""The header of our own messages: which ledger, the number of this copy, the first wave."""

MAX_DEPTH = 96
MAX_BYTES = 32 * 2**20
MAX_NAME_CHARS = 255
_MAX_NUMBER = 2**62

_OPTIONAL_TEXT = ("eta", "expires", "group", "root_id", "parent_id", "reply_to")


@dataclass(frozen=True, slots=True, kw_only=True)
class Flaw:
    """Why something in a queue is no message: a code, and a sentence with the details."""

    reason: str
    detail: str


class _Flawed(Exception):
    """Carries a flaw out of the checks."""

    def __init__(self, reason: str, detail: str) -> None:
        super().__init__(detail)
        self.flaw = Flaw(reason=reason, detail=detail)


def read(raw: bytes) -> dict[str, Any] | Flaw:
    """An element of a queue's list as the message that it is, or what is wrong with it."""
    try:
        return _read(raw)
    except _Flawed as flawed:
        return flawed.flaw


def is_json(raw: bytes) -> bool:
    """Whether kombu can parse this."""
    try:
        _parsed(raw, "it")
    except _Flawed:
        return False
    return True


def plain_body(message: Any) -> Any:
    """A JSON body as plain values.

    kombu takes `{"__type__": …, "__value__": …}` for a value of that type, also where a user typed
    it into a request.
    """
    body = message.body
    return json.loads(body if isinstance(body, str) else bytes(body).decode())


def _read(raw: bytes) -> dict[str, Any]:
    if len(raw) > MAX_BYTES:
        raise _Flawed("MESSAGE_TOO_LARGE", f"{len(raw)} bytes; at most {MAX_BYTES} are read")
    envelope = _parsed(raw, "the message")
    if not isinstance(envelope, dict):
        raise _Flawed("MESSAGE_SHAPE", f"a JSON object is wanted, not {_kind(envelope)}")
    _check_properties(envelope.get("properties"))
    headers = envelope.get("headers")
    if not isinstance(headers, dict):
        raise _Flawed("MESSAGE_SHAPE", f"headers: an object is wanted, not {_kind(headers)}")
    _check_content(envelope)
    _check_headers(headers)
    _check_body(envelope, headers)
    return envelope


def _parsed(raw: bytes | str, what: str) -> Any:
    try:
        value = loads(raw.decode() if isinstance(raw, bytes) else raw)
    except RecursionError:
        raise _Flawed("MESSAGE_TOO_DEEP", f"{what} is nested too deeply to be read") from None
    except Exception as error:
        told = f"{what} is not JSON: {type(error).__name__}: {error!s:.200}"
        raise _Flawed("MESSAGE_NOT_JSON", told) from None
    if (depth := _depth(value)) > MAX_DEPTH:
        told = f"{what} is nested {depth} deep; at most {MAX_DEPTH} is read"
        raise _Flawed("MESSAGE_TOO_DEEP", told)
    return value


def _depth(value: Any) -> int:
    """How deep lists and objects are nested; no recursion, since that is what is feared."""
    level, depth = [value], 0
    while level := [one for one in level if isinstance(one, dict | list)]:
        depth += 1
        level = [
            inner for one in level for inner in (one.values() if isinstance(one, dict) else one)
        ]
    return depth


def _check_properties(properties: Any) -> None:
    if not isinstance(properties, dict):
        raise _Flawed("MESSAGE_SHAPE", f"properties: an object is wanted, not {_kind(properties)}")
    tag, delivery = properties.get("delivery_tag"), properties.get("delivery_info")
    if not (isinstance(tag, str) and 0 < len(tag) <= MAX_NAME_CHARS):
        raise _Flawed("MESSAGE_SHAPE", f"delivery_tag: a text is wanted, not {_kind(tag)}")
    if not isinstance(delivery, dict) or not all(
        isinstance(delivery.get(name), str) for name in ("exchange", "routing_key")
    ):
        raise _Flawed("MESSAGE_SHAPE", "delivery_info: exchange and routing_key are wanted")
    for place in (properties, delivery):
        priority = place.get("priority")
        if priority is not None and (isinstance(priority, bool) or not _is_number(priority)):
            raise _Flawed("MESSAGE_SHAPE", f"priority: {priority!r:.40} is no priority")


def _check_content(envelope: Mapping[str, Any]) -> None:
    kind, encoding = envelope.get("content-type"), envelope.get("content-encoding")
    if kind != "application/json" or encoding not in ("utf-8", "UTF-8"):
        raise _Flawed("CONTENT_REFUSED", f"only JSON in UTF-8 is read, not {kind!r:.80}")
    if envelope["properties"].get("body_encoding") not in (None, "base64"):
        raise _Flawed("CONTENT_REFUSED", "a body is Base64 or plain")
    if envelope["headers"].get("compression"):
        # A few bytes could become more than the memory holds.
        raise _Flawed("CONTENT_REFUSED", "compressed bodies are not read")


def _check_headers(headers: Mapping[str, Any]) -> None:
    for name in ("task", "id"):
        value = headers.get(name)
        if not (isinstance(value, str) and 0 < len(value) <= MAX_NAME_CHARS):
            raise _Flawed("HEADER_INVALID", f"{name}: a text is wanted, not {_kind(value)}")
    for name in _OPTIONAL_TEXT:
        if not isinstance(headers.get(name), str | None):
            raise _Flawed("HEADER_INVALID", f"{name}: {_kind(headers[name])} is no text")
    if HEADER in headers:
        _check_ours(headers[HEADER])


def _check_ours(header: Any) -> None:
    if not isinstance(header, dict):
        raise _Flawed("HEADER_INVALID", f"{HEADER}: an object is wanted, not {_kind(header)}")
    if not isinstance(header.get("ledger"), str):
        raise _Flawed("HEADER_INVALID", f"{HEADER}.ledger: {_kind(header.get('ledger'))}")
    for name in ("n", "wave"):
        if not _is_number(header.get(name)):
            raise _Flawed("HEADER_INVALID", f"{HEADER}.{name}: {header.get(name)!r:.40}")


def _check_body(envelope: Mapping[str, Any], headers: Mapping[str, Any]) -> None:
    body = envelope.get("body")
    if not isinstance(body, str):
        raise _Flawed("BODY_INVALID", f"a text is wanted, not {_kind(body)}")
    if envelope["properties"].get("body_encoding") == "base64":
        try:
            body = base64.b64decode(body, validate=True).decode()
        except (binascii.Error, UnicodeDecodeError) as error:
            raise _Flawed("BODY_INVALID", f"it is not Base64 of UTF-8: {error}") from None
    ours = headers["task"] == INFER
    # A user's own arguments are read as plain JSON; see `plain_body`.
    content = _plain(body) if ours else _parsed(body, "the body")
    kinds = [type(part) for part in content] if isinstance(content, list) else []
    # What is wrong inside a request is told to its sender, whom quarantine would keep waiting.
    if len(kinds) != 3 or not (ours or kinds[:2] == [list, dict]):
        raise _Flawed("BODY_INVALID", "a list of arguments, keywords and a canvas is wanted")


def _plain(body: str) -> Any:
    try:
        content = json.loads(body)
    except RecursionError:
        raise _Flawed("MESSAGE_TOO_DEEP", "the body is nested too deeply to be read") from None
    except ValueError as error:
        raise _Flawed("MESSAGE_NOT_JSON", f"the body is not JSON: {error!s:.200}") from None
    if (depth := _depth(content)) > MAX_DEPTH:
        raise _Flawed("MESSAGE_TOO_DEEP", f"the body is nested {depth} deep, not {MAX_DEPTH}")
    return content


def _is_number(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and -1 <= value <= _MAX_NUMBER


def _kind(value: Any) -> str:
    return "nothing" if value is None else type(value).__name__
