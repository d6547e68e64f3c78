"""What is said beside a request: each wrong value is refused where the caller is, and named."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any, cast

import pytest

from ledger import WorkerRow
from tasks import settings, submission
from tasks.catalogue import Catalogue, Model
from tasks.client import Client
from tasks.errors import DeadlineExpired, RequestInvalid

GOOD = {"model": "spine", "prompt": "x"}


@pytest.fixture
def client() -> Client:
    """A client that drafts; it has neither ledger nor broker."""
    return Client(
        settings=settings.read({"XDG_CONFIG_HOME": "/nowhere"}),
        catalogue=Catalogue(models={"spine": Model(name="spine", path=Path())}, profiles={}),
        ledger=cast("Any", None),
        app=cast("Any", None),
    )


@pytest.mark.parametrize(
    ("option", "field"),
    [("delay_s", "countdown"), ("expires_s", "expires"), ("run_timeout_s", "time_limit")],
)
@pytest.mark.parametrize(
    "value",
    [math.nan, math.inf, -math.inf, "abc", True, [3], 1e300, 10**400],
)
def test_times_are_finite_numbers(client: Client, option: str, field: str, value: Any) -> None:
    """An error of ours that names the field as Celery does."""
    with pytest.raises(RequestInvalid) as caught:
        client.draft(GOOD, **{option: value})

    assert (field, "REQUEST_INVALID") == (caught.value.details["field"], caught.value.code)
    assert field in caught.value.message
    assert caught.value.suggested_action


@pytest.mark.parametrize("value", [0, -1, 0.0])
def test_a_time_limit_is_more_than_nothing(client: Client, value: float) -> None:
    """0 is not the default, and -1 fails no job."""
    with pytest.raises(RequestInvalid, match=r"time_limit: .* is not more than 0 seconds"):
        client.draft(GOOD, run_timeout_s=value)


def test_the_shorter_of_both_limits_is_the_run_timeout() -> None:
    """Celery's soft limit is honoured, not ignored."""
    assert (2.0, 3.0, 3.0, None) == (
        submission.time_limit(5, 2),
        submission.time_limit(3, 7),
        submission.time_limit(None, 3),
        submission.time_limit(None, None),
    )
    with pytest.raises(RequestInvalid) as caught:
        submission.time_limit(5, "soon")
    assert "soft_time_limit" == caught.value.details["field"]


def test_what_is_over_has_expired_and_what_was_due_is_due(client: Client) -> None:
    """A deadline in the past is refused; a countdown into it is none."""
    with pytest.raises(DeadlineExpired, match=r"2\.0 s ago") as caught:
        client.draft(GOOD, expires_s=-2)
    assert "expires" == caught.value.details["field"]
    assert client.draft(GOOD, delay_s=-2).not_before is None


@pytest.mark.parametrize("key", [["a"], 3, "", "x" * 256, b"a"])
def test_an_idempotency_key_is_a_text(client: Client, key: Any) -> None:
    """Neither a list nor nothing."""
    with pytest.raises(RequestInvalid, match="idempotency_key"):
        client.draft(GOOD, idempotency_key=key)


@pytest.mark.parametrize("priority", [1.7, -1, 10, "soon", True, math.nan])
def test_a_priority_is_a_step_or_a_name(client: Client, priority: Any) -> None:
    """Nothing is rounded in silence."""
    with pytest.raises(RequestInvalid) as caught:
        client.draft(GOOD, priority=priority)
    assert "PRIORITY_INVALID" == caught.value.code


@pytest.mark.parametrize("value", [{"idempotency_key": "a\0b"}, {"group_id": "\ud800"}])
def test_what_no_ledger_can_hold_is_an_error_of_ours(client: Client, value: dict[str, str]) -> None:
    """With the ledger's own code."""
    with pytest.raises(RequestInvalid) as caught:
        client.draft(GOOD, **cast("Any", value))
    assert "INVALID_VALUE" == caught.value.code


@pytest.mark.parametrize(
    ("requests", "field"),
    [([GOOD, 3], "requests.1"), ("abc", "requests.0"), (3, "requests"), ([None], "requests.0")],
)
def test_a_request_is_a_mapping(client: Client, requests: Any, field: str) -> None:
    """The first that is none is named."""
    with pytest.raises(RequestInvalid) as caught:
        client.submit_many(requests)
    assert field == caught.value.details["field"]


@pytest.mark.parametrize("fields", [3, "x", [("model", "spine")]])
def test_the_fields_of_one_request_are_a_mapping(client: Client, fields: Any) -> None:
    """Not whatever `dict` takes."""
    with pytest.raises(RequestInvalid, match="mapping"):
        client.submit(fields)


FLEET = [
    WorkerRow(
        worker="a",
        node="here",
        session=None,
        state="idle",
        facts={"queues": ["gpu.here.GPU-1", "gpu.here.0", "model.spine"], "model": "spine"},
        seen_at=None,
        drain=False,
    ),
    WorkerRow(
        worker="b",
        node="here.far.away",
        session=None,
        state="stopped",
        facts={"queues": ["gpu.here.far.away.0+1"], "model": "chest"},
        seen_at=None,
        drain=False,
    ),
    WorkerRow(
        worker="c", node=None, session=None, state="starting", facts={}, seen_at=None, drain=False
    ),
]


@pytest.mark.parametrize(
    ("given", "name"),
    [
        (None, "model.spine"),
        ("model.spine", "model.spine"),
        ("gpu.here.0", "gpu.here.0"),
        ("gpu.here.GPU-1", "gpu.here.GPU-1"),
        ("gpu.here.far.away.1+0", "gpu.here.far.away.0+1"),  # stopped: it may come back
    ],
)
def test_a_queue_of_this_cluster_is_the_jobs_queue(given: str | None, name: str) -> None:
    """In its one spelling."""
    assert name == submission.queue(given, model="spine", fleet=FLEET)


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ("celery", "no queue for a job"),
        ("control", "no queue for a job"),
        ("model.chest", "no queue for a job"),
        ("gpu.here", "no queue for a job"),
        ("gpu.here.", "no queue for a job"),
        ("gpu.HERE.0", "no queue for a job"),
        ("", "no queue for a job"),
        (3, "no queue for a job"),
        ("gpu.here.9", "No worker consumes"),
    ],
)
def test_any_other_queue_is_refused(given: Any, words: str) -> None:
    """Also one that nobody has ever consumed."""
    with pytest.raises(RequestInvalid, match=words) as caught:
        submission.queue(given, model="spine", fleet=FLEET)

    assert ("QUEUE_INVALID", "queue") == (caught.value.code, caught.value.details["field"])


def test_the_queue_of_a_worker_with_another_model_is_refused() -> None:
    """It would answer with the wrong model, or not at all."""
    with pytest.raises(RequestInvalid, match="serves spine, not chest"):
        submission.queue("gpu.here.0", model="chest", fleet=FLEET)
