"""The frozen values that go into the ledger and come out of it.

Times are seconds since the epoch by the store's clock, durations are seconds unless the name says
otherwise, digests are `sha256:` and 64 hexadecimal digits of the bytes they name.
"""

from __future__ import annotations

import math
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from enum import StrEnum
from typing import Any

from ledger.errors import InvalidValue
from ledger.states import APART_AFTER, TERMINAL, State


@dataclass(frozen=True, slots=True, kw_only=True)
class NewJob:
    """A job as it is submitted.

    `id` is the Celery task id, a UUID. `request` is the canonical request's bytes. `priority` is
    0 (first) to 9. `not_before` and `deadline` are moments; `delay_s` and `expires_s` say the same
    in seconds from the submission, on the store's clock, which the submitter's need not agree with.
    `run_timeout` is in seconds from the claim. `canvas` is plain JSON. With `dedupe` it may share
    the execution of a job like it that is under way, and others may share its own.

    Raises:
        InvalidValue: a field that no ledger can hold.
    """

    id: str
    model: str
    queue: str
    request: bytes
    policy: str
    priority: int = 3
    profile: str | None = None
    profile_digest: str | None = None
    not_before: float | None = None
    deadline: float | None = None
    delay_s: float | None = None
    expires_s: float | None = None
    run_timeout: float = 300.0
    canvas: Mapping[str, Any] | None = None
    group_id: str | None = None
    group_index: int | None = None
    root_id: str | None = None
    parent_id: str | None = None
    correlation_id: str | None = None
    stream: bool = False
    idempotency_key: str | None = None
    dedupe: bool = False
    origin: str = "client"
    traceparent: str | None = None

    def __post_init__(self) -> None:
        try:
            canonical = str(uuid.UUID(self.id))
        except (ValueError, AttributeError, TypeError):
            canonical = None
        if canonical is None or canonical != self.id:
            raise InvalidValue(
                f"The job id {self.id!r} is not a UUID in lower case with hyphens.",
                suggested_action="Use str(uuid.uuid4()) as the id.",
            )
        if not 0 <= self.priority <= 9:
            raise InvalidValue(
                f"The priority is {self.priority}; it goes from 0 (first) to 9.",
                suggested_action="Use 0 interactive, 3 normal, 6 batch or 9 idle.",
            )
        for column in fields(self):
            value = getattr(self, column.name)
            if isinstance(value, float) and not math.isfinite(value):
                raise InvalidValue(
                    f"{column.name} is {value}.", suggested_action="Use a finite number of seconds."
                )
            if isinstance(value, str) and not storable(value):
                raise InvalidValue(
                    f"{column.name} has a character that cannot be stored: {value[:60]!r}.",
                    suggested_action="Leave out NUL characters and lone surrogates.",
                )


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """A job's row.

    `session` is the session that claimed it last; it holds the job only while `state` is running.
    `previous` is the state before this one and `step` the number of moves so far. `promoted_at` is
    when it was put before the others of its queue, `follows` the job whose execution it shares,
    `purged_at` when its texts were erased, `cancel_asked_at` when it was first called off.
    `traceparent` is the trace that it belongs to, as W3C writes it.
    `created` is true only in what the call that entered the job returns.
    """

    id: str
    state: State
    previous: State | None
    step: int
    fence: int
    tries: int
    crashes: int
    crash_reasons: Sequence[str] | None
    suspect: bool
    shared_crashes: int
    model: str
    queue: str
    priority: int
    policy: str
    profile: str | None
    profile_digest: str | None
    origin: str
    stream: bool
    idempotency_key: str | None
    not_before: float | None
    deadline: float | None
    run_timeout: float
    cancel_requested: bool
    cancel_reason: str | None
    session: str | None
    canvas: Mapping[str, Any] | None
    group_id: str | None
    group_index: int | None
    root_id: str | None
    parent_id: str | None
    correlation_id: str | None
    sent_number: int
    sent_at: float | None
    created_at: float
    queued_at: float | None
    started_at: float | None
    claimed_at: float | None
    finished_at: float | None
    delivered_at: float | None
    delivery_tries: int
    delivery_error: str | None
    error: Mapping[str, Any] | None
    request_digest: str
    result_digest: str | None
    output_digest: str | None
    report_digest: str | None
    receipt_digest: str | None
    confidence: float | None
    k: int | None
    rounds: int | None
    review: bool
    promoted_at: float | None = None
    dedupe: bool = False
    follows: str | None = None
    purged_at: float | None = None
    cancel_asked_at: float | None = None
    traceparent: str | None = None
    created: bool = field(default=False, compare=False)

    @property
    def apart(self) -> bool:
        """Whether it runs alone: it has shared too many crashes with others."""
        return self.shared_crashes >= APART_AFTER

    @property
    def ended(self) -> bool:
        """Whether nothing will ever happen to it again, except delivery."""
        return self.state in TERMINAL


