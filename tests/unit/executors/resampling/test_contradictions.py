"""Which schemas no document can meet: all that are refused are, and the plain ones are found."""

from __future__ import annotations

from typing import Any
from unittest.mock import patch

import jsonschema
import pytest
from hypothesis import given
from hypothesis import strategies as st

from executors.resampling import AgreementInvalid, SchemaUnsatisfiable, parse_agreement
from executors.resampling.contradictions import Search
from executors.resampling.schema import AnswerSchema

CHAIN: dict[str, Any] = {
    "$defs": {
        "node": {
            "type": "object",
            "required": ["next"],
            "properties": {"next": {"$ref": "#/$defs/node"}},
        }
    },
    "$ref": "#/$defs/node",
}


def having(part: Any, **more: Any) -> dict[str, Any]:
    """An object with one required member."""
    return {"type": "object", "properties": {"a": part}, "required": ["a"], **more}


@pytest.mark.parametrize(
    ("schema", "pointer"),
    [
        (False, ""),
        ({"not": {}}, "/not"),
        ({"not": True}, "/not"),
        ({"not": {"title": "anything"}}, "/not"),
        ({"type": "string", "not": {"type": ["string", "null"]}}, "/not"),
        ({"enum": []}, "/enum"),
        ({"type": "string", "enum": [1, 2]}, "/enum"),
        ({"type": "integer", "const": "one"}, "/const"),
        ({"const": 3, "enum": [1, 2]}, "/const"),
        ({"enum": ["a"], "minLength": 2}, "/enum"),
        ({"allOf": [{"type": "string"}, {"type": "number"}]}, "/allOf/1/type"),
        ({"type": "number", "minimum": 5, "maximum": 4}, "/maximum"),
        ({"type": "number", "minimum": 5, "exclusiveMaximum": 5}, "/exclusiveMaximum"),
        ({"type": "integer", "exclusiveMinimum": 5, "exclusiveMaximum": 6}, "/exclusiveMaximum"),
        ({"type": "integer", "minimum": 1.2, "maximum": 1.8}, "/maximum"),
        ({"type": "integer", "minimum": 11, "maximum": 19, "multipleOf": 10}, "/maximum"),
        ({"type": "string", "minLength": 3, "maxLength": 2}, "/maxLength"),
        ({"type": "array", "minItems": 3, "maxItems": 2}, "/maxItems"),
        ({"type": "array", "minItems": 1, "items": False}, "/items"),
        ({"type": "array", "prefixItems": [True, {"enum": []}], "minItems": 2}, "/prefixItems/1"),
        ({"type": "array", "contains": {"not": {}}}, "/contains/not"),
        ({"type": "array", "contains": {}, "minContains": 3, "maxItems": 2}, "/contains"),
        ({"type": "object", "minProperties": 2, "maxProperties": 1}, "/maxProperties"),
        ({"type": "object", "required": ["a", "b"], "maxProperties": 1}, "/required"),
        (
            {"type": "object", "properties": {}, "additionalProperties": False, "minProperties": 1},
            "/properties",
        ),
        (having(False), "/properties/a"),
        (having({"enum": []}), "/properties/a/enum"),
        (having(having({"not": {}})), "/properties/a/properties/a/not"),
        (having({"allOf": [{"enum": []}]}), "/properties/a/allOf/0/enum"),
        ({"type": "object", "required": ["b"], "additionalProperties": False}, "/additional"),
        ({"type": "object", "required": ["b"], "propertyNames": {"maxLength": 0}}, "/required"),
        (having({}, dependentRequired={"a": ["b"]}, additionalProperties=False), "/additional"),
        ({"anyOf": [{"enum": []}, False]}, "/anyOf"),
        ({"type": "string", "anyOf": [{"type": "number"}, {"type": "null"}]}, "/anyOf"),
        ({"allOf": [{"anyOf": [{"enum": []}, {"not": {}}]}]}, "/allOf/0/anyOf"),
        ({"type": ["null", "boolean"], "not": {"enum": [None, True, False]}}, ""),
        ({"$defs": {"none": {"enum": []}}, "$ref": "#/$defs/none"}, "/$defs/none/enum"),
        (CHAIN, "/$defs/node"),
        ({"type": "object", "properties": {"a/b~": False}, "required": ["a/b~"]}, "/a~1b~0"),
    ],
)
def test_a_schema_that_nothing_meets_is_refused_with_the_place(schema: Any, pointer: str) -> None:
    """The pointer leads to where it contradicts itself."""
    with pytest.raises(SchemaUnsatisfiable) as caught:
        parse_agreement({"type": "json", "schema": schema})

    assert pointer in caught.value.details["pointer"]
    assert caught.value.details["reason"] in str(caught.value)


@pytest.mark.parametrize(
    "schema",
    [
        True,
        {"minimum": 5, "maximum": 4},  # a text meets it
        {"required": ["a"], "properties": {"a": False}},  # so it does this one
        {"type": "object", "properties": {"a": False}},
        {"type": "array", "items": False},
        {"type": "array", "contains": False, "minContains": 0},
        {"type": "number", "exclusiveMinimum": 5, "exclusiveMaximum": 6},
        {"type": ["string", "null"], "minLength": 2, "maxLength": 1},
        {"enum": ["a", 3], "type": "integer"},
        {"anyOf": [False, {"type": "string"}]},
        {"type": "string", "not": {"type": "number"}},
        {"type": "number", "not": {"type": "integer"}},
        {"not": {"minimum": 3}},
        {
            "$schema": "http://json-schema.org/draft-07/schema#",
            "definitions": {"text": {"type": "string"}},
            "$ref": "#/definitions/text",
            "enum": [],  # hidden by the $ref in this draft
        },
        {
            "$schema": "http://json-schema.org/draft-04/schema#",
            "type": "string",
            "const": 3,  # no keyword of this draft
        },
        having({"anyOf": [{"$ref": "#"}, {"type": "null"}]}),
        having({"type": ["object", "string"], "required": ["a"], "properties": {"a": False}}),
    ],
)
def test_a_schema_that_something_meets_is_taken(schema: Any) -> None:
    """A contradiction for one type leaves the others."""
    parse_agreement({"type": "json", "schema": schema})


