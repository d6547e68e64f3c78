"""Spans on their way out: kept in a bounded queue and exported in the background, or not at all.

What is recorded is a function that makes spans; it runs on the exporting thread, so that the thread
that ran the job pays for an append and nothing else. A receiver that is away, slow or refuses costs
spans, never a job: the queue drops its oldest, and the loss is told at most once a minute.
"""

from __future__ import annotations

import logging
import os
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol, TypeAlias

from monitoring.errors import TracingUnavailable
from monitoring.trace_context import TraceContext

logger = logging.getLogger(__name__)

MOST_WAITING = 4096
GROUP = 64
PERIOD_S = 1.0
TELL_EVERY_S = 60.0
STOP_PATIENCE_S = 2.0

Value: TypeAlias = str | int | float | bool | tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class SpanData:
    """One span that has ended; `began` and `ended` are seconds since the epoch.

    `attributes` are named in `monitoring.trace_names`; `error` is a code, never a text. `kind` is
    INTERNAL, PRODUCER or CONSUMER.
    """

    name: str
    trace_id: str
    span_id: str
    parent_id: str | None
    began: float
    ended: float
    attributes: Mapping[str, Value] = field(default_factory=dict)
    kind: str = "INTERNAL"
    error: str | None = None


Make: TypeAlias = Callable[[], Iterable[SpanData]]


class SpanSink(Protocol):
    """Where spans go at last."""

    def export(self, spans: Sequence[SpanData]) -> bool:
        """Send spans; false if they did not arrive. It may take seconds."""

    def close(self) -> None:
        """Give up what is being sent."""


class Tracer(Protocol):
    """Takes the spans of jobs."""

    def wants(self, trace: TraceContext) -> bool:
        """Whether spans of this trace are to be made."""

    def record(self, make: Make) -> None:
        """Take spans; never waits, never raises."""

    def stop(self, *, patience_s: float = STOP_PATIENCE_S) -> None:
        """Send what waits, for so long at most."""


class NoTracer:
    """The tracer of an installation that exports no spans."""

    def wants(self, _trace: TraceContext) -> bool:
        """Never."""
        return False

    def record(self, make: Make) -> None:
        """Forget them."""

    def stop(self, *, patience_s: float = STOP_PATIENCE_S) -> None:
        """Nothing waits."""


class BackgroundTracer:
    """Exports on a thread of its own, which begins with the first spans."""

    def __init__(
        self,
        sink: SpanSink,
        *,
        sample: float = 1.0,
        most_waiting: int = MOST_WAITING,
        period_s: float = PERIOD_S,
    ) -> None:
        self._sink = sink
        self._sample = sample
        self._period_s = period_s
        self._waiting: deque[Make] = deque(maxlen=most_waiting)
        self._wake = threading.Event()
        self._stopping = False
        self._pid = 0
        self._lock = threading.Lock()
        self._told_at = -TELL_EVERY_S
        self.lost = 0
        self.exported = 0

    def wants(self, trace: TraceContext) -> bool:
        """A trace that began elsewhere was chosen there; of ours a share, the same everywhere."""
        return trace.wanted(self._sample)

    def record(self, make: Make) -> None:
        """Take spans; a full queue forgets its oldest."""
        if self._stopping:
            return
        if self._pid != os.getpid():
            self._start()
        if len(self._waiting) == self._waiting.maxlen:
            self.lost += 1
        self._waiting.append(make)
        if len(self._waiting) >= GROUP:
            self._wake.set()

    def stop(self, *, patience_s: float = STOP_PATIENCE_S) -> None:
        """Send what waits, for so long at most. Idempotent."""
        self._stopping = True
        self._wake.set()
        if self._pid == os.getpid():
            self._thread.join(timeout=patience_s)
        self._sink.close()

    def _start(self) -> None:
        """Begin the thread, in a forked process once more."""
        with self._lock:
            if self._pid == os.getpid():
                return
            self._wake = threading.Event()
            self._thread = threading.Thread(target=self._run, name="traces", daemon=True)
            self._thread.start()
            self._pid = os.getpid()

    def _run(self) -> None:
        while not self._stopping:
            self._wake.wait(self._period_s)
            self._wake.clear()
            self._drain()
        self._drain()

    def _drain(self) -> None:
        while self._waiting:
            count = min(GROUP, len(self._waiting))
            self._export([self._waiting.popleft() for _ in range(count)])

    def _export(self, group: Sequence[Make]) -> None:
        spans: list[SpanData] = []
        for make in group:
            try:
                spans += make()
            except Exception:
                logger.exception("spans could not be made")
                self.lost += 1
        try:
            sent = bool(spans) and self._sink.export(spans)
        except Exception:
            logger.exception("spans could not be sent")
            sent = False
        if sent:
            self.exported += len(spans)
        else:
            self.lost += len(spans)
        now = time.monotonic()
        if self.lost and now - self._told_at >= TELL_EVERY_S:
            self._told_at = now
            logger.warning("the receiver of spans does not take them: %d lost so far", self.lost)


def open_tracer(endpoint: str | None, *, worker: str, sample: float = 1.0) -> Tracer:
    """The tracer for an OTLP/HTTP endpoint; without one nothing is traced, and nothing imported.

    Raises:
        TracingUnavailable: the endpoint is no HTTP address, or the extra is not installed.
    """
    if not endpoint:
        return NoTracer()
    if not endpoint.startswith(("http://", "https://")):
        raise TracingUnavailable(
            "The endpoint for spans is no http:// or https:// address.",
            suggested_action='Give the base of an OTLP/HTTP receiver: "http://127.0.0.1:4318".',
        )
    try:
        from monitoring.otlp import OtlpSink
    except ImportError as error:
        raise TracingUnavailable(
            f"Tracing is asked for, but {error.name} is not installed.",
            suggested_action="Install honeyflow[tracing], or leave the endpoint out.",
        ) from error
    return BackgroundTracer(OtlpSink(traces_url(endpoint), worker=worker), sample=sample)


def traces_url(endpoint: str) -> str:
    """Where spans are posted to, below the endpoint that all signals share."""
    base = endpoint.rstrip("/")
    return base if base.endswith("/v1/traces") else f"{base}/v1/traces"
