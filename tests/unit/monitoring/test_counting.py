"""What a move or an event adds to the totals."""

from __future__ import annotations

import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ledger import EDGES, TERMINAL, Drawn, EventRow, Move, State
from monitoring import counting
from monitoring.counting import How
from monitoring.metrics import ATTEMPT_OUTCOMES, BY_NAME, PREFIX, Kind, Source
from monitoring.series import at_rest

BEGAN = 1_700_000_000.0
CRASHED = {"crashed": True, "reason": "process died"}
LOST = {"crashed": False, "reason": "lease lost"}


def move(source: State | None, target: State, **facts: Any) -> Move:
    """A move of a job that took a second."""
    given: dict[str, Any] = {
        "seq": 1,
        "at": BEGAN + 5,
        "job_id": "job",
        "step": 1,
        "reason": None,
        "since": None if source is None else BEGAN + 4,
        "crashed": None,
        "model": "spine",
        "priority": 3,
        "origin": "client",
        "created_at": BEGAN,
        "cancel_asked_at": None,
        "confidence": None,
        "k": None,
        "review": False,
        "follows": None,
    }
    return Move(source=source, target=target, **(given | facts))


def told(one: Move) -> dict[tuple[str, ...], float]:
    """What a move adds, by the short name and the labels."""
    found: dict[tuple[str, ...], float] = {}
    for step in counting.of_move(one, one.model):
        series = (step.metric.removeprefix(PREFIX), *step.labels)
        found[series] = found.get(series, 0) + step.amount
    return found


def event(kind: str, **details: Any) -> EventRow:
    """An event of a worker."""
    return EventRow(id=1, at=BEGAN, kind=kind, subject="w1", details=details)


def of_event(one: EventRow) -> list[tuple[object, ...]]:
    """What an event adds, by the short name and the labels."""
    return [
        (step.metric.removeprefix(PREFIX), *step.labels, step.amount)
        for step in counting.of_event(one, worker="w1", model="spine")
    ]


drawn = st.builds(
    Drawn,
    prompt_tokens=st.integers(0, 9),
    completion_tokens=st.integers(0, 9),
    cached_tokens=st.none() | st.integers(0, 12),
    first_token_ms=st.none() | st.integers(0, 50),
    duration_ms=st.integers(0, 40),
    valid=st.booleans(),
)
moves = st.builds(
    lambda edge, **facts: move(*edge, **facts),
    st.sampled_from(sorted(EDGES, key=str)),
    reason=st.none() | st.text(max_size=5) | st.sampled_from(["TIMEOUT", "lease lost"]),
    since=st.none() | st.floats(BEGAN - 9, BEGAN + 9),
    crashed=st.none() | st.booleans(),
    priority=st.integers(0, 9),
    origin=st.sampled_from(["client", "message", "canary"]) | st.text(max_size=5),
    cancel_asked_at=st.none() | st.floats(BEGAN - 9, BEGAN + 9),
    confidence=st.none() | st.floats(0, 1),
    k=st.none() | st.integers(1, 16),
    review=st.booleans(),
    follows=st.none() | st.just("leader"),
    samples=st.lists(drawn, max_size=3).map(tuple),
)
details = st.dictionaries(
    st.sampled_from(["check", "code", "model", "seconds", "jobs"]),
    st.none() | st.booleans() | st.floats() | st.integers() | st.text() | st.lists(st.none()),
)


@given(moves)
def test_every_move_adds_only_to_series_that_were_there_before(one: Move) -> None:
    """So that no label has a value outside its set; only the set of origins has a rest."""
    known = at_rest(models=["spine"], workers=[])
    for step in counting.of_move(one, one.model):
        metric = BY_NAME[step.metric]
        assert metric.source is Source.MOVES
        assert (step.how is How.OBSERVE) == (metric.kind is Kind.HISTOGRAM)
        assert math.isfinite(step.amount)
        if metric.kind is not Kind.GAUGE:
            assert step.amount >= 0
        odd = "other" in step.labels or step.how is How.PUT
        assert odd or (step.metric, step.labels) in known


@given(st.sampled_from(sorted(counting.OF_WORKERS)) | st.text(max_size=9), details)
def test_no_event_can_spoil_a_total(kind: str, given_details: dict[str, Any]) -> None:
    """Whatever is written in it."""
    for step in counting.of_event(event(kind, **given_details), worker="w1", model="spine"):
        assert BY_NAME[step.metric].source in (Source.MOVES, Source.EVENTS)
        assert math.isfinite(step.amount)
        assert step.amount >= 0