VALUES: list[Any] = [None, True, False, 0, 1, 2, 3, 1.5, -1, "", "a", "ab", "abc"]
VALUES += [[], [1], ["a"], [1, 1], [1, "a", None], {}, {"a": 1}, {"b": "a"}, {"a": "ab", "b": 1}]
VALUES += [{"a": {"a": 1}}, {"a": []}, {"a": None, "b": None}]
KINDS = ("null", "boolean", "integer", "number", "string", "array", "object")
NAMES = st.sampled_from(["a", "b"])
SMALL = st.integers(0, 3)


def keywords(inner: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    """Schemas from a few keywords with small values, so that they often contradict each other."""
    parts = st.lists(inner, min_size=1, max_size=3)
    return st.fixed_dictionaries(
        {},
        optional={
            "type": st.sampled_from(KINDS)
            | st.lists(st.sampled_from(KINDS), min_size=1, max_size=3, unique=True),
            "enum": st.lists(st.sampled_from(VALUES), max_size=3),
            "const": st.sampled_from(VALUES),
            "minimum": SMALL,
            "maximum": SMALL,
            "exclusiveMinimum": SMALL,
            "exclusiveMaximum": SMALL,
            "multipleOf": st.integers(1, 3),
            "minLength": SMALL,
            "maxLength": SMALL,
            "minItems": SMALL,
            "maxItems": SMALL,
            "minProperties": SMALL,
            "maxProperties": SMALL,
            "uniqueItems": st.booleans(),
            "items": inner,
            "prefixItems": parts,
            "contains": inner,
            "minContains": SMALL,
            "maxContains": SMALL,
            "properties": st.dictionaries(NAMES, inner, max_size=2),
            "patternProperties": st.dictionaries(st.sampled_from(["^a", "b$"]), inner, max_size=1),
            "additionalProperties": inner,
            "propertyNames": inner,
            "required": st.lists(NAMES, max_size=2, unique=True),
            "dependentRequired": st.dictionaries(NAMES, st.lists(NAMES, unique=True), max_size=1),
            "allOf": parts,
            "anyOf": parts,
            "oneOf": parts,
            "not": inner,
            "$ref": st.sampled_from(["#/$defs/x", "#/$defs/y"]),
        },
    )


SCHEMAS = st.recursive(st.booleans() | keywords(st.booleans()), keywords, max_leaves=6)


@given(SCHEMAS, SCHEMAS, SCHEMAS)
def test_a_schema_is_never_refused_when_some_document_meets_it(root: Any, x: Any, y: Any) -> None:
    """Held against a few hundred documents; the schemas refer to one another as they like."""
    schema = {"allOf": [root], "$defs": {"x": x, "y": y}}
    try:
        parse_agreement({"type": "json", "schema": schema})
    except SchemaUnsatisfiable:
        with patch.object(Search, "first", return_value=None):
            unsearched = AnswerSchema(root=schema)
        assert [] == [value for value in VALUES if unsearched.fault(value) is None]
    except AgreementInvalid:
        pass


def derived(value: Any) -> st.SearchStrategy[Any]:
    """Schemas that this value meets, with much beside it that it does not."""
    name = next(
        k for k in ("null", "boolean", "number", "string", "array", "object") if _is(value, k)
    )
    options: dict[str, st.SearchStrategy[Any]] = {
        "type": st.sampled_from([name, [name], list({name: 0, "null": 0})]),
        "enum": st.lists(st.sampled_from(VALUES), max_size=2).map(lambda others: [*others, value]),
        "anyOf": st.lists(SCHEMAS, max_size=2).map(lambda others: [*others, {"const": value}]),
        "not": st.sampled_from([False, {"const": "never"}, {"enum": []}]),
    }
    if name == "number":
        options["minimum"] = st.just(value) | st.just(value - 1)
        options["maximum"] = st.just(value) | st.just(value + 1)
    if name == "string":
        options["minLength"] = st.integers(0, len(value))
        options["maxLength"] = st.integers(len(value), len(value) + 2)
    if name == "array":
        if value:
            options["prefixItems"] = st.tuples(*map(derived, value)).map(list)
        options["minItems"] = st.integers(0, len(value))
        options["maxItems"] = st.just(len(value))
    if name == "object":
        options["properties"] = st.fixed_dictionaries({k: derived(v) for k, v in value.items()})
        options["required"] = st.just(list(value))
        options["maxProperties"] = st.just(len(value))
    return st.fixed_dictionaries({}, optional=options)


def _is(value: Any, name: str) -> bool:
    return jsonschema.Draft202012Validator({"type": name}).is_valid(value)


@given(st.sampled_from(VALUES).flatmap(lambda v: st.tuples(st.just(v), derived(v), derived(v))))
def test_a_schema_made_around_a_document_is_taken(made: tuple[Any, Any, Any]) -> None:
    """However much else it says."""
    value, one, other = made
    schema = {"allOf": [one, other], "$defs": {"x": {}, "y": {"type": "string"}}}
    if jsonschema.Draft202012Validator(schema).is_valid(value):
        parse_agreement({"type": "json", "schema": schema})
