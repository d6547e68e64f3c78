"""What each move of a job, and each event, adds to the totals. Pure: the same in, the same out.

Labels are closed: what is not in a set is `other`. Priorities have the names of their steps. A
canary is counted among the canaries and nowhere else. Tokens read from a prefix cache are
`cached_prompt` and not `prompt`, so that the sum over directions is what there was.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from enum import Enum

from ledger import TERMINAL, Drawn, EventRow, Move, State
from ledger.events import JOBS_RESENT
from ledger.sessions import LEASE_LOST, PROCESS_DIED
from ledger.workers import WORKER_STALE
from monitoring.metrics import CANARY, HEALTH_CHECKS, ORIGINS, OTHER, metric
from routing import parse_priority

PERCENT = 100
TIMED_OUT = "TIMEOUT"
"""The reason of a job that ran longer than it may."""

WORKER_STARTED = "worker_started"
WORKER_FAILED = "worker_failed"
START_FAILED = "start_failed"
MODEL_LOADED = "model_loaded"
CANARIES_BEGUN = "canaries_begun"
CANARIES_ENDED = "canaries_ended"
OF_MODELS = frozenset({MODEL_LOADED, CANARIES_BEGUN})
"""The kinds of events whose model is one that workers serve."""

OF_WORKERS = frozenset({WORKER_STARTED, WORKER_STALE, WORKER_FAILED, START_FAILED, MODEL_LOADED})
"""The kinds of events that are counted by worker, which is their subject."""


class How(Enum):
    """What an increment does to a total."""

    ADD = "add"
    """Adds to a counter or gauge."""
    OBSERVE = "observe"
    """Adds one value to a histogram."""
    PUT = "put"
    """Takes the place of a gauge's value."""


@dataclass(frozen=True, slots=True)
class Increment:
    """One step of one series: the metric's name, its labels' values in order, and by how much."""

    metric: str
    labels: tuple[str, ...]
    amount: float
    how: How


def of_move(move: Move, model: str) -> Iterator[Increment]:
    """What a move adds; `model` is its job's model as it is shown."""
    if move.origin == CANARY:
        yield from _canary(move, model)
        return
    yield from _standing(move, model)
    if move.source is State.RUNNING:
        yield _add("job_attempts_total", model=model, outcome=outcome_of(move))
        if move.since is not None:
            ran = _seconds(move.since, move.at)
            yield _observe("inference_duration_seconds", ran, model=model)
    if move.target is State.RUNNING and move.since is not None:
        waited = _seconds(move.since, move.at)
        shown = priority_name(move.priority)
        yield _observe("job_queue_wait_seconds", waited, model=model, priority=shown)
    if (action := _action(move)) is not None:
        yield _add("reconciler_actions_total", action=action)
    if move.target in TERMINAL:
        yield from _end(move, model)


def of_event(event: EventRow, *, worker: str, model: str) -> Iterator[Increment]:
    """What an event adds; `worker` is its subject and `model` its model, as they are shown."""
    told = event.details
    if event.kind == WORKER_STARTED:
        yield _add("worker_starts_total", worker=worker)
    elif event.kind == WORKER_STALE:
        yield _add("worker_stale_total", worker=worker)
    elif event.kind == WORKER_FAILED:
        check = _one_of(HEALTH_CHECKS, told.get("check"))
        yield _add("worker_health_check_failures_total", worker=worker, check=check)
    elif event.kind == START_FAILED:
        yield _add("worker_start_failures_total", worker=worker, reason=_code(told.get("code")))
    elif event.kind == MODEL_LOADED:
        yield _observe("model_load_duration_seconds", _number(told.get("seconds")), model=model)
    elif event.kind == CANARIES_BEGUN:
        # Or one that is never answered would never be missed.
        yield _put("canary_last_success_timestamp_seconds", event.at, model=model)
    elif event.kind == CANARIES_ENDED:
        yield _put("canary_last_success_timestamp_seconds", 0, model=model)
    elif event.kind == JOBS_RESENT:
        yield _add("reconciler_actions_total", _number(told.get("jobs")), action="republished")


def outcome_of(move: Move) -> str:
    """How a run ended, one of `metrics.ATTEMPT_OUTCOMES`."""
    if move.target is State.QUEUED:
        if move.crashed:
            return "crashed"
        return "lost" if move.reason == LEASE_LOST else "handed_back"
    if move.target is State.FAILED and move.reason == TIMED_OUT:
        return "timeout"
    return _ATTEMPTS[move.target]


def priority_name(priority: int) -> str:
    """The name of the step that a job's priority belongs to."""
    return _STEPS[priority]


_STEPS = [parse_priority(number).name.lower() for number in range(10)]
_ATTEMPTS = {
    State.SUCCEEDED: "committed",
    State.SCHEDULED: "retried",
    State.FAILED: "failed",
    State.CANCELLED: "cancelled",
    State.EXPIRED: "expired",
}


