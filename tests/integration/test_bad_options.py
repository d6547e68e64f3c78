"""Wrong options and impossible schemas through Celery's own calls, and answers that are invalid."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import pytest

from ledger import jobs, samples
from tasks import infer, infer_many
from tasks.client import Client
from tasks.errors import RequestInvalid
from tests.stack import Worker

GOOD = {"model": "fake-a", "prompt": "x"}


def shaped(schema: dict[str, Any]) -> dict[str, Any]:
    """A request whose answer has that schema."""
    form = {"type": "json_schema", "json_schema": {"schema": schema}}
    return {**GOOD, "response_format": form}


@pytest.mark.parametrize(
    ("options", "field"),
    [
        ({"countdown": math.nan}, "countdown"),
        ({"countdown": "abc"}, "countdown"),
        ({"expires": math.inf}, "expires"),
        ({"time_limit": "abc"}, "time_limit"),
        ({"time_limit": 0}, "time_limit"),
        ({"time_limit": -1}, "time_limit"),
        ({"soft_time_limit": -1}, "soft_time_limit"),
        ({"priority": 1.7}, "priority"),
        ({"idempotency_key": ["a"]}, "idempotency_key"),
        ({"queue": "gpu.testnode"}, "queue"),
        ({"queue": "celery"}, "queue"),
    ],
)
def test_a_wrong_option_is_refused_where_the_caller_is(
    client: Client, options: dict[str, Any], field: str
) -> None:
    """A typed error that names the option; nothing is entered."""
    with client.ledger.read() as tx:
        before = len(jobs.list(tx, limit=1000))

    with pytest.raises(RequestInvalid) as caught:
        infer.apply_async(kwargs=GOOD, **options)

    assert field in caught.value.details.values() or field in caught.value.details
    assert caught.value.suggested_action
    with client.ledger.read() as tx:
        assert before == len(jobs.list(tx, limit=1000))


def test_many_requests_are_mappings(client: Client) -> None:
    """The first that is none is named."""
    with pytest.raises(RequestInvalid, match=r"requests\.1"):
        infer_many([GOOD, 3])  # type: ignore[list-item]


def test_a_schema_that_no_answer_meets_is_refused_with_the_place(client: Client) -> None:
    """Before anything is drawn."""
    with pytest.raises(RequestInvalid) as caught:
        infer.delay(
            **shaped({"type": "object", "required": ["a"], "properties": {"a": {"enum": []}}})
        )
    assert "SCHEMA_UNSATISFIABLE" == caught.value.code
    assert "/properties/a/enum" == caught.value.details["pointer"]


def test_the_soft_limit_ends_a_job(start: Callable[..., Worker], client: Client) -> None:
    """It is the run timeout when it is the shorter one."""
    result = infer.apply_async(kwargs=GOOD, time_limit=100, soft_time_limit=7)
    assert 7.0 == client.job(result.id).run_timeout


def test_answers_that_all_fail_the_schema_go_to_a_person(
    start: Callable[..., Worker], client: Client
) -> None:
    """Invalid samples count and agree with nobody: the full K, confidence 0, a review."""
    start(script={"rules": [{"answers": [{"text": '{"grade": 4}'}, {"text": "no JSON"}]}]})

    answer = infer.delay(**shaped({"type": "object", "required": ["level"]})).get(timeout=20)

    result = client.result_of(client.job(answer["job_id"]))
    with client.ledger.read() as tx:
        drawn = samples.of(tx, answer["job_id"])
    assert ("succeeded", 7, 0.0, True) == (result.state, result.k, result.confidence, result.review)
    assert ("exhausted", "review") == (result.stop_reason, result.decision)
    assert ("no_valid_sample",) == result.review_reasons
    assert 7 == len(drawn)
    assert {False} == {sample.valid for sample in drawn}
    assert all(sample.invalid_reason for sample in drawn)
