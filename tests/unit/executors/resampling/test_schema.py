"""Which schemas are taken, and which are refused before anything is drawn."""

from __future__ import annotations

from typing import Any

import pytest

from executors.resampling import AgreementInvalid, parse_agreement

# Eighteen levels of two equal branches: a quarter of a million ways through one small document.
BRANCHING: dict[str, Any] = {
    "$defs": {
        "d18": {"type": "string"},
        **{f"d{at}": {"anyOf": [{"$ref": f"#/$defs/d{at + 1}"}] * 2} for at in range(18)},
    },
    "$ref": "#/$defs/d0",
}
DEEP: dict[str, Any] = {}
for _ in range(40):
    DEEP = {"properties": {"a": DEEP}}


@pytest.mark.parametrize(
    ("schema", "words"),
    [
        (False, "ever meet"),
        ("object", "object"),
        ([], "object"),
        ({"type": "objekt"}, "no valid JSON schema"),
        ({"enum": 3}, "no valid JSON schema"),
        ({"$schema": 7}, "no valid JSON schema"),
        ({"$ref": "https://example.org/schema.json"}, "outside itself"),
        ({"properties": {"a": {"$ref": "other.json#/a"}}}, "outside itself"),
        ({"properties": {"a": {"$ref": "#anchor"}}}, "outside itself"),
        ({"properties": {"a": {"$ref": "#/$defs/missing"}}}, "not in it"),
        ({"properties": {"a": {"$id": "https://example.org/a"}}}, "id of its own"),
        ({"$dynamicRef": "#a"}, "dynamicRef"),
        ({"$ref": "#"}, "without end"),
        ({"allOf": [{"$ref": "#"}]}, "without end"),
        ({"properties": {"a": {"pattern": "["}}}, "valid JSON schema"),
        ({"patternProperties": {"[": {}}}, "valid JSON schema|no regular expression"),
        ({"properties": {"a": {"pattern": "(a+)+$"}}}, "exponential"),
        ({"properties": {"a": {"pattern": "^((?:a|aa)x?)*$"}}}, "exponential"),
        ({"properties": {"a": {"pattern": "^(a|a){2,40}$"}}}, "exponential"),
        ({"patternProperties": {"(x*)*y": {}}}, "exponential"),
        ({"pattern": "a" * 300}, "exponential"),
        ({"enum": list(range(6000))}, "more than"),
        (DEEP, "deeper"),
        (BRANCHING, "too many times"),
    ],
)
def test_an_unusable_schema_is_refused(schema: Any, words: str) -> None:
    """Foreign references, endless ones, patterns that never end, absurd sizes."""
    with pytest.raises(AgreementInvalid, match=words):
        parse_agreement({"type": "json", "schema": schema})


@pytest.mark.parametrize(
    "pattern", ["^L[1-5]-(L[1-5]|S1)$", "^[a-z]+(-[0-9]{2}){0,8}$", "^(ab)+$", r"^\(+\d*[+*]*\)$"]
)
def test_ordinary_patterns_are_taken(pattern: str) -> None:
    """Groups, bounded repeats and escaped brackets are no danger."""
    agreement = parse_agreement({"type": "json", "schema": {"type": "string", "pattern": pattern}})
    assert not agreement.classify('"!"').valid


@pytest.mark.parametrize("keyword", ["properties", "$defs"])
def test_names_that_look_like_keywords_are_names(keyword: str) -> None:
    """A property called $ref or pattern is no reference and no pattern."""
    schema = {keyword: {"$ref": {"type": "string"}, "pattern": {}, "const": {"type": "string"}}}
    assert parse_agreement({"type": "json", "schema": schema}).classify("{}").valid