def _canary(move: Move, model: str) -> Iterator[Increment]:
    if move.target is State.SUCCEEDED:
        whole = _seconds(move.created_at, move.at)
        yield _observe("canary_duration_seconds", whole, model=model)
        yield _put("canary_last_success_timestamp_seconds", move.at, model=model)


def _standing(move: Move, model: str) -> Iterator[Increment]:
    """Where jobs are: one less where it was, one more where it is."""
    priority = priority_name(move.priority)
    if move.source is None:
        origin = _one_of(ORIGINS, move.origin)
        yield _add("jobs_submitted_total", model=model, priority=priority, origin=origin)
    for state, amount in ((move.source, -1), (move.target, 1)):
        if state is not None and state not in TERMINAL:
            yield _add("jobs_current", amount, model=model, state=str(state), priority=priority)
        if state is State.QUEUED:
            yield _add("queue_length", amount, model=model)


def _action(move: Move) -> str | None:
    """What of this the reconciler had to see to."""
    if move.target is State.DEAD:
        return "dead_lettered"
    if move.target is State.EXPIRED and move.source is not State.RUNNING:
        return "expired"
    given_back = move.source is State.RUNNING and move.target is State.QUEUED
    if given_back and move.reason in (LEASE_LOST, PROCESS_DIED):
        return "lease_reclaimed"
    return None


def _end(move: Move, model: str) -> Iterator[Increment]:
    status = str(move.target)
    lived = _seconds(move.created_at, move.at)
    yield _add("jobs_total", status=status, model=model)
    yield _observe("job_duration_seconds", lived, model=model, status=status)
    if move.target is State.SUCCEEDED:
        yield from _answer(move, model)
    if move.target is State.CANCELLED and move.cancel_asked_at is not None:
        took = _seconds(move.cancel_asked_at, move.at)
        yield _observe("cancel_duration_seconds", took, model=model)
    for sample in move.samples:
        yield from _sample(sample, model, used=move.target is State.SUCCEEDED)


def _answer(move: Move, model: str) -> Iterator[Increment]:
    yield _add("receipts_total", model=model)
    if move.k is not None:
        yield _observe("k_samples_used", move.k, model=model)
    if move.confidence is not None:
        # Rounded, because 0.55 is to be found in the bucket up to 55.
        shown = round(move.confidence * PERCENT, 6)
        yield _observe("confidence_score", shown, model=model)
    if move.follows is not None:
        yield _add("deduplicated_requests_total", model=model)
    if move.review:
        yield _add("low_confidence_streak_jobs", model=model)
    else:
        yield _put("low_confidence_streak_jobs", 0, model=model)


def _sample(sample: Drawn, model: str, *, used: bool) -> Iterator[Increment]:
    outcome = "failed" if not sample.valid else "used" if used else "discarded"
    yield _add("samples_total", model=model, outcome=outcome)
    cached = min(sample.cached_tokens or 0, sample.prompt_tokens)
    for direction, tokens in (
        ("prompt", sample.prompt_tokens - cached),
        ("cached_prompt", cached),
        ("completion", sample.completion_tokens),
    ):
        if tokens > 0:
            yield _add("tokens_total", tokens, model=model, direction=direction)
    if sample.first_token_ms is None:
        return
    yield _observe("time_to_first_token_seconds", sample.first_token_ms / 1000, model=model)
    if sample.completion_tokens > 1:
        rest = _seconds(sample.first_token_ms / 1000, sample.duration_ms / 1000)
        between = rest / (sample.completion_tokens - 1)
        yield _observe("inter_token_latency_seconds", between, model=model)


def _add(name: str, amount: float = 1, /, **labels: str) -> Increment:
    return _increment(name, amount, How.ADD, labels)


def _observe(name: str, value: float, /, **labels: str) -> Increment:
    return _increment(name, value, How.OBSERVE, labels)


def _put(name: str, value: float, /, **labels: str) -> Increment:
    return _increment(name, value, How.PUT, labels)


def _increment(name: str, amount: float, how: How, labels: dict[str, str]) -> Increment:
    line = metric(name)
    return Increment(line.name, tuple([labels[label] for label in line.labels]), amount, how)


def _seconds(begin: float, end: float) -> float:
    """How long it took; nothing, where a clock was set back meanwhile."""
    return max(0.0, end - begin)


def _one_of(known: Collection[str], value: object) -> str:
    return value if isinstance(value, str) and value in known else OTHER


def _code(value: object) -> str:
    """An error's code as a label; codes are few, and written in capitals."""
    if isinstance(value, str) and len(value) <= 64 and value.isascii() and value.isidentifier():
        return value if value.isupper() else OTHER
    return OTHER


def _number(value: object) -> float:
    """A number from 0 on; 0 for anything else, so that no event can spoil a sum."""
    if isinstance(value, int | float) and math.isfinite(value):
        return max(0.0, float(value))
    return 0.0
