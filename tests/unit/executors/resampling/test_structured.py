"""JSON answers, voted on field by field."""

from __future__ import annotations

import json
from typing import Any

import pytest

from executors.resampling import Ballot, Tally, parse_agreement

FINDING: dict[str, Any] = {
    "type": "object",
    "properties": {
        "level": {"enum": ["L4-L5", "L5-S1"]},
        "grade": {"enum": ["mild", "moderate", "severe"]},
        "width": {"type": "number"},
        "signs": {"type": "array", "items": {"type": "string"}, "uniqueItems": True},
        "impression": {"type": "string"},
    },
    "required": ["level", "grade"],
    "additionalProperties": False,
}
SPEC = {
    "type": "json",
    "schema": FINDING,
    "critical": ["/level", "/grade"],
    "free_text": ["/impression"],
}


def finding(level: str = "L4-L5", grade: str = "mild", **more: Any) -> str:
    """Return a finding as JSON."""
    return json.dumps({"level": level, "grade": grade, **more})


def vote(*texts: str, **setting: Any) -> Ballot:
    """Return the ballot of these samples."""
    ballot = Ballot(parse_agreement({**SPEC, **setting}))
    for index, text in enumerate(texts):
        ballot.add(index, text)
    return ballot


def test_every_critical_field_is_counted_by_itself() -> None:
    """An invalid sample counts in n of each and for no class."""
    ballot = vote(finding(), finding(grade="severe"), finding("L5-S1"), "no idea")
    assert ballot.tallies() == [Tally(n=4, v1=2, v2=1), Tally(n=4, v1=2, v2=1)]


def test_what_is_not_critical_does_not_divide_the_vote() -> None:
    """Neither free text nor other fields, nor the order of keys."""
    ballot = vote(
        finding(impression="Stenosis."),
        finding(impression="Narrow canal."),
        '{"grade": "mild", "level": "L4-L5", "width": 3}',
    )
    assert [size for _, size, _ in ballot.votes()] == [3]
    assert ballot.leader() == '{"/level":"L4-L5","/grade":"mild"}'.replace("L4-L5", "L4-L5")


def test_without_critical_fields_the_document_is_one_class() -> None:
    """Free text left out, sets in one order, 3.0 as 3."""
    ballot = vote(
        finding(width=3, signs=["a", "b"], impression="x"),
        finding(width=3.0, signs=["b", "a"]),
        finding(width=4),
        critical=[],
    )
    assert [size for _, size, _ in ballot.votes()] == [2, 1]


def test_an_array_named_as_a_set_is_one() -> None:
    """Others keep their order."""
    schema = {"properties": {"signs": {"type": "array"}}}
    texts = ('{"signs": ["a", 1]}', '{"signs": [1, "a"]}')
    assert len(vote(*texts, schema=schema, critical=["/signs"], free_text=[]).votes()) == 2
    named = vote(*texts, schema=schema, critical=["/signs"], free_text=[], sets=["/signs"])
    assert len(named.votes()) == 1


def test_words_of_an_enumeration_agree_in_any_letter_case() -> None:
    """The sample in the schema's own spelling is preferred as the answer."""
    ballot = vote(finding(grade="Severe"), finding(grade="SEVERE "), finding(grade="severe"))
    assert [size for _, size, _ in ballot.votes()] == [3]
    assert ballot.standing().representative == 2
    assert ballot.read(0).reason == "letter_case"


def test_letter_case_does_not_join_words_the_enumeration_keeps_apart() -> None:
    """A schema may tell "a" from "A"."""
    schema = {"properties": {"x": {"enum": ["a", "A"]}}}
    texts = ('{"x": "a"}', '{"x": "A"}')
    assert len(vote(*texts, schema=schema, critical=["/x"], free_text=[]).votes()) == 2


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (finding(grade="terrible"), "schema:/grade:enum"),
        ('{"level": "L4-L5"}', "schema:/:required"),
        (finding(extra=1), "schema:/:additionalProperties"),
        ("[]", "schema:/:type"),
        ("A mild stenosis.", "not_json"),
    ],
)
def test_a_sample_that_misses_the_schema_is_invalid_and_says_where(text: str, reason: str) -> None:
    """The place and the keyword, never the text."""
    assert vote(text).read(0).reason == reason


def test_an_optional_critical_field_may_be_absent_which_is_not_null() -> None:
    """Leaving it out is an answer of its own."""
    schema = {"properties": {"side": {"type": ["string", "null"]}}}
    ballot = vote('{"side": null}', "{}", "{}", schema=schema, critical=["/side"], free_text=[])
    assert [tuple(found) for found in ballot.votes()] == [("absent", 2, 1), ("null", 1, 0)]


def test_numbers_of_a_field_agree_within_its_tolerance() -> None:
    """Clustered like plain numbers; the median names the class."""
    ballot = vote(
        finding(width=3.0),
        finding(width=3.2),
        finding(width=3.1),
        finding(width=9),
        critical=["/width"],
        tolerance={"/width": {"atol": 0.25}},
    )
    assert [tuple(found) for found in ballot.votes()] == [("3.1", 3, 0), ("9", 1, 3)]
    assert ballot.standing().representative == 2


def test_a_cut_off_document_is_valid_only_if_it_is_whole() -> None:
    """A cut-off number or word could have gone on."""
    agreement = parse_agreement({"type": "json"})
    assert agreement.classify('{"a": 1}', truncated=True).valid
    assert agreement.classify('{"a": 1', truncated=True).reason == "truncated"
    assert agreement.classify("12", truncated=True).reason == "truncated"


def test_pointers_reach_escaped_names_and_array_places() -> None:
    """RFC 6901."""
    spec = {"type": "json", "critical": ["/a~1b/0/m~0n", "/list"]}
    read = parse_agreement(spec).classify('{"a/b": [{"m~n": "x"}], "list": [2, 1]}')
    assert read.leaves == (("/a~1b/0/m~0n", '"x"'), ("/list", "[2,1]"))
