"""One POST to a channel: bounded in time and size, no redirects, and its address never told.

httpx's own client logs every address, and with Discord and Telegram the address is the secret; so
its transport is used without it. For the same reason no error that comes from below is let through
or chained: some carry the request.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

import httpx

from monitoring.alerts.channels.errors import (
    ChannelAway,
    ChannelBusy,
    ChannelError,
    ChannelRefused,
    MessageRefused,
)
from monitoring.alerts.channels.text import plain

TIMEOUT_S = 10.0
CONNECT_TIMEOUT_S = 5.0
MAX_ANSWER_BYTES = 64 * 1024
LONGEST_REST_S = 86_400.0
DEFAULT_REST_S = 5.0
LEAST_SECRET = 6
"""Shorter parts of an address are words."""

_PARTS = re.compile(r"[/?&=]")

# At DEBUG it writes out headers, and a redirect's hold the address.
logging.getLogger("httpcore").setLevel(logging.INFO)


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What a server said; `body` may hold anything."""

    status: int
    headers: Mapping[str, str]
    body: bytes = field(repr=False)

    @property
    def told(self) -> Mapping[str, Any]:
        """The body, if it is a JSON object."""
        with contextlib.suppress(ValueError, RecursionError):
            found = json.loads(self.body)
            if isinstance(found, dict):
                return found
        return {}


def post(
    url: str,
    payload: Mapping[str, Any],
    *,
    what: str,
    headers: Mapping[str, str] | None = None,
    timeout_s: float = TIMEOUT_S,
) -> Answer:
    """Send JSON, and return the answer, whatever its status.

    Raises:
        ChannelRefused: the address is none that can be used.
        ChannelAway: there was no whole answer in time.
    """
    request = _request(url, payload, headers or {})
    if request is None:
        raise ChannelRefused(
            f"The address of {what} is no http:// or https:// URL.",
            suggested_action="Correct it; it is not shown here because it may be a secret.",
        )
    answer: Answer | None = None
    why = ""
    try:
        answer = asyncio.run(_posted(request, timeout_s))
    except TimeoutError:
        why = f"gave no whole answer within {timeout_s:g} s"
    except httpx.TimeoutException:
        why = "cannot be reached in time"
    except httpx.RemoteProtocolError:
        why = "broke off in the middle of its answer, or speaks no HTTP"
    except httpx.HTTPError as error:
        why = f"cannot be reached ({type(error).__name__})"
    except (OSError, ValueError) as error:
        why = f"cannot be asked ({type(error).__name__})"
    if answer is None:
        raise ChannelAway(
            f"{what} {why}.",
            suggested_action="Check the network and its address; it is tried again.",
        )
    return answer


def require_taken(
    answer: Answer,
    *,
    what: str,
    secret: str,
    retry_after: object = None,
    blames_message: bool = True,
) -> None:
    """Return if a server has taken a message.

    Args:
        answer: what it said.
        what: what to call the server.
        secret: what must not be shown of what it says.
        retry_after: what its body says of waiting.
        blames_message: whether a status of 400 is about the message and not about the address.

    Raises:
        ChannelBusy, ChannelAway, ChannelRefused, MessageRefused: it has not.
    """
    status = answer.status
    if 200 <= status < 300:
        return
    words = _shown(answer, secret)
    if status == 429:
        rest_s = seconds(retry_after if retry_after is not None else _retry_after(answer))
        raise ChannelBusy(f"{what} asks to wait for {rest_s:g} s.", retry_after_s=rest_s)
    raise _refusal(status, blames_message=blames_message)(
        f"{what} answers with {status}{words}.",
        suggested_action="Redirects are not followed; give the address where it leads."
        if 300 <= status < 400
        else "Check its address and secret, and what it says.",
        details={"status": status},
    )


def seconds(told: object) -> float:
    """Return a time to wait as a server tells it, within reason."""
    if not isinstance(told, str | int | float):
        return DEFAULT_REST_S
    try:
        found = float(told)
    except (ValueError, OverflowError):
        return DEFAULT_REST_S
    return min(max(found, 0.0), LONGEST_REST_S) if math.isfinite(found) else DEFAULT_REST_S


def place(url: str) -> str:
    """Return the host of an address, which is no secret."""
    with contextlib.suppress(ValueError):
        return plain(urlsplit(url).hostname or "")
    return ""


async def _posted(request: httpx.Request, timeout_s: float) -> Answer:
    async with asyncio.timeout(timeout_s), httpx.AsyncHTTPTransport() as transport:
        response = await transport.handle_async_request(request)
        body = b""
        try:
            async for part in response.aiter_raw():
                body += part
                if len(body) > MAX_ANSWER_BYTES:
                    break
        finally:
            await response.aclose()
        headers = {name.lower(): value for name, value in response.headers.items()}
        return Answer(status=response.status_code, headers=headers, body=body[:MAX_ANSWER_BYTES])


def _request(
    url: str, payload: Mapping[str, Any], headers: Mapping[str, str]
) -> httpx.Request | None:
    with contextlib.suppress(httpx.InvalidURL, ValueError, TypeError):
        patience = httpx.Timeout(TIMEOUT_S, connect=CONNECT_TIMEOUT_S)
        request = httpx.Request(
            "POST",
            url,
            json=payload,
            # What is compressed would have to be unpacked to be bounded.
            headers={"User-Agent": "honeyflow", "Accept-Encoding": "identity", **headers},
            extensions={"timeout": patience.as_dict()},
        )
        if request.url.scheme in {"http", "https"} and request.url.host:
            return request
    return None


def _refusal(status: int, *, blames_message: bool) -> type[ChannelError]:
    if status >= 500 or status in {408, 425}:
        return ChannelAway
    about_message = status in {413, 422} or (status == 400 and blames_message)
    return MessageRefused if about_message else ChannelRefused


def _retry_after(answer: Answer) -> str | None:
    return answer.headers.get("retry-after")


def _shown(answer: Answer, secret: str) -> str:
    """What a server says of an error: one line, and never our own secret."""
    told = answer.told
    words = told.get("description") or told.get("message")
    if not isinstance(words, str) or not words:
        return ""
    for part in sorted({secret, *_PARTS.split(secret)}, key=len, reverse=True):
        if len(part) >= LEAST_SECRET:
            words = words.replace(part, "(secret)")
    line = plain(words)
    return f": {line[:200]}"
