"""Which job a line of the log is about: bound where it is in hand, read where a line is written."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, fields


@dataclass(frozen=True, slots=True, kw_only=True)
class JobContext:
    """The job in hand; `attempt` is its fence, None until it is claimed."""

    job_id: str
    attempt: int | None = None
    model: str | None = None
    correlation_id: str | None = None
    trace_id: str | None = None

    def members(self) -> dict[str, str | int]:
        """What of it is known, by the names under which lines have it."""
        told = {one.name: getattr(self, one.name) for one in fields(self)}
        return {name: value for name, value in told.items() if value is not None}


_current: ContextVar[JobContext | None] = ContextVar("honeyflow_job", default=None)


def bind(context: JobContext | None) -> None:
    """From now on, in this coroutine or thread, lines are about this job."""
    _current.set(context)


@contextmanager
def bound(context: JobContext) -> Iterator[None]:
    """Lines within the block are about this job."""
    token = _current.set(context)
    try:
        yield
    finally:
        _current.reset(token)


def current() -> JobContext | None:
    """The job in hand here, if there is one."""
    return _current.get()
