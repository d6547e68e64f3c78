"""Agreement on a JSON answer, field by field.

A sample must meet the schema; then each critical field (a JSON pointer, RFC 6901) is voted on by
itself. Two values of a field are the same after this reading: object keys in any order, 1.0 as 1,
words of an enumeration in any letter case, arrays that the schema calls unique (or that are named
as sets) in any order, free-text fields left out, numbers within the field's tolerance where it has
one.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from executors.resampling.documents import Unreadable, read_document, write_canonical
from executors.resampling.errors import AgreementInvalid
from executors.resampling.numbers import Tolerance, cluster
from executors.resampling.plain import invalid
from executors.resampling.schema import AnswerSchema
from executors.resampling.types import Classified

#: The canonical value of a field that an answer leaves out; no JSON value is written so.
ABSENT = "absent"

_POINTER = re.compile(r"(?:/(?:[^~]|~[01])*)?", re.DOTALL)


def parse_pointer(pointer: Any) -> tuple[str, ...]:
    """Return the steps of an RFC 6901 pointer. Raises `AgreementInvalid` for anything else."""
    if not isinstance(pointer, str) or not _POINTER.fullmatch(pointer):
        raise AgreementInvalid(
            f"{str(pointer)[:80]!r} is no JSON pointer",
            suggested_action="write the field as a path from the top, for example /grade",
        )
    return tuple(step.replace("~1", "/").replace("~0", "~") for step in pointer.split("/")[1:])


@dataclass(frozen=True, slots=True, kw_only=True)
class Structured:
    """A JSON answer that meets `schema`, voted on by field.

    `fields` are the critical ones, or the whole document as the one field "". `free_text` and
    `sets` are the steps of pointers; `tolerances` belong to fields. A cut-off text is valid only if
    it is a whole object or array.
    """

    schema: AnswerSchema
    fields: tuple[str, ...] = ("",)
    free_text: frozenset[tuple[str, ...]] = frozenset()
    sets: frozenset[tuple[str, ...]] = frozenset()
    tolerances: Mapping[str, Tolerance] = field(default_factory=dict)
    kind: str = "json"

    def classify(self, text: str, *, truncated: bool = False) -> Classified:
        """Read `text`, hold it against the schema and take its critical fields."""
        try:
            document = read_document(text)
        except Unreadable as error:
            return invalid("truncated" if truncated else str(error))
        if truncated and not isinstance(document, dict | list):
            return invalid("truncated")
        reason = ""
        if fault := self.schema.fault(document):
            document = self._spelled(document, [self.schema.root])
            if self.schema.fault(document):
                return invalid(fault)
            reason = "letter_case"
        reading = self._reading(document, [self.schema.root], ())
        leaves = tuple((pointer, _leaf(reading, parse_pointer(pointer))) for pointer in self.fields)
        return Classified(
            valid=True, canonical=write_canonical(reading), leaves=leaves, reason=reason
        )

    def group(self, field: str, values: Sequence[str], /) -> Sequence[str]:
        """Name the class of each value: itself, or the lower median of its cluster."""
        tolerance = self.tolerances.get(field)
        return values if tolerance is None else cluster(values, tolerance)

    def _spelled(self, value: Any, schemas: Sequence[Any]) -> Any:
        """Return `value` with the words of enumerations in the schema's own letter case."""
        here = self.schema.expand(schemas)
        if isinstance(value, str):
            words = [word for schema in here for word in _words(schema)]
            alike = {word for word in words if word.casefold() == value.strip().casefold()}
            return alike.pop() if value not in words and len(alike) == 1 else value
        if isinstance(value, dict):
            return {
                key: self._spelled(member, self.schema.below(here, key))
                for key, member in value.items()
            }
        if isinstance(value, list):
            return [
                self._spelled(member, self.schema.below(here, place))
                for place, member in enumerate(value)
            ]
        return value

    def _reading(self, value: Any, schemas: Sequence[Any], path: tuple[str, ...]) -> Any:
        """Return `value` without free text and with sets in one order."""
        here = self.schema.expand(schemas)
        if isinstance(value, dict):
            return {
                key: self._reading(member, self.schema.below(here, key), (*path, key))
                for key, member in value.items()
                if (*path, key) not in self.free_text
            }
        if isinstance(value, list):
            members = [
                self._reading(member, self.schema.below(here, place), (*path, str(place)))
                for place, member in enumerate(value)
                if (*path, str(place)) not in self.free_text
            ]
            unique = any(schema.get("uniqueItems") is True for schema in here)
            return sorted(members, key=write_canonical) if unique or path in self.sets else members
        return value


def _words(schema: Mapping[str, Any]) -> list[str]:
    values = [*schema.get("enum", ()), schema.get("const")]
    return [value for value in values if isinstance(value, str)]


def _leaf(document: Any, steps: tuple[str, ...]) -> str:
    place = document
    for step in steps:
        if isinstance(place, dict) and step in place:
            place = place[step]
        elif isinstance(place, list) and step.isdecimal() and int(step) < len(place):
            place = place[int(step)]
        else:
            return ABSENT
    return write_canonical(place)
