"""All schemas that speak about one place of a document, read together. Pure.

What needs no look below the place is answered here: types, counts, the interval of a number, the
members that are required, and what is said about a member or an item.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

_KINDS: dict[str, frozenset[str]] = {
    **{name: frozenset({name}) for name in ("null", "boolean", "string", "array", "object")},
    "integer": frozenset({"integer"}),
    "number": frozenset({"integer", "fraction"}),
}
#: JSON's types, with numbers in two kinds.
ALL_KINDS = frozenset[str]().union(*_KINDS.values())

Facet = tuple[str, Mapping[str, Any]]
Given = tuple[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Contradiction:
    """Where a schema contradicts itself (a JSON pointer into it) and how."""

    pointer: str
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class _Bound:
    pointer: str
    value: float
    excluded: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Facets:
    """The schemas of one place, each with its JSON pointer; `keywords` are the dialect's."""

    schemas: Sequence[Facet]
    keywords: frozenset[str]

    def __iter__(self) -> Iterator[Facet]:
        return iter(self.schemas)

    def has(self, schema: Mapping[str, Any], keyword: str) -> bool:
        """Whether a schema uses a keyword that its dialect knows."""
        return keyword in schema and keyword in self.keywords

    def get(self, schema: Mapping[str, Any], keyword: str) -> Any:
        """A keyword's value, None where it is not used."""
        return schema[keyword] if self.has(schema, keyword) else None

    def listed(self) -> list[tuple[str, list[Any]]]:
        """Every list of the only values allowed here."""
        found: list[tuple[str, list[Any]]] = []
        for pointer, schema in self:
            if isinstance(values := self.get(schema, "enum"), list):
                found.append((f"{pointer}/enum", values))
            if self.has(schema, "const"):
                found.append((f"{pointer}/const", [schema["const"]]))
        return found

    def kinds(self, schema: Mapping[str, Any]) -> frozenset[str]:
        """The kinds that a schema's `type` allows."""
        names = schema.get("type")
        if names is None:
            return ALL_KINDS
        listed = [names] if isinstance(names, str) else names
        return frozenset[str]().union(*(_KINDS.get(name, ALL_KINDS) for name in listed))

    def least(self, keyword: str) -> float:
        """The largest count that a keyword demands."""
        return max(self._counts(keyword), default=0)

    def most(self, keyword: str) -> float:
        """The smallest count that a keyword allows."""
        return min(self._counts(keyword), default=math.inf)

    def count(self, schema: Mapping[str, Any], keyword: str, default: float) -> float:
        """A keyword's count in one schema."""
        value = self.get(schema, keyword)
        return value if _is_number(value) else default

    def crossed(self, least: str, most: str) -> Contradiction | None:
        """Whether more is demanded than allowed."""
        low, high = self.least(least), self.most(most)
        if low <= high:
            return None
        pointer = next(at for at, schema in self if self.count(schema, most, math.inf) == high)
        return Contradiction(
            pointer=f"{pointer}/{most}", reason=f"{high:g} is less than {least} {low:g}"
        )

    def no_number(self, *, whole: bool) -> Contradiction | None:
        """Whether the interval is empty, or holds no integer, or no multiple of an integer."""
        low = self._bound("minimum", "exclusiveMinimum", sign=-1)
        high = self._bound("maximum", "exclusiveMaximum", sign=1)
        if low is None or high is None:
            return None
        what = "number"
        empty = low.value > high.value or (
            low.value == high.value and (low.excluded or high.excluded)
        )
        steps = [self.get(schema, "multipleOf") for _, schema in self]
        for step in [1, *steps] if whole else steps:
            if not empty and isinstance(step, int) and not isinstance(step, bool) and step > 0:
                what = "integer" if step == 1 else f"multiple of {step}"
                empty = not _multiples(low, high, step)
        if not empty:
            return None
        return Contradiction(
            pointer=high.pointer, reason=f"no {what} lies between it and {low.pointer}"
        )

    def required(self) -> dict[str, str]:
        """The members that every object must have, and which keyword says so."""
        found: dict[str, str] = {}
        for pointer, schema in self:
            for name in self.get(schema, "required") or ():
                found.setdefault(name, f"{pointer}/required")
        waiting = list(found)
        while waiting:
            present = waiting.pop()
            for pointer, schema in self:
                for name in (self.get(schema, "dependentRequired") or {}).get(present, ()):
                    if name not in found:
                        found[name] = f"{pointer}/dependentRequired"
                        waiting.append(name)
        return found

    def too_few_names(self) -> Contradiction | None:
        """Whether fewer members have a name that is allowed than have to be there."""
        least = self.least("minProperties")
        for pointer, schema in self:
            names = self.get(schema, "properties") or {}
            closed = self.get(schema, "additionalProperties") is False
            if closed and not self.get(schema, "patternProperties") and least > len(names):
                return Contradiction(
                    pointer=f"{pointer}/properties", reason=f"{least:g} members must be there"
                )
        return None

    def member(self, name: str) -> list[Given]:
        """What is said about the member of that name."""
        found: list[Given] = []
        for pointer, schema in self:
            here: list[Given] = []
            properties = self.get(schema, "properties") or {}
            if name in properties:
                here.append((f"{pointer}/properties/{_escaped(name)}", properties[name]))
            for pattern, part in (self.get(schema, "patternProperties") or {}).items():
                if re.search(pattern, name):
                    here.append((f"{pointer}/patternProperties/{_escaped(pattern)}", part))
            if not here and self.has(schema, "additionalProperties"):
                here.append((f"{pointer}/additionalProperties", schema["additionalProperties"]))
            found += here
        return found

    def item(self, place: int) -> list[Given]:
        """What is said about the item at that place."""
        found: list[Given] = []
        for pointer, schema in self:
            old = isinstance(schema.get("items"), list)
            leading, rest = ("items", "additionalItems") if old else ("prefixItems", "items")
            first = self.get(schema, leading) or []
            if isinstance(first, list) and place < len(first):
                found.append((f"{pointer}/{leading}/{place}", first[place]))
            elif self.has(schema, rest):
                found.append((f"{pointer}/{rest}", schema[rest]))
        return found

    def _counts(self, keyword: str) -> list[float]:
        values = (self.get(schema, keyword) for _, schema in self)
        return [value for value in values if _is_number(value)]

    def _bound(self, plain: str, strict: str, *, sign: int) -> _Bound | None:
        """The tightest bound; of two alike the one that is itself excluded."""
        bounds = [
            _Bound(
                pointer=f"{pointer}/{keyword}", value=schema[keyword], excluded=keyword == strict
            )
            for pointer, schema in self
            for keyword in (plain, strict)
            if _is_number(self.get(schema, keyword))
        ]
        return max(bounds, key=lambda b: (-sign * b.value, b.excluded), default=None)


def asks_nothing(schema: Mapping[str, Any], *, but: str = "") -> bool:
    """Whether no keyword of a schema but one refuses any value."""
    return all(keyword in _NO_DEMANDS or keyword == but for keyword in schema)


_NO_DEMANDS = frozenset(
    {"$comment", "$defs", "definitions", "default", "deprecated", "description", "examples"}
    | {"readOnly", "title", "writeOnly"}
)


def _multiples(low: _Bound, high: _Bound, step: int) -> bool:
    least = math.ceil(Fraction(low.value) / step) * step
    most = math.floor(Fraction(high.value) / step) * step
    least += step if low.excluded and least == low.value else 0
    most -= step if high.excluded and most == high.value else 0
    return least <= most


def _is_number(value: Any) -> bool:
    if isinstance(value, float):
        return math.isfinite(value)
    return isinstance(value, int) and not isinstance(value, bool)


def _escaped(name: str) -> str:
    return name.replace("~", "~0").replace("/", "~1")
