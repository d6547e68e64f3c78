"""The request: one shape, one byte string, and a clear word about what is wrong."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from executors import Prompt
from proofs import request_bytes, sha256_digest
from tasks import payloads
from tasks.catalogue import Catalogue, Model, parse_profile
from tasks.errors import PromptTooLarge, RequestInvalid, SettingsInvalid, UnknownModel
from tasks.settings import Limits

PROFILE = parse_profile(
    "spine",
    {
        "template": "### Findings\n${findings}\n### Answer\n",
        "temperature": 0.9,
        "policy": "lean",
        "schema_json": '{"type": "object", "required": ["grade"]}',
        "agreement": {"type": "json", "critical": ["/grade"]},
    },
    "here",
)
CATALOGUE = Catalogue(
    models={"spine": Model(name="spine", path=Path())}, profiles={"spine": PROFILE}
)


def test_the_bytes_are_canonical_and_hold_what_was_given_and_the_version() -> None:
    """No default of ours is written into a request, so the caller can make its hash again."""
    request = payloads.parse_request({"model": "spine", "prompt": "ä", "temperature": 1})

    assert b'{"model":"spine","prompt":"\xc3\xa4","temperature":1,"v":1}' == request.to_bytes()


@given(
    st.fixed_dictionaries(
        {"model": st.just("spine"), "prompt": st.text(min_size=1).filter(lambda t: t.strip())},
        optional={
            "temperature": st.floats(0, 5),
            "top_p": st.floats(0.01, 1),
            "max_tokens": st.integers(1, 1000),
            "stop": st.lists(st.text(min_size=1, max_size=5), max_size=3),
            "seed": st.integers(0, 2**53 - 1),
            "metadata": st.dictionaries(st.text(), st.text(), max_size=3),
            "sensitive": st.booleans(),
        },
    )
)
def test_reading_the_bytes_gives_the_same_request(fields: dict[str, Any]) -> None:
    """What was written gives the same bytes again, and so does the caller's file in the proofs."""
    try:
        request = payloads.parse_request(fields)
    except RequestInvalid:
        assert any("\ud800" <= c <= "\udfff" for c in str(fields))
        return
    again = payloads.request_from_bytes(request.to_bytes())
    assert sha256_digest(request.to_bytes()) == sha256_digest(again.to_bytes())
    assert request_bytes(json.dumps(fields).encode()) == request.to_bytes()


@pytest.mark.parametrize(
    "fields",
    [
        {"profile": None, "seed": None},
        {"messages": [{"role": "user", "content": "x"}], "prompt": None},
        {"response_format": {"type": "text", "json_schema": None}},
        {
            "response_format": {
                "type": "json_schema",
                "json_schema": {"name": "a", "strict": None, "schema": {"const": None}},
            }
        },
        {"agreement": {"type": "json", "critical": ["/a"], "note": None}},
    ],
)
def test_the_proofs_make_the_ledgers_bytes_from_a_file_with_nulls(fields: dict[str, Any]) -> None:
    """Null stands for left out in both, or in neither."""
    own = {"model": "spine", "prompt": "x", **fields}

    assert request_bytes(json.dumps(own).encode()) == payloads.parse_request(own).to_bytes()


@pytest.mark.parametrize(
    ("fields", "field"),
    [
        ({"model": "spine", "prompt": "x", "temperature": True}, "temperature"),
        ({"model": "spine", "prompt": "x", "max_tokens": 0}, "max_tokens"),
        ({"model": "spine", "prompt": "x", "top_p": 0}, "top_p"),
        ({"model": "spine", "prompt": "x", "seed": -1}, "seed"),
        ({"model": "spine", "prompt": "x", "v": 2}, "v"),
        ({"model": "spine", "prompt": "\ud800"}, "prompt"),
        ({"model": 3, "prompt": "x"}, "model"),
        ({"prompt": "x"}, "model"),
        ({"model": "spine", "prompt": "x", "stop": [""]}, "stop"),
        ({"model": "spine", "prompt": "x", "stop": ["a", ""]}, "stop"),
        ({"model": "spine", "prompt": "x", "stop": ""}, "stop"),
        ({"model": "spine", "prompt": "x", "sensitive": 1}, "sensitive"),
        ({"model": "spine", "prompt": "x", "logit_bias": {"abc": 1}}, "logit_bias"),
        ({"model": "spine", "prompt": "x", "logit_bias": {"-1": 1}}, "logit_bias"),
        ({"model": "spine", "prompt": "x", "logit_bias": {"1": 101}}, "logit_bias"),
        ({"model": "spine", "messages": [{"role": "boss", "content": "x"}]}, "messages.0.role"),
    ],
)
def test_what_is_wrong_is_named(fields: dict[str, Any], field: str) -> None:
    """The first field that is wrong, and a code."""
    with pytest.raises(RequestInvalid) as caught:
        payloads.parse_request(fields)

    assert (field, "REQUEST_INVALID") == (caught.value.details["field"], caught.value.code)


