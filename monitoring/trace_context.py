"""The trace that a job belongs to, as W3C's `traceparent` says it; the ledger keeps it.

A submission makes one whether or not spans are exported, so that every line of a job has its trace.
It exports none itself: the worker writes the span of the submission too, and tells by its number,
which follows from the trace's, whether the trace began with it.
"""

from __future__ import annotations

import hashlib
import re
import secrets
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any

from monitoring import trace_names as names

_WHOLE = 16**13
_FORM = re.compile(r"00-(?!0{32})([0-9a-f]{32})-(?!0{16})([0-9a-f]{16})-([0-9a-f]{2})")


@dataclass(frozen=True, slots=True, kw_only=True)
class TraceContext:
    """A place in a trace: its numbers in hexadecimal, and whether its caller records it."""

    trace_id: str
    span_id: str
    sampled: bool

    @classmethod
    def new(cls) -> TraceContext:
        """The first place in a trace of its own."""
        trace_id = secrets.token_hex(16)
        return cls(trace_id=trace_id, span_id=_derived(trace_id), sampled=True)

    @classmethod
    def of_caller(cls) -> TraceContext | None:
        """What a submission here goes on from: a job that has ended, or the caller's span.

        The latter is the one that is current in OpenTelemetry, if that is in use.
        """
        if (before := _before.get()) is not None:
            return before
        api: Any = sys.modules.get("opentelemetry.trace")
        if api is None:
            return None
        found = api.get_current_span().get_span_context()
        if not found.is_valid:
            return None
        return cls(
            trace_id=f"{found.trace_id:032x}",
            span_id=f"{found.span_id:016x}",
            sampled=found.trace_flags.sampled,
        )

    @classmethod
    def read(cls, traceparent: str | None) -> TraceContext | None:
        """What a `traceparent` says; None if it is none, or of another version."""
        found = _FORM.fullmatch(traceparent or "")
        if found is None:
            return None
        trace_id, span_id, flags = found.groups()
        return cls(trace_id=trace_id, span_id=span_id, sampled=bool(int(flags, 16) & 1))

    @classmethod
    def id_of(cls, traceparent: str | None) -> str | None:
        """The trace's id alone."""
        found = cls.read(traceparent)
        return None if found is None else found.trace_id

    @property
    def ours(self) -> bool:
        """Whether the trace began with a submission of ours."""
        return self.span_id == _derived(self.trace_id)

    def submission(self, job_id: str) -> str:
        """The number of the span of a job's submission: this one, or one below the caller's."""
        return self.span_id if self.ours else _derived(self.trace_id + job_id)

    def delivery(self, job_id: str) -> str:
        """The number of the span of a job's delivery, below which is what the job sets off."""
        return _derived(self.trace_id + job_id + names.DELIVER)

    def wanted(self, share: float) -> bool:
        """Whether its spans are made: what began elsewhere was chosen there; of ours a share."""
        return int(self.trace_id[-13:], 16) < share * _WHOLE if self.ours else self.sampled

    def after(self, job_id: str, *, share: float) -> TraceContext:
        """The place of what a job sets off, which is traced if the job is."""
        return TraceContext(
            trace_id=self.trace_id, span_id=self.delivery(job_id), sampled=self.wanted(share)
        )

    def __str__(self) -> str:
        return f"00-{self.trace_id}-{self.span_id}-{'01' if self.sampled else '00'}"


_before: ContextVar[TraceContext | None] = ContextVar("honeyflow_before", default=None)


@contextmanager
def going_on(context: TraceContext | None) -> Iterator[None]:
    """What is submitted within the block goes on from there."""
    token = _before.set(context)
    try:
        yield
    finally:
        _before.reset(token)


def new_span() -> str:
    """The number of any other span."""
    return secrets.token_hex(8)


def _derived(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:16]
