"""JSON that strangers wrote, read so that none of it costs much more than its bytes do.

A text of 16 MiB can hold millions of lists, which take a hundred times the time and the memory of
one long prompt; so what is large is counted before it is parsed.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

from kombu.utils.json import loads

MAX_DEPTH = 96
MAX_CONTAINERS = 100_000
"""How many lists and objects a text may hold; each takes up to 200 bytes of memory."""
MAX_VALUES = 500_000
"""How many values and strings it may hold: five times as many as a request."""
COUNTED_BYTES = 2**16
"""A text of fewer bytes cannot hold so much that it has to be counted."""


class Flawed(Exception):
    """What is wrong with something that came out of a queue: a code, and a sentence."""

    def __init__(self, reason: str, detail: str) -> None:
        super().__init__(detail)
        self.reason = reason
        self.detail = detail


def read(raw: bytes | str, what: str, *, parse: Callable[[str], Any] | None = None) -> Any:
    """A text's value, as kombu reads it or by `parse`; `what` it is, for the sentence of a flaw.

    Raises:
        Flawed: it is not JSON, holds too much or is nested too deeply.
    """
    text = raw if isinstance(raw, bytes) else raw.encode(errors="surrogatepass")
    if len(text) > COUNTED_BYTES:
        _check_count(text, what)
    try:
        value = (parse or _as_kombu(text))(raw.decode() if isinstance(raw, bytes) else raw)
    except RecursionError:
        raise Flawed("MESSAGE_TOO_DEEP", f"{what} is nested too deeply to be read") from None
    except Exception as error:
        told = f"{what} is not JSON: {type(error).__name__}: {error!s:.200}"
        raise Flawed("MESSAGE_NOT_JSON", told) from None
    # Nothing is nested deeper than it has lists and objects.
    if _counted(text)[0] > MAX_DEPTH and (depth := _depth(value)) > MAX_DEPTH:
        told = f"{what} is nested {depth} deep; at most {MAX_DEPTH} is read"
        raise Flawed("MESSAGE_TOO_DEEP", told)
    return value


def _as_kombu(text: bytes) -> Callable[[str], Any]:
    r"""A parser that gives what kombu's gives: its own is needed only where values have types.

    A name may be written with escapes, `\u005f` for an underscore.
    """
    return loads if b"__type__" in text or rb"\u" in text else json.loads


def _check_count(text: bytes, what: str) -> None:
    """Refuse what would cost much more to parse than its bytes do; nothing is parsed for that.

    How deep it is nested needs no count here: the parser gives up at a thousand.
    """
    containers, values = _counted(text)
    if containers > MAX_CONTAINERS or values > MAX_VALUES:
        # Perhaps they are a prompt's commas.
        containers, values = _counted(_outside_texts(text, what))
    if containers > MAX_CONTAINERS or values > MAX_VALUES:
        told = f"{what} holds {containers} lists and objects and {values} values"
        raise Flawed("MESSAGE_TOO_LARGE", f"{told}; {MAX_CONTAINERS} and {MAX_VALUES} are read")


def _counted(text: bytes) -> tuple[int, int]:
    containers = text.count(b"[") + text.count(b"{")
    return containers, containers + text.count(b",")


def _outside_texts(text: bytes, what: str) -> bytes:
    """What stands outside of a JSON document's texts."""
    bare = text.replace(rb"\\", b"").replace(rb"\"", b"")
    if (texts := bare.count(b'"') // 2) > MAX_VALUES:
        raise Flawed("MESSAGE_TOO_LARGE", f"{what} holds {texts} texts; {MAX_VALUES} are read")
    return b"".join(bare.split(b'"')[::2])


def _depth(value: Any) -> int:
    """How deep lists and objects are nested; no recursion, since that is what is feared."""
    level, depth = [value], 0
    while level := [one for one in level if isinstance(one, dict | list)]:
        depth += 1
        level = [
            inner for one in level for inner in (one.values() if isinstance(one, dict) else one)
        ]
    return depth