def test_a_schema_may_refer_to_its_own_parts_even_recursively() -> None:
    """As long as each step consumes some of the document."""
    schema = {
        "$defs": {"node": {"properties": {"next": {"$ref": "#/$defs/node"}}, "required": ["v"]}},
        "$ref": "#/$defs/node",
    }
    agreement = parse_agreement({"type": "json", "schema": schema, "critical": ["/next/v"]})
    assert agreement.classify('{"v": 1, "next": {"v": 2}}').leaves == (("/next/v", "2"),)
    assert agreement.classify('{"v": 1, "next": {}}').reason == "schema:/next:required"


@pytest.mark.parametrize(
    "setting",
    [
        {"critical": ["/missing"]},
        {"critical": ["/inner/missing"]},
        {"critical": ["level"]},
        {"critical": ["/~2"]},
        {"critical": "/level"},
        {"critical": [7]},
        {"critical": ["/level", "/level"]},
        {"critical": ["/level"], "free_text": ["/level"]},
        {"critical": ["/inner/x"], "free_text": ["/inner"]},
        {"tolerance": {"/level": {"atol": 1}}},
        {"critical": ["/level"], "tolerance": {"/level": {"tol": 1}}},
        {"critical": ["/level"], "tolerance": {"/level": 1}},
        {"critical": ["/level"], "tolerance": []},
        {"fields": ["/level"]},
    ],
)
def test_fields_that_no_answer_can_have_are_refused(setting: dict[str, Any]) -> None:
    """So are pointers that are none, doubled or contradictory."""
    schema = {
        "properties": {
            "level": {"type": "string"},
            "inner": {"$ref": "#/$defs/inner"},
        },
        "additionalProperties": False,
        "$defs": {"inner": {"properties": {"x": {}}, "additionalProperties": False}},
    }
    with pytest.raises(AgreementInvalid):
        parse_agreement({"type": "json", "schema": schema, **setting})


def test_a_field_of_one_branch_is_reachable() -> None:
    """Only what every document must meet can exclude a field."""
    schema = {
        "anyOf": [
            {"properties": {"a": {}}, "additionalProperties": False},
            {"properties": {"b": {}}, "additionalProperties": False},
        ]
    }
    parse_agreement({"type": "json", "schema": schema, "critical": ["/a", "/b"]})


@pytest.mark.parametrize("dialect", [None, "https://json-schema.org/draft/2020-12/schema"])
def test_a_document_that_takes_too_many_steps_to_check_is_invalid(dialect: str | None) -> None:
    """Branches that multiply with every level of the document, in any dialect."""
    levels = {
        f"d{at}": {"anyOf": [{"properties": {"a": {"$ref": f"#/$defs/d{at + 1}"}}}] * 2}
        for at in range(24)
    }
    schema = {"$defs": {**levels, "d24": {"type": "string"}}, "$ref": "#/$defs/d0"}
    if dialect:
        schema["$schema"] = dialect
    agreement = parse_agreement({"type": "json", "schema": schema})
    assert agreement.classify('{"a":' * 24 + "1" + "}" * 24).reason == "schema:TooCostly"
    assert agreement.classify('{"b": "x"}').valid


@pytest.mark.parametrize(
    ("text", "valid"),
    [('[1, "1", true]', True), ("[1, 1.0]", False), ('[{"a": 1}, {"a": 1}]', False), ("[]", True)],
)
def test_unique_members_are_told_apart_as_json_does(text: str, valid: bool) -> None:
    """1 and 1.0 are one number; 1 and true are not."""
    agreement = parse_agreement({"type": "json", "schema": {"uniqueItems": True}})
    assert agreement.classify(text).valid is valid


def test_an_older_dialect_is_honoured() -> None:
    """The one that the schema names."""
    schema = {
        "$schema": "http://json-schema.org/draft-07/schema#",
        "definitions": {"node": {"properties": {"next": {"$ref": "#/definitions/node"}}}},
        "items": [{"$ref": "#/definitions/node"}, {"type": "string"}],
    }
    agreement = parse_agreement({"type": "json", "schema": schema})
    assert agreement.classify('[{"next": {}}, "x"]').valid
    assert agreement.classify("[{}, 1]").reason == "schema:/1:type"
