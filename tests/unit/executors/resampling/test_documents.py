"""Reading JSON that a model wrote: hostile text is invalid, never an exception."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from executors.resampling import parse_agreement
from executors.resampling.documents import MAX_DEPTH, Unreadable, read_document, write_canonical

JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(10**20), 10**20)
    | st.text()
    | st.floats(allow_nan=False, allow_infinity=False),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=20,
)


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("", "not_json"),
        ("{", "not_json"),
        ("{} {}", "not_json"),
        ("```json\n{}\n```", "not_json"),
        ("{'a': 1}", "not_json"),
        ("\ufeff{}", "not_json"),
        ('{"a": 1, "a": 1}', "duplicate_key"),
        ('{"b": [{"a": 1, "a": 2}]}', "duplicate_key"),
        ("NaN", "not_a_number"),
        ("[Infinity]", "not_a_number"),
        ("-Infinity", "not_a_number"),
        ("1" * 33, "number_too_long"),
        ("[" + "1" * 100_000 + "]", "number_too_long"),
        ("1e999", "number_too_long"),
        ("0." + "1" * 40, "number_too_long"),
        ('"\\ud800"', "unpaired_surrogate"),
        ('{"\\udc00": 1}', "unpaired_surrogate"),
        ('"\ud800"', "unpaired_surrogate"),
        ("[" * (MAX_DEPTH + 1) + "]" * (MAX_DEPTH + 1), "too_deep"),
        ("[" * 200_000, "too_deep"),
        ('{"a":' * 40_000, "too_deep"),
        ('["' + '\\"' * 100_000, "not_json"),
        ("[" + "0," * 6_000 + "0]", "too_many_values"),
        ('"' + "x" * 300_000 + '"', "too_long"),
    ],
)
def test_a_hostile_document_is_unreadable_and_says_why(text: str, why: str) -> None:
    """One short word."""
    with pytest.raises(Unreadable, match=f"^{why}$"):
        read_document(text)


def test_nesting_up_to_the_limit_is_read_and_brackets_in_strings_do_not_nest() -> None:
    """Only real depth counts."""
    assert read_document("[" * MAX_DEPTH + "]" * MAX_DEPTH)
    assert read_document(json.dumps(["[{" * 100, '"[' * 50])) == ["[{" * 100, '"[' * 50]


@given(JSON)
def test_what_is_read_is_what_was_written(value: Any) -> None:
    """Within the limits on numbers, reading is JSON's own."""
    text = json.dumps(value)
    assert read_document(text) == json.loads(text)


@given(JSON)
def test_the_canonical_spelling_does_not_depend_on_layout(value: Any) -> None:
    """Key order, spaces and a fraction of zero change nothing."""
    loose = json.dumps(value, indent=3, ensure_ascii=True)
    assert write_canonical(read_document(loose)) == write_canonical(value)
    assert json.loads(write_canonical(value)) == value


@given(st.text() | st.text(alphabet='{}[]",:0123456789.eE-truefalsn\\u d8'))
def test_any_text_is_a_sample_or_an_invalid_one(text: str) -> None:
    """The agreement never raises."""
    agreement = parse_agreement({"type": "json", "schema": {"type": "object"}, "critical": ["/a"]})
    for truncated in (False, True):
        read = agreement.classify(text, truncated=truncated)
        assert read.valid or (read.reason and read.canonical is None)