def test_k_and_policy_exclude_each_other() -> None:
    """`k` is a policy itself."""
    with pytest.raises(RequestInvalid, match="k or policy"):
        payloads.parse_request({"model": "spine", "prompt": "x", "k": 3, "policy": "lean"})


def test_findings_go_by_the_models_own_profile() -> None:
    """Template, sampling and agreement come from it; the request itself is unchanged."""
    request = payloads.parse_request({"model": "spine", "findings": "L4-L5: $5 stenosis"})

    profile = payloads.check(request, catalogue=CATALOGUE, limits=Limits())

    expected = Prompt(text="### Findings\nL4-L5: $5 stenosis\n### Answer\n")
    assert (PROFILE, expected) == (profile, payloads.prompt_of(request, profile))
    assert 0.9 == payloads.sampling_of(request, profile, seed=None).temperature


def test_the_request_wins_over_the_profile() -> None:
    """A temperature that was given is the one that is used."""
    request = payloads.parse_request({"model": "spine", "findings": "x", "temperature": 0.1})

    assert 0.1 == payloads.sampling_of(request, PROFILE, seed=7).temperature
    assert 7 == payloads.sampling_of(request, PROFILE, seed=7).seed


def test_a_prompt_that_is_too_large_tells_both_figures() -> None:
    """Characters and limit."""
    request = payloads.parse_request({"model": "spine", "prompt": "x" * 11})

    with pytest.raises(PromptTooLarge, match=r"11 characters; the limit is 10"):
        payloads.check(request, catalogue=CATALOGUE, limits=Limits(max_prompt_chars=10))


def test_an_unknown_model_is_refused_with_the_known_ones() -> None:
    """So that a typing error is seen at once."""
    request = payloads.parse_request({"model": "spin", "prompt": "x"})

    with pytest.raises(UnknownModel, match="spine"):
        payloads.check(request, catalogue=CATALOGUE, limits=Limits())


@pytest.mark.parametrize(
    ("schema", "code", "pointer"),
    [
        ({"type": "no such type"}, "SCHEMA_INVALID", None),
        ({"$ref": "https://example.org/"}, "SCHEMA_INVALID", None),
        ({"not": {}}, "SCHEMA_UNSATISFIABLE", "/not"),
        ({"type": "string", "minLength": 3, "maxLength": 1}, "SCHEMA_UNSATISFIABLE", "/maxLength"),
    ],
)
@pytest.mark.parametrize("agreement", [None, {"type": "text"}])
def test_a_schema_that_no_answer_can_meet_is_refused(
    schema: dict[str, Any], code: str, pointer: str | None, agreement: dict[str, Any] | None
) -> None:
    """Before anything is drawn, whatever the answers are compared by."""
    form = {"type": "json_schema", "json_schema": {"schema": schema}}
    request = payloads.parse_request(
        {"model": "spine", "prompt": "x", "response_format": form, "agreement": agreement}
    )

    with pytest.raises(RequestInvalid) as caught:
        payloads.check(request, catalogue=CATALOGUE, limits=Limits())

    assert (code, "response_format") == (caught.value.code, caught.value.details["field"])
    assert pointer == caught.value.details.get("pointer")
    assert "schema" in caught.value.message


@pytest.mark.parametrize(
    ("fields", "field"),
    [({"k": 6}, "k"), ({"policy": "fixed:6"}, "policy"), ({"policy": "thorough"}, "policy")],
)
def test_more_samples_than_the_limit_are_refused(fields: dict[str, Any], field: str) -> None:
    """By number, or by a policy that may come to draw as many."""
    request = payloads.parse_request({"model": "spine", "prompt": "x", **fields})

    with pytest.raises(RequestInvalid, match="the limit is 5") as caught:
        payloads.check(request, catalogue=CATALOGUE, limits=Limits(max_k=5))

    assert ("K_OUT_OF_RANGE", field) == (caught.value.code, caught.value.details["field"])


def test_a_profile_with_an_unknown_key_is_refused() -> None:
    """A misspelt key would be silently without effect."""
    with pytest.raises(SettingsInvalid, match="tempature"):
        parse_profile("p", {"template": "${findings}", "tempature": 1}, "here")


def test_the_profiles_digest_covers_every_key() -> None:
    """Another template is another digest."""
    one = parse_profile("p", {"template": "a ${findings}"}, "here")
    two = parse_profile("p", {"template": "b ${findings}"}, "here")
    assert one.digest != two.digest


def test_json_requests_survive_the_kombu_type_markers() -> None:
    """`__type__` in a user's text stays text."""
    text = json.dumps({"__type__": "datetime", "__value__": "x"})
    request = payloads.parse_request({"model": "spine", "prompt": text})
    assert text == payloads.request_from_bytes(request.to_bytes()).prompt