def test_a_job_is_counted_where_it_is() -> None:
    """One less where it was; the queue has those that are due."""
    entered = told(move(None, State.QUEUED, priority=7))
    assert {
        ("jobs_submitted_total", "spine", "batch", "client"): 1,
        ("jobs_current", "spine", "queued", "batch"): 1,
        ("queue_length", "spine"): 1,
    } == entered
    claimed = told(move(State.QUEUED, State.RUNNING, priority=7))
    assert {
        ("jobs_current", "spine", "queued", "batch"): -1,
        ("jobs_current", "spine", "running", "batch"): 1,
        ("queue_length", "spine"): -1,
        ("job_queue_wait_seconds", "spine", "batch"): 1,
    } == claimed


@given(st.lists(st.sampled_from(sorted(EDGES, key=str)), max_size=30))
def test_a_job_that_has_ended_is_nowhere(edges: list[tuple[State | None, State]]) -> None:
    """Whichever way it took, the gauges are where they were."""
    at: State | None = None
    path = []
    for source, target in edges:
        if source is at and (at is not None or not path):
            path.append(move(source, target))
            at = target
    standing: dict[tuple[str, ...], float] = {}
    for one in path:
        for series, amount in told(one).items():
            if series[0] in ("jobs_current", "queue_length"):
                standing[series] = standing.get(series, 0) + amount
    left = {series: amount for series, amount in standing.items() if amount}
    if at is None or at in TERMINAL:
        assert {} == left
    else:
        assert 1 == left["jobs_current", "spine", str(at), "normal"]
        assert (at is State.QUEUED) == (("queue_length", "spine") in left)


@pytest.mark.parametrize(
    ("target", "facts", "outcome"),
    [
        pytest.param(State.SUCCEEDED, {}, "committed", id="committed"),
        pytest.param(State.SCHEDULED, {"reason": "OOM"}, "retried", id="retried"),
        pytest.param(State.FAILED, {"reason": "SOME_ERROR"}, "failed", id="failed"),
        pytest.param(State.FAILED, {"reason": "TIMEOUT"}, "timeout", id="timeout"),
        pytest.param(State.CANCELLED, {}, "cancelled", id="cancelled"),
        pytest.param(State.EXPIRED, {"reason": "deadline"}, "expired", id="expired"),
        pytest.param(State.QUEUED, CRASHED, "crashed", id="crashed"),
        pytest.param(State.QUEUED, LOST, "lost", id="lost"),
        pytest.param(
            State.QUEUED, {"crashed": False, "reason": "stopped"}, "handed_back", id="end"
        ),
        pytest.param(State.QUEUED, {"reason": "drain"}, "handed_back", id="drain"),
    ],
)
def test_every_run_ends_in_one_way(target: State, facts: dict[str, Any], outcome: str) -> None:
    """And took as long as the job was running."""
    found = told(move(State.RUNNING, target, **facts))
    assert outcome in ATTEMPT_OUTCOMES
    assert 1 == found["job_attempts_total", "spine", outcome]
    assert 1 == sum(number for (name, *_), number in found.items() if name == "job_attempts_total")
    assert 1 == found["inference_duration_seconds", "spine"]


def test_an_answer_is_counted_with_what_it_rests_on() -> None:
    """Its samples, its confidence from 0 to 100, and its receipt."""
    samples = (
        Drawn(
            prompt_tokens=100,
            cached_tokens=90,
            completion_tokens=11,
            first_token_ms=250,
            duration_ms=1250,
            valid=True,
        ),
        Drawn(
            prompt_tokens=100,
            cached_tokens=None,
            completion_tokens=1,
            first_token_ms=None,
            duration_ms=10,
            valid=False,
        ),
    )
    ended = move(State.RUNNING, State.SUCCEEDED, confidence=0.55, k=2, samples=samples)
    found = told(ended)
    assert 1 == found["jobs_total", "succeeded", "spine"]
    assert 5 == found["job_duration_seconds", "spine", "succeeded"]
    assert (55, 2) == (found["confidence_score", "spine"], found["k_samples_used", "spine"])
    assert 1 == found["receipts_total", "spine"]
    assert (1, 1) == (
        found["samples_total", "spine", "used"],
        found["samples_total", "spine", "failed"],
    )
    tokens = {series[2]: number for series, number in found.items() if series[0] == "tokens_total"}
    assert {"prompt": 110, "cached_prompt": 90, "completion": 12} == tokens
    assert 0.25 == found["time_to_first_token_seconds", "spine"]
    assert pytest.approx(0.1) == found["inter_token_latency_seconds", "spine"]
    assert ("deduplicated_requests_total", "spine") not in found


