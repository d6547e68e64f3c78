"""The values that go in and out."""

from __future__ import annotations

import uuid
from dataclasses import fields
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ledger import InvalidValue, Job, NewJob, SampleRow, State, tables, values
from ledger.columns import Decimal, EscapedText

ANY_TEXT = st.text(st.characters(codec=None, categories=None))


def new_job(**columns: Any) -> NewJob:
    """A job as a client would submit it."""
    given_columns: dict[str, Any] = {
        "id": str(uuid.uuid4()),
        "model": "m",
        "queue": "q",
        "request": b"{}",
        "policy": "dynamic",
    }
    return NewJob(**(given_columns | columns))


@pytest.mark.parametrize(
    "columns",
    [
        {"id": "no uuid"},
        {"id": str(uuid.uuid4()).upper()},
        {"id": uuid.uuid4().hex},
        {"id": None},
        {"id": uuid.uuid4()},
        {"priority": -1},
        {"priority": 10},
        {"model": "a\0b"},
        {"idempotency_key": "\ud800"},
        {"deadline": float("nan")},
        {"not_before": float("inf")},
    ],
)
def test_a_job_that_no_ledger_can_hold_cannot_be_made(columns: dict[str, Any]) -> None:
    """Before any transaction has begun."""
    with pytest.raises(InvalidValue):
        new_job(**columns)


def test_a_job_has_a_field_for_every_column() -> None:
    """And one more, which says who created it and does not count for equality."""
    columns = {column.name for column in tables.jobs.columns}
    assert {field.name for field in fields(Job)} - columns == {"created"}
    assert columns <= {field.name for field in fields(Job)}
    sampled = {column.name for column in tables.samples.columns}
    assert {field.name for field in fields(SampleRow)} - sampled == {"text"}


def test_states_are_their_names() -> None:
    """So that they can be compared with text and printed as it."""
    assert [str(state) for state in State] == [
        "scheduled",
        "queued",
        "running",
        "succeeded",
        "failed",
        "cancelled",
        "expired",
        "dead",
    ]


@given(text=ANY_TEXT)
def test_cleaned_text_can_be_stored(text: str) -> None:
    """Storable text is left as it is; the length never changes."""
    cleaned = values.cleaned(text)

    assert values.storable(cleaned)
    assert len(cleaned) == len(text)
    if values.storable(text):
        assert cleaned == text


@given(text=ANY_TEXT)
def test_escaped_text_is_any_text(text: str) -> None:
    """Written in characters that every store can hold, and read back exactly."""
    column = EscapedText()
    written = column.process_bind_param(text, None)  # type: ignore[arg-type]

    assert written is not None
    assert written.isascii()
    assert "\0" not in written
    assert column.process_result_value(written, None) == text  # type: ignore[arg-type]


@given(number=st.integers())
def test_a_seed_may_have_any_size(number: int) -> None:
    """Decimal digits have no limit."""
    column = Decimal()
    written = column.process_bind_param(number, None)  # type: ignore[arg-type]
    assert column.process_result_value(written, None) == number  # type: ignore[arg-type]
