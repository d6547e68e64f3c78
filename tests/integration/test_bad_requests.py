"""A wrong request is refused where its caller is."""

from __future__ import annotations

from typing import Any

import pytest

from ledger import jobs
from tasks import infer
from tasks.client import Client
from tasks.errors import RequestInvalid, UnknownModel


@pytest.mark.parametrize(
    ("fields", "code"),
    [
        ({"model": "nowhere", "prompt": "x"}, "MODEL_UNKNOWN"),
        ({"model": "fake-a", "prompt": ""}, "REQUEST_INVALID"),
        ({"model": "fake-a", "prompt": 7}, "REQUEST_INVALID"),
        ({"model": "fake-a"}, "REQUEST_INVALID"),
        ({"model": "fake-a", "prompt": "x", "messages": []}, "REQUEST_INVALID"),
        ({"model": "fake-a", "prompt": "x" * 1_000_001}, "PROMPT_TOO_LARGE"),
        ({"model": "fake-a", "prompt": "x", "k": 0}, "K_OUT_OF_RANGE"),
        ({"model": "fake-a", "prompt": "x", "k": 41}, "K_OUT_OF_RANGE"),
        ({"model": "fake-a", "prompt": "x", "policy": "best"}, "POLICY_UNKNOWN"),
        ({"model": "fake-a", "prompt": "x", "temperature": "hot"}, "REQUEST_INVALID"),
        ({"model": "fake-a", "prompt": "x", "n": 3}, "REQUEST_INVALID"),
        ({"model": "fake-a", "findings": "x"}, "PROFILE_REQUIRED"),
        ({"model": "fake-a", "findings": "x", "profile": "none"}, "PROFILE_UNKNOWN"),
    ],
)
def test_a_wrong_request_is_refused_where_the_caller_is(
    client: Client, fields: dict[str, Any], code: str
) -> None:
    """A typed error with code, sentence and action; nothing is entered."""
    with client.ledger.read() as tx:
        before = len(jobs.list(tx, limit=1000))

    with pytest.raises(RequestInvalid) as caught:
        infer.delay(**fields)

    assert code == caught.value.code
    assert caught.value.suggested_action
    with client.ledger.read() as tx:
        assert before == len(jobs.list(tx, limit=1000))


def test_an_unknown_model_names_the_known_ones(client: Client) -> None:
    """The error says what there is."""
    with pytest.raises(UnknownModel, match="fake-a"):
        infer.delay(model="nowhere", prompt="x")