def test_samples_of_a_job_without_an_answer_are_discarded() -> None:
    """Their tokens were read and written all the same."""
    sample = Drawn(
        prompt_tokens=5,
        cached_tokens=None,
        completion_tokens=3,
        first_token_ms=None,
        duration_ms=10,
        valid=True,
    )
    found = told(move(State.RUNNING, State.FAILED, samples=(sample,)))
    assert 1 == found["samples_total", "spine", "discarded"]
    assert 5 == found["tokens_total", "spine", "prompt"]
    assert ("receipts_total", "spine") not in found


def test_a_confident_answer_ends_the_streak() -> None:
    """One that people should look at prolongs it."""
    doubtful = [*counting.of_move(move(State.RUNNING, State.SUCCEEDED, review=True), "spine")]
    sure = [*counting.of_move(move(State.RUNNING, State.SUCCEEDED), "spine")]
    name = f"{PREFIX}low_confidence_streak_jobs"
    assert [(How.ADD, 1)] == [(one.how, one.amount) for one in doubtful if one.metric == name]
    assert [(How.PUT, 0)] == [(one.how, one.amount) for one in sure if one.metric == name]


def test_a_canary_is_no_job() -> None:
    """It is in its own metrics, and in none of the others."""
    for source, target in EDGES:
        found = told(move(source, target, origin="canary"))
        wanted = (
            {
                ("canary_duration_seconds", "spine"): 5,
                ("canary_last_success_timestamp_seconds", "spine"): BEGAN + 5,
            }
            if target is State.SUCCEEDED
            else {}
        )
        assert wanted == found


@pytest.mark.parametrize(
    ("one", "action"),
    [
        (move(State.RUNNING, State.QUEUED, reason="lease lost", crashed=False), "lease_reclaimed"),
        (move(State.RUNNING, State.QUEUED, reason="process died", crashed=True), "lease_reclaimed"),
        (move(State.RUNNING, State.QUEUED, reason="drain"), None),
        (move(State.QUEUED, State.DEAD, reason="third crash"), "dead_lettered"),
        (move(State.SCHEDULED, State.EXPIRED, reason="deadline"), "expired"),
        (move(State.RUNNING, State.EXPIRED, reason="deadline"), None),
    ],
    ids=["lost", "died", "drained", "dead", "expired", "expired while running"],
)
def test_what_the_reconciler_does_is_counted(one: Move, action: str | None) -> None:
    """And not what workers do themselves."""
    actions = [series[1] for series in told(one) if series[0] == "reconciler_actions_total"]
    assert ([] if action is None else [action]) == actions


def test_a_cancel_takes_from_when_it_was_asked_for() -> None:
    """A row of an older version does not know when that was."""
    asked = told(move(State.RUNNING, State.CANCELLED, cancel_asked_at=BEGAN + 2))
    assert 3 == asked["cancel_duration_seconds", "spine"]
    assert ("cancel_duration_seconds", "spine") not in told(move(State.RUNNING, State.CANCELLED))


@pytest.mark.parametrize(
    ("one", "added"),
    [
        (event("worker_started"), [("worker_starts_total", "w1", 1)]),
        (event("worker_stale"), [("worker_stale_total", "w1", 1)]),
        (
            event("worker_failed", check="engine"),
            [("worker_health_check_failures_total", "w1", "engine", 1)],
        ),
        (
            event("worker_failed", check="<b>"),
            [("worker_health_check_failures_total", "w1", "other", 1)],
        ),
        (
            event("start_failed", code="GPU_NOT_FOUND"),
            [("worker_start_failures_total", "w1", "GPU_NOT_FOUND", 1)],
        ),
        (
            event("start_failed", code="what a user typed"),
            [("worker_start_failures_total", "w1", "other", 1)],
        ),
        (
            event("model_loaded", model="spine", seconds=12.5),
            [("model_load_duration_seconds", "spine", 12.5)],
        ),
        (event("jobs_resent", jobs=7), [("reconciler_actions_total", "republished", 7)]),
        (event("worker_stopped"), []),
        (event("job_dead"), []),
    ],
    ids=lambda value: value.kind if isinstance(value, EventRow) else "",
)
def test_events_of_workers_are_counted(one: EventRow, added: list[tuple[object, ...]]) -> None:
    """Those that tell of faults and starts; codes are labels only as codes are written."""
    assert added == of_event(one)