class RefusalReason(StrEnum):
    """Why a claim got nothing."""

    UNKNOWN = "unknown"
    ENDED = "ended"
    RUNNING = "running"
    NOT_DUE = "not_due"
    STALE_COPY = "stale_copy"
    SUSPECT_BUSY = "suspect_busy"
    EXPIRED = "expired"
    SESSION_LOST = "session_lost"


@dataclass(frozen=True, slots=True, kw_only=True)
class Refusal:
    """A claim that got nothing; `job` is the row, where there is one."""

    reason: RefusalReason
    job: Job | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class SampleRow:
    """One finished sample of a job; the first one written for (job, index) stays.

    `seed` is any integer, `logprob` the sum over its tokens in nats, `answer_class` the name of the
    class of answers it fell in, None for an invalid one.
    """

    job_id: str
    index: int
    fence: int
    seed: int
    text: str
    finish_reason: str | None = None
    prompt_tokens: int = 0
    completion_tokens: int = 0
    valid: bool = True
    invalid_reason: str | None = None
    answer_class: str | None = None
    logprob: float | None = None
    model_digest: str | None = None
    engine_digest: str | None = None
    prompt_digest: str | None = None
    duration_ms: int = 0
    text_digest: str | None = None
    created_at: float | None = None
    first_token_ms: int | None = None
    cached_tokens: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Claim:
    """A job that is now this session's, its request's bytes, and the samples kept from before."""

    job: Job
    request: bytes
    samples: list[SampleRow]


@dataclass(frozen=True, slots=True, kw_only=True)
class Attention:
    """What a session has to look at.

    `alive` is whether its lease holds, `drain` whether it shall finish what it has and take no
    more, `stop` whether its process shall end, `seal` whether it shall seal its log (`full`, `all`
    or None), `running` maps the ids it holds to their fences, `cancel` are those to be called off,
    and `lost` those of the ids asked about that it no longer holds.
    """

    alive: bool
    drain: bool
    stop: bool
    seal: str | None
    running: Mapping[str, int]
    cancel: list[str]
    lost: list[str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """One move of one job; `seq` is its place in the ledger's sequence, `step` in its life."""

    seq: int
    at: float
    job_id: str
    step: int
    source: State | None
    target: State
    fence: int
    reason: str | None
    session: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Session:
    """One run of a worker, and its lease in the store's lease clock.

    `pid` counts only within one boot and one PID namespace; `pid_namespace` is "" where none is
    known.
    """

    id: str
    worker: str
    node: str
    pid: int
    pid_started: float
    pid_namespace: str
    boot_id: str
    lease_until: float
    opened_at: float
    renewed_at: float
    closed_at: float | None
    crashed: bool | None
    reason: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkerRow:
    """What a worker last said of itself; `session` is its latest, `facts` plain JSON."""

    worker: str
    node: str | None
    session: str | None
    state: str
    facts: Mapping[str, Any]
    seen_at: float | None
    drain: bool
    stop: bool = False
    seal: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkerFlags:
    """What a worker was told to do."""

    drain: bool = False
    stop: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class ChordPart:
    """How one part of a chord ended.

    `id` is its task's, `index` its place in the header, `state` Celery's word, `result` what it
    returned or raised, as the result store writes it; None for a job whose row has its result.
    """

    id: str
    index: int | None
    state: str
    result: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class QuarantineRow:
    """A message that nobody could make a job of.

    `reason` is a code, `digest` and `size` are those of all its bytes, `data` the first 64 KiB.
    """

    id: int
    at: float
    queue: str
    reason: str
    detail: str
    digest: str
    size: int
    data: bytes
    worker: str


@dataclass(frozen=True, slots=True, kw_only=True)
class EventRow:
    """Something that people may want to hear of; `details` is plain JSON."""

    id: int
    at: float
    kind: str
    subject: str
    details: Mapping[str, Any]


class ChordState(StrEnum):
    """How a chord stands for whoever asks."""

    WAITING = "waiting"
    """Not all parts have ended."""
    MINE = "mine"
    """The caller is to set off its body, and to say when that is done."""
    TAKEN = "taken"
    """Somebody else is at it."""
    DONE = "done"
    """The body has been set off."""


def storable(text: str) -> bool:
    """Whether both stores can hold a text: no NUL, no lone surrogate."""
    if "\0" in text:
        return False
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def cleaned(text: str) -> str:
    """The text with every character that cannot be stored replaced by U+FFFD."""
    if storable(text):
        return text
    whole = text.replace("\0", "\ufffd").encode("utf-16-le", "surrogatepass")
    return whole.decode("utf-16-le", "replace")
