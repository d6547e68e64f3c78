"""Canonical JSON: one sequence of bytes for one value, and a reader that accepts nothing doubtful.

Writing follows RFC 8785 (JSON Canonicalization Scheme). Reading follows RFC 8259 within the limits
of RFC 7493 (I-JSON): what two readers could understand differently is refused, never repaired.
Unicode is not normalised, so texts that only look alike stay different.
"""

from __future__ import annotations

import json
import math
import re
from typing import NoReturn, TypeAlias

import rfc8785

from proofs.errors import CanonicalError

JsonValue: TypeAlias = "bool | int | float | str | list[JsonValue] | dict[str, JsonValue] | None"

MAX_SAFE_INTEGER = 2**53 - 1
MAX_DEPTH = 32
MAX_KEYS = 10_000

_LONGEST_SAFE_INTEGER = len(str(-MAX_SAFE_INTEGER))
_SHORTEST_MEMBER = len('"":0')
# A string, and whether it is a key. One without an end takes all that follows: what was looked at
# once is never looked at again.
_TEXT = re.compile(r'"[^"\\]*+(?:\\.[^"\\]*+)*+(?:"(\s*+:)?|\\?\Z)', re.DOTALL)


def canonical(value: object) -> bytes:
    """Return the RFC 8785 bytes of a value made of dicts, lists, tuples and JSON's scalars.

    Raises:
        CanonicalError: NaN or an infinity, an integer beyond ±(2**53 - 1), a lone surrogate, a key
            that is no string, a type JSON does not have, or nesting too deep to follow.
    """
    try:
        return rfc8785.dumps(value)  # type: ignore[arg-type]  # its checks are what this relies on
    except RecursionError as exc:
        raise _no_form("it is nested too deeply or contains itself") from exc
    except UnicodeEncodeError as exc:
        raise _no_form("a key contains a lone surrogate") from exc
    except ValueError as exc:
        raise _no_form(str(exc)) from exc


def parse(data: bytes, *, max_depth: int = MAX_DEPTH, max_keys: int = MAX_KEYS) -> JsonValue:
    """Read strict JSON.

    An integer beyond ±(2**53 - 1) is read as a float if it is exactly how RFC 8785 writes one,
    and is refused otherwise, because a reader with doubles would see another number.

    Raises:
        CanonicalError: Invalid UTF-8 or JSON, a key given twice, NaN or an infinity, a number no
            double holds, a lone surrogate, or more nesting or keys than allowed.
    """
    try:
        text = data.decode("utf-8")
    except UnicodeDecodeError as exc:
        raise _not_strict(f"byte {exc.start} is not UTF-8") from exc
    _count_keys(text, max_keys=max_keys)
    keys = 0

    def build_object(pairs: list[tuple[str, JsonValue]]) -> JsonValue:
        nonlocal keys
        keys += len(pairs)
        if keys > max_keys:
            raise _not_strict(f"more than {max_keys} keys")
        built: dict[str, JsonValue] = {}
        for key, member in pairs:
            if key in built:
                raise _not_strict(f"the key {_shown(key)} is given twice")
            built[key] = member
        return built

    try:
        value: JsonValue = json.loads(
            text,
            object_pairs_hook=build_object,
            parse_int=_read_integer,
            parse_float=_read_float,
            parse_constant=_refuse_constant,
        )
    except RecursionError as exc:
        raise _not_strict(f"nested deeper than {max_depth}") from exc
    except json.JSONDecodeError as exc:
        raise _not_strict(f"{exc.msg} at line {exc.lineno}, column {exc.colno}") from exc
    _check_tree(value, max_depth=max_depth)
    return value


def parse_canonical(data: bytes) -> JsonValue:
    """Read strict JSON that must already be in its RFC 8785 form, byte for byte.

    Raises:
        CanonicalError: As for `parse`, and for any other spelling of the same value.
    """
    value = parse(data)
    if canonical(value) != data:
        raise CanonicalError(
            "this JSON is not in its canonical form",
            suggested_action="Use the exact bytes that were issued; do not reformat them.",
        )
    return value


def is_exact_integer(value: int) -> bool:
    """Return whether `parse` reads the digits of `value`: every reader sees the same number."""
    if -MAX_SAFE_INTEGER <= value <= MAX_SAFE_INTEGER:
        return True
    # Beyond 10**21 RFC 8785 writes exponents.
    if abs(value) > 10**21:
        return False
    return rfc8785.dumps(float(value)) == str(value).encode("ascii")


def _count_keys(text: str, *, max_keys: int) -> None:
    """Refuse too many keys before they are read: one object of a million takes seconds to build."""
    if len(text) <= max_keys * _SHORTEST_MEMBER:
        return
    keys = 0
    for found in _TEXT.finditer(text):
        keys += found.end(1) > 0
        if keys > max_keys:
            raise _not_strict(f"more than {max_keys} keys")


def _check_tree(value: JsonValue, *, max_depth: int) -> None:
    """Refuse nesting beyond `max_depth` and lone surrogates, without recursion."""
    level: list[JsonValue] = [value]
    depth = 0
    while level:
        below: list[JsonValue] = []
        containers = False
        for item in level:
            if isinstance(item, str):
                _check_text(item)
            elif isinstance(item, list):
                containers = True
                below.extend(item)
            elif isinstance(item, dict):
                containers = True
                for key in item:
                    _check_text(key)
                below.extend(item.values())
        depth += containers
        if depth > max_depth:
            raise _not_strict(f"nested deeper than {max_depth}")
        level = below


def _check_text(text: str) -> None:
    if text.isascii():
        return
    try:
        text.encode("utf-8")
    except UnicodeEncodeError as exc:
        raise _not_strict("a string contains a lone surrogate") from exc


def _read_integer(text: str) -> int | float:
    if len(text) <= _LONGEST_SAFE_INTEGER:
        value = int(text)
        if -MAX_SAFE_INTEGER <= value <= MAX_SAFE_INTEGER:
            return value
    number = float(text)
    if math.isfinite(number) and rfc8785.dumps(number) == text.encode("ascii"):
        return number
    raise _not_strict(f"the integer {_shown(text)} does not fit a double exactly")


def _read_float(text: str) -> float:
    value = float(text)
    if math.isinf(value):
        raise _not_strict(f"the number {_shown(text)} does not fit a double")
    return value


def _refuse_constant(name: str) -> NoReturn:
    raise _not_strict(f"{name} is not JSON")


def _shown(text: str) -> str:
    return ascii(text if len(text) <= 40 else text[:37] + "...")


def _no_form(reason: str) -> CanonicalError:
    return CanonicalError(
        f"this value has no canonical JSON form: {reason}",
        suggested_action="Use finite numbers, integers within ±(2**53 - 1) and string keys only.",
    )


def _not_strict(reason: str) -> CanonicalError:
    return CanonicalError(
        f"this is not strict JSON: {reason}",
        suggested_action="Send UTF-8 JSON with unique keys, finite numbers and moderate nesting.",
    )
