"""A JSON schema made safe to use on answers, and what it says about a place in a document.

Checked once, before anything is drawn: the schema is itself valid, refers only to itself (so that
no validation ever opens a connection), is of bounded size, and its patterns cannot take exponential
time on an unlucky answer. The keywords are those of JSON Schema draft 2020-12 or of the draft that
`$schema` names.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

import jsonschema
from jsonschema.validators import extend, validator_for

from executors.resampling.contradictions import Search
from executors.resampling.documents import write_canonical
from executors.resampling.errors import AgreementInvalid, SchemaUnsatisfiable
from executors.resampling.facets import Contradiction
from executors.resampling.patterns import may_explode

#: Bounds of a schema: how deep it may nest and how many values it may have.
MAX_SCHEMA_DEPTH = 32
MAX_SCHEMA_VALUES = 5_000
#: How many places `expand` looks at for one place of a document.
MAX_ALTERNATIVES = 100
#: How many keywords may be evaluated on one document, and how many within one another: far from
#: the end of the stack, where what the library calls does not fail cleanly.
MAX_STEPS = 10_000
MAX_DEPTH = 100


class TooCostly(Exception):
    """Holding a document against the schema takes too many steps."""


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
    TooCostly,
)
#: The faults that a schema without an end shows even on the smallest documents.
_NO_END = frozenset({"schema:RecursionError", "schema:TooCostly"})
_TRIVIAL: tuple[Any, ...] = (None, True, 0, "", [], {})
_DATA_KEYWORDS = frozenset({"const", "default", "enum", "examples"})
_REFUSED = ("$dynamicRef", "$recursiveRef")
#: The dialects in which a `$ref` hides the keywords beside it.
_REF_ALONE = (
    jsonschema.Draft4Validator,
    jsonschema.Draft6Validator,
    jsonschema.Draft7Validator,
)


class AnswerSchema:
    """A checked JSON schema. Raises `AgreementInvalid` for one that cannot be used."""

    def __init__(self, *, root: Mapping[str, Any] | bool) -> None:
        if root is False:
            raise _unsatisfiable(Contradiction(pointer="", reason="it is `false`"))
        self._root: Mapping[str, Any] = {} if root is True else root
        _check_shape(self._root)
        try:
            dialect = validator_for(self._root, default=jsonschema.Draft202012Validator)
            dialect.check_schema(dict(self._root))
        except _VALIDATOR_FAILURES as error:
            why = getattr(error, "message", type(error).__name__)
            raise _refused(f"the schema is no valid JSON schema: {why[:200]}") from error
        self._check_parts()
        self._steps = self._depth = 0
        # Without $schema, which would send the validator back to its dialect without our steps.
        bare = {key: value for key, value in self._root.items() if key != "$schema"}
        self._validator = self._counting(dialect)(bare)
        for trivial in _TRIVIAL:
            if self.fault(trivial) in _NO_END:
                raise _refused("the schema refers to itself without end, or too many times over")
        self._check_satisfiable(dialect)

    @property
    def root(self) -> Mapping[str, Any]:
        """The schema as it was given."""
        return self._root

    def fault(self, document: Any) -> str | None:
        """Return where and by which keyword `document` fails the schema, or None if it meets it."""
        self._steps = self._depth = 0
        try:
            error = next(iter(self._validator.iter_errors(document)), None)
        except _VALIDATOR_FAILURES as failure:
            return f"schema:{type(failure).__name__}"
        if error is None:
            return None
        place = "/".join(str(step) for step in error.absolute_path)[:80]
        return f"schema:/{place}:{error.validator}"

    def _check_satisfiable(self, dialect: Any) -> None:
        def meets(value: Any, part: Mapping[str, Any]) -> bool:
            bare = {key: member for key, member in part.items() if key != "$schema"}
            self._steps = self._depth = 0
            try:
                return bool(self._validator.evolve(schema=bare).is_valid(value))
            except _VALIDATOR_FAILURES:
                return True

        if dialect is jsonschema.Draft3Validator:
            return
        old = dialect in _REF_ALONE
        # The validator reads these two inside `contains`.
        counts = frozenset[str]() if old else frozenset({"minContains", "maxContains"})
        search = Search(
            meets=meets,
            resolve=self._resolve,
            keywords=counts.union(dialect.VALIDATORS),
            ref_alone=old,
        )
        if (found := search.first(self._root)) is not None:
            raise _unsatisfiable(found)

    def _counting(self, dialect: Any) -> Any:
        """Return the dialect with every evaluation of a keyword counted and bounded."""

        def counted(keyword: Callable[..., Any]) -> Callable[..., Any]:
            def evaluate(validator: Any, value: Any, instance: Any, schema: Any) -> Any:
                self._steps += 1
                self._depth += 1
                try:
                    if self._steps > MAX_STEPS or self._depth > MAX_DEPTH:
                        raise TooCostly
                    yield from keyword(validator, value, instance, schema) or ()
                finally:
                    self._depth -= 1

            return evaluate

        keywords = {**dialect.VALIDATORS, "uniqueItems": _unique_items}
        counting = {name: counted(keyword) for name, keyword in keywords.items()}
        return extend(dialect, counting)  # type: ignore[no-untyped-call]  # its stub has no types

    def expand(self, schemas: Iterable[Any], *, certain: bool = False) -> list[Mapping[str, Any]]:
        """Return `schemas` and every subschema that speaks about the same place.

        With `certain`, only those that every document must meet: no branches.
        """
        branches = () if certain else ("anyOf", "oneOf")
        found: list[Mapping[str, Any]] = []
        known: set[int] = set()
        waiting = list(schemas)
        while waiting and len(found) < MAX_ALTERNATIVES:
            schema = waiting.pop(0)
            if not isinstance(schema, Mapping) or id(schema) in known:
                continue
            known.add(id(schema))
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

    def _check_parts(self) -> None:
        for schema in _walk(self._root):
            for keyword in ("$id", "$schema"):
                if schema is not self._root and isinstance(schema.get(keyword), str):
                    raise _refused(f"a part of the schema has an {keyword} of its own")
            for keyword in _REFUSED:
                if isinstance(schema.get(keyword), str):
                    raise _refused(f"the schema uses {keyword}")
            reference = schema.get("$ref")
            if isinstance(reference, str):
                if reference != "#" and not reference.startswith("#/"):
                    raise _refused(f"the schema refers to {reference[:80]!r} outside itself")
                self._resolve(reference)
            for pattern in (schema.get("pattern"), *(schema.get("patternProperties") or ())):
                if isinstance(pattern, str):
                    _check_pattern(pattern)


def _unique_items(_validator: Any, unique: Any, instance: Any, _schema: Any) -> Iterator[Any]:
    """Evaluate `uniqueItems` in one pass, where the library compares every two members."""
    if unique is True and isinstance(instance, list):
        spellings = {write_canonical(member) for member in instance}
        if len(spellings) < len(instance):
            yield jsonschema.ValidationError("the members are not unique")


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
    try:
        re.compile(pattern)
    except (re.error, RecursionError, OverflowError) as error:
        raise _refused(f"the pattern {pattern[:80]!r} is no regular expression: {error}") from error
    if may_explode(pattern):
        raise _refused(
            f"the pattern {pattern[:80]!r} could take exponential time",
            "bound the outer repeat with {0,8}, or list the values with enum",
        )


def _unsatisfiable(found: Contradiction) -> SchemaUnsatisfiable:
    return SchemaUnsatisfiable(
        f"no answer can ever meet the schema: at {found.pointer!r:.200}, {found.reason:.200}",
        suggested_action="correct the schema at that place",
        details={"pointer": found.pointer, "reason": found.reason},
    )


def _refused(why: str, action: str = "correct the schema of the answer") -> AgreementInvalid:
    return AgreementInvalid(why, suggested_action=action)
