"""A JSON schema made safe to use on answers, and what it says about a place in a document.

Checked once, before anything is drawn: the schema is itself valid, refers only to itself (so that
no validation ever opens a connection), is of bounded size, and its patterns cannot take exponential
time on an unlucky answer. The keywords are those of JSON Schema draft 2020-12 or of the draft that
`$schema` names.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import jsonschema
from jsonschema.validators import validator_for

from executors.resampling.errors import AgreementInvalid

#: Bounds of a schema: how deep it may nest and how many values it may have.
MAX_SCHEMA_DEPTH = 32
MAX_SCHEMA_VALUES = 5_000
MAX_PATTERN_CHARS = 256

#: What the validator is known to raise on a hostile schema or document, beside its own verdicts.
_VALIDATOR_FAILURES = (
    jsonschema.SchemaError,
    ArithmeticError,
    AttributeError,
    LookupError,
    RecursionError,
    TypeError,
    ValueError,
    re.error,
)
_DATA_KEYWORDS = frozenset({"const", "default", "enum", "examples"})
_REFUSED = ("$dynamicRef", "$recursiveRef")
_UNBOUNDED = re.compile(r"[*+]|\{[0-9]*,\}|\{[0-9]*,?(?:[0-9]{2,}|9)\}")
_VARYING = re.compile(r"[*+?]|\{[0-9]*,[0-9]*\}")


class AnswerSchema:
    """A checked JSON schema. Raises `AgreementInvalid` for one that cannot be used."""

    def __init__(self, *, root: Mapping[str, Any] | bool) -> None:
        if root is False:
            raise _refused("no answer can ever meet the schema `false`")
        self._root: Mapping[str, Any] = {} if root is True else root
        _check_shape(self._root)
        try:
            dialect = validator_for(self._root, default=jsonschema.Draft202012Validator)
            dialect.check_schema(dict(self._root))
        except _VALIDATOR_FAILURES as error:
            why = getattr(error, "message", type(error).__name__)
            raise _refused(f"the schema is no valid JSON schema: {why[:200]}") from error
        self._check_references()
        self._validator = dialect(dict(self._root))
        trivials: tuple[Any, ...] = (None, True, 0, "", [], {})
        for trivial in trivials:
            try:
                self._validator.is_valid(trivial)
            except RecursionError as error:
                raise _refused("the schema refers to itself without end") from error

    @property
    def root(self) -> Mapping[str, Any]:
        """The schema as it was given."""
        return self._root

    def fault(self, document: Any) -> str | None:
        """Return where and by which keyword `document` fails the schema, or None if it meets it."""
        try:
            error = next(iter(self._validator.iter_errors(document)), None)
        except _VALIDATOR_FAILURES as failure:
            return f"schema:{type(failure).__name__}"
        if error is None:
            return None
        place = "/".join(str(step) for step in error.absolute_path)[:80]
        return f"schema:/{place}:{error.validator}"

    def expand(self, schemas: Iterable[Any], *, certain: bool = False) -> list[Mapping[str, Any]]:
        """Return `schemas` and every subschema that speaks about the same place.

        With `certain`, only those that every document must meet: no branches.
        """
        branches = () if certain else ("anyOf", "oneOf")
        found: list[Mapping[str, Any]] = []
        waiting = list(schemas)
        while waiting:
            schema = waiting.pop(0)
            if not isinstance(schema, Mapping) or any(schema is known for known in found):
                continue
            found.append(schema)
            if isinstance(reference := schema.get("$ref"), str):
                waiting.append(self._resolve(reference))
            for keyword in ("allOf", *branches):
                waiting.extend(_items(schema.get(keyword)))
            if not certain:
                waiting.extend(schema.get(keyword) for keyword in ("then", "else"))
        return found

    def below(self, schemas: Sequence[Mapping[str, Any]], step: str | int) -> list[Any]:
        """Return the subschemas for member `step` (a key or an index) of such a value."""
        found: list[Any] = []
        for schema in schemas:
            if isinstance(step, str):
                properties = schema.get("properties") or {}
                named = step in properties
                found.extend([properties[step]] if named else [schema.get("additionalProperties")])
            else:
                leading = list(_items(schema.get("prefixItems")))
                found.append(leading[step] if step < len(leading) else schema.get("items"))
        return found

    def excludes(self, schemas: Sequence[Mapping[str, Any]], key: str) -> bool:
        """Say whether some of `schemas` forbids the member `key` outright."""
        return any(
            schema.get("additionalProperties") is False
            and key not in (schema.get("properties") or {})
            and not schema.get("patternProperties")
            for schema in schemas
        )

    def _resolve(self, reference: str) -> Any:
        place: Any = self._root
        for step in reference.removeprefix("#").split("/")[1:]:
            key = step.replace("~1", "/").replace("~0", "~")
            if isinstance(place, Mapping) and key in place:
                place = place[key]
            elif isinstance(place, list) and key.isdecimal() and int(key) < len(place):
                place = place[int(key)]
            else:
                raise _refused(f"the schema refers to {reference[:80]!r}, which is not in it")
        return place

    def _check_references(self) -> None:
        for schema in _walk(self._root):
            if "$id" in schema and schema is not self._root and isinstance(schema["$id"], str):
                raise _refused("a part of the schema has an $id of its own")
            for keyword in _REFUSED:
                if isinstance(schema.get(keyword), str):
                    raise _refused(f"the schema uses {keyword}")
            reference = schema.get("$ref")
            if isinstance(reference, str):
                if reference != "#" and not reference.startswith("#/"):
                    raise _refused(f"the schema refers to {reference[:80]!r} outside itself")
                self._resolve(reference)
            patterns = [schema.get("pattern"), *(schema.get("patternProperties") or ())]
            for pattern in patterns:
                if isinstance(pattern, str):
                    _check_pattern(pattern)


def _items(value: Any) -> Sequence[Any]:
    return value if isinstance(value, list) else ()


def _walk(value: Any) -> Iterator[Mapping[str, Any]]:
    """Yield every object in `value`, except in keywords whose value is data and no schema."""
    if isinstance(value, Mapping):
        yield value
        for key, member in value.items():
            if key not in _DATA_KEYWORDS or isinstance(member, Mapping):
                yield from _walk(member)
    elif isinstance(value, list):
        for member in value:
            yield from _walk(member)


def _check_shape(root: Any) -> None:
    """Refuse a schema that is no object, nests too deep or is too large to walk."""
    if not isinstance(root, Mapping):
        raise _refused("a schema is a JSON object")
    level: list[Any] = [root]
    seen = 0
    for _ in range(MAX_SCHEMA_DEPTH + 1):
        level = [
            member
            for value in level
            if isinstance(value, Mapping | list)
            for member in (value.values() if isinstance(value, Mapping) else value)
        ]
        seen += len(level)
        if not level:
            return
        if seen > MAX_SCHEMA_VALUES:
            raise _refused(f"the schema has more than {MAX_SCHEMA_VALUES} values")
    raise _refused(f"the schema nests deeper than {MAX_SCHEMA_DEPTH}")


def _check_pattern(pattern: str) -> None:
    """Refuse a pattern that is none, or whose repeats can multiply.

    A group that holds a repeat of varying length or alternatives, and is itself repeated without a
    small bound, can take exponential time. Other patterns take a power of the string's length.
    """
    try:
        re.compile(pattern)
    except (re.error, RecursionError, OverflowError) as error:
        raise _refused(f"the pattern {pattern[:80]!r} is no regular expression: {error}") from error
    bare = re.sub(r"\\.", "x", pattern, flags=re.DOTALL)
    bare = re.sub(r"\[\^?\]?[^\]]*\]", "x", bare)
    bare = re.sub(r"\(\?(?:[:=!]|<[=!]|P<\w+>)", "(", bare)
    if len(pattern) > MAX_PATTERN_CHARS or _multiplies(bare):
        raise _refused(
            f"the pattern {pattern[:80]!r} could take exponential time",
            "bound the outer repeat with {0,8}, or list the values with enum",
        )


def _multiplies(pattern: str) -> bool:
    open_groups = [False]
    for place, char in enumerate(pattern):
        if char == "(":
            open_groups.append(False)
        elif char == ")" and len(open_groups) > 1:
            risky = open_groups.pop()
            if risky and _UNBOUNDED.match(pattern, place + 1):
                return True
            open_groups[-1] |= risky or bool(_VARYING.match(pattern, place + 1))
        elif char == "|" or _VARYING.match(pattern, place):
            open_groups[-1] = True
    return False


def _refused(why: str, action: str = "correct the schema of the answer") -> AgreementInvalid:
    return AgreementInvalid(why, suggested_action=action)
