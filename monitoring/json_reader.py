"""Reading JSON that somebody else wrote: what is not what it should be reads as missing.

Texts are made safe to print, numbers are finite, lists and tables have an end.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

LONGEST_TEXT = 200
MOST_ENTRIES = 64
LARGEST = 2**63


class JsonReader:
    """One JSON value that ought to be a table, read field by field; never raises."""

    def __init__(self, value: object) -> None:
        self._table: Mapping[Any, Any] = value if isinstance(value, Mapping) else {}

    def part(self, name: str) -> JsonReader:
        """A table in this one."""
        return JsonReader(self._table.get(name))

    def parts(self, name: str) -> list[JsonReader]:
        """A list of tables; what is no table in it is left out."""
        value = self._table.get(name)
        rows = value[:MOST_ENTRIES] if isinstance(value, list) else []
        return [JsonReader(row) for row in rows if isinstance(row, Mapping)]

    def text(self, name: str) -> str | None:
        """A text that can be printed."""
        return _text(self._table.get(name))

    def texts(self, name: str) -> tuple[str, ...]:
        """A list of texts."""
        value = self._table.get(name)
        found = [_text(part) for part in value[:MOST_ENTRIES]] if isinstance(value, list) else []
        return tuple(text for text in found if text is not None)

    def number(self, name: str) -> float | None:
        """A finite number."""
        return _number(self._table.get(name))

    def count(self, name: str) -> int | None:
        """A whole number from 0 on."""
        return _count(self._table.get(name))

    def flag(self, name: str) -> bool | None:
        """True or false."""
        value = self._table.get(name)
        return value if isinstance(value, bool) else None

    def counts(self, name: str) -> dict[str, int] | None:
        """A table of whole numbers from 0 on."""
        rows = self._entries(name)
        if rows is None:
            return None
        return {key: read for key, value in rows if (read := _count(value)) is not None}

    def amounts(self, name: str) -> dict[str, float] | None:
        """A table of finite numbers from 0 on."""
        rows = self._entries(name)
        if rows is None:
            return None
        numbers = [(key, _number(value)) for key, value in rows]
        return {key: read for key, read in numbers if read is not None and read >= 0}

    def _entries(self, name: str) -> list[tuple[str, Any]] | None:
        value = self._table.get(name)
        if not isinstance(value, Mapping):
            return None
        rows = [(_text(key), part) for key, part in list(value.items())[:MOST_ENTRIES]]
        return [(key, part) for key, part in rows if key is not None]


def printable(text: str) -> str:
    """The text as it can be shown: a control character could repaint the terminal."""
    return "".join(c if c.isprintable() else "\ufffd" for c in text[:LONGEST_TEXT])


def _text(value: object) -> str | None:
    return printable(value) if isinstance(value, str) else None


def _number(value: object) -> float | None:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return float(value) if abs(value) < LARGEST else None


def _count(value: object) -> int | None:
    number = _number(value)
    if number is None or number < 0 or not number.is_integer():
        return None
    return value if isinstance(value, int) else int(number)
