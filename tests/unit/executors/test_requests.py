"""What every engine refuses alike."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from executors.errors import RequestInvalid
from executors.requests import check_length, check_sampling
from executors.types import Sampling


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("max_tokens", 0),
        ("temperature", -0.1),
        ("temperature", float("nan")),
        ("temperature", float("inf")),
        ("top_p", 0.0),
        ("top_p", 1.1),
        ("top_k", -1),
        ("min_p", -0.1),
        ("min_p", 1.1),
        ("presence_penalty", 2.1),
        ("frequency_penalty", -2.1),
        ("repetition_penalty", 0.0),
        ("stop", ("a", "")),
        ("logprobs", 21),
        ("logit_bias", {1: float("nan")}),
        ("logit_bias", {-1: 1.0}),
    ],
)
def test_a_field_out_of_range_is_named(field: str, value: Any) -> None:
    """The message has the field, its value and what is allowed."""
    with pytest.raises(RequestInvalid, match=field) as caught:
        check_sampling(Sampling(**{field: value}))

    assert caught.value.details["field"] == field


def test_the_defaults_and_the_limits_pass() -> None:
    """The ends of each range belong to it."""
    check_sampling(Sampling())
    check_sampling(
        Sampling(max_tokens=1, temperature=0, top_p=1, min_p=1, presence_penalty=-2, logprobs=20)
    )


def test_two_constraints_at_once_are_refused() -> None:
    """A schema says more than `any object`; both is a mistake."""
    with pytest.raises(RequestInvalid):
        check_sampling(Sampling(json_schema={}, json_object=True))


@given(prompt=st.integers(0, 300), room=st.integers(1, 300))
def test_a_prompt_passes_if_one_token_fits_behind_it(prompt: int, room: int) -> None:
    """Neither nothing nor everything may be taken by the prompt."""
    fits = 0 < prompt < room
    try:
        check_length(prompt_tokens=prompt, max_model_len=room)
    except RequestInvalid as error:
        assert not fits
        assert error.details["prompt_tokens"] == prompt
    else:
        assert fits
