"""Reading a JSON document that a model wrote, without trusting it.

Stricter than JSON where JSON is loose, since two readers could otherwise see different answers in
one text: no duplicate keys, no NaN or infinity, no number longer than 32 characters or beyond
double range, no unpaired surrogate, nesting at most 32 deep, bounded size. The whole text must be
the document: no code fence and no sentence around it.
"""

from __future__ import annotations

import json
import math
from typing import Any, NoReturn

#: How deep objects and arrays may nest.
MAX_DEPTH = 32
#: The longest document, in characters, and the most values in one.
MAX_CHARS = 262_144
MAX_VALUES = 5_000
#: The longest number, in characters.
MAX_NUMBER_CHARS = 32


class Unreadable(ValueError):
    """The text is no acceptable JSON document; the message is a short word for why."""


def read_document(text: str) -> Any:
    """Return the JSON value that `text` is. Raises `Unreadable`, and nothing else."""
    if len(text) > MAX_CHARS:
        raise Unreadable("too_long")
    if text.count("[") + text.count("{") > MAX_DEPTH and _depth(text) > MAX_DEPTH:
        raise Unreadable("too_deep")
    try:
        document = json.loads(
            text,
            parse_int=_integer,
            parse_float=_float,
            parse_constant=_constant,
            object_pairs_hook=_object,
        )
        text.encode()
        if "\\u" in text:
            json.dumps(document, ensure_ascii=False).encode()
    except Unreadable:
        raise
    except UnicodeEncodeError as error:
        raise Unreadable("unpaired_surrogate") from error
    except (ValueError, RecursionError) as error:
        raise Unreadable("not_json") from error
    if _count(document) > MAX_VALUES:
        raise Unreadable("too_many_values")
    return document


def write_canonical(value: Any) -> str:
    """Return the one spelling of a JSON value: sorted keys, no spaces, 1 for 1.0."""
    return json.dumps(
        _plain(value), sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False
    )


def _plain(value: Any) -> Any:
    if isinstance(value, float) and value.is_integer() and abs(value) < 1e16:
        return int(value)
    if isinstance(value, list):
        return [_plain(member) for member in value]
    if isinstance(value, dict):
        return {key: _plain(member) for key, member in value.items()}
    return value


def _depth(text: str) -> int:
    """Return how deep brackets outside strings nest, by one pass that cannot recurse."""
    deepest = depth = 0
    quoted = escaped = False
    for char in text:
        if quoted:
            if escaped:
                escaped = False
            elif char == "\\":
                escaped = True
            elif char == '"':
                quoted = False
        elif char == '"':
            quoted = True
        elif char in "[{":
            depth += 1
            deepest = max(deepest, depth)
        elif char in "]}":
            depth -= 1
    return deepest


def _count(value: Any) -> int:
    if isinstance(value, dict):
        return 1 + sum(_count(member) for member in value.values())
    if isinstance(value, list):
        return 1 + sum(_count(member) for member in value)
    return 1


def _integer(digits: str) -> int:
    if len(digits) > MAX_NUMBER_CHARS:
        raise Unreadable("number_too_long")
    return int(digits)


def _float(digits: str) -> float:
    value = float(digits) if len(digits) <= MAX_NUMBER_CHARS else math.inf
    if math.isinf(value):
        raise Unreadable("number_too_long")
    return value


def _constant(_name: str) -> NoReturn:
    raise Unreadable("not_a_number")


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    members = dict(pairs)
    if len(members) < len(pairs):
        raise Unreadable("duplicate_key")
    return members
