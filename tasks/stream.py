"""Live events of a job: one capped Redis stream, written only when the submission asks for it.

Each event has a number, which is the stream's own id, so that a reader resumes after the last one
it saw. Tokens of sample 0 are provisional: the final answer may be another sample's. The stream
expires ten minutes after its last event; the ledger alone is the truth.
"""

from __future__ import annotations

import json
import logging
import threading
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import redis

from executors.resampling import Progress

logger = logging.getLogger(__name__)

MAX_EVENTS = 10_000
EXPIRES_S = 600
MAX_WAITING = 10_000
_GROUP = 512


def key(job_id: str) -> str:
    """The Redis key of a job's events."""
    return f"honeyflow:events:{job_id}"


@dataclass(frozen=True, slots=True, kw_only=True)
class StreamEvent:
    """One event: `number` resumes a reader, `kind` is token, sample or end."""

    number: str
    kind: str
    data: dict[str, Any]


class EventSink:
    """Takes one job's events, from any thread, without waiting."""

    def __init__(self, job_id: str, writer: EventWriter) -> None:
        self._job_id = job_id
        self._writer = writer

    def token(self, index: int, text: str) -> None:
        """More text of one sample."""
        self._writer.put(self._job_id, "token", {"sample": index, "text": text})

    def sample(self, progress: Progress, answer_class: str | None) -> None:
        """A sample has been counted; `answer_class` is None for an invalid one."""
        self._writer.put(
            self._job_id,
            "sample",
            {
                "sample": progress.index,
                "class": answer_class,
                "done": progress.done,
                "wanted": progress.wanted,
                "round": progress.round,
                "valid": progress.valid,
                "leader": progress.leader,
                "agreement": progress.agreement,
            },
        )

    def end(
        self, state: str, *, result: dict[str, Any] | None, error: dict[str, Any] | None
    ) -> None:
        """The run has ended; after a hand-back or a retry more events follow."""
        self._writer.put(self._job_id, "end", {"state": state, "result": result, "error": error})


class EventWriter:
    """One thread that writes events in pipelines; losing events never hurts a job.

    At most `MAX_WAITING` wait; then the oldest are dropped. What is lost is logged once per outage,
    at its begin and at its end.
    """

    def __init__(self, client: redis.Redis) -> None:
        self._client = client
        self._waiting: deque[tuple[str, str, dict[str, Any]]] = deque()
        self._changed = threading.Condition()
        self._stopping = False
        self._failing = False
        self._lost = 0
        self._thread = threading.Thread(target=self._run, name="events", daemon=True)

    def start(self) -> None:
        """Start writing."""
        self._thread.start()

    def stop(self) -> None:
        """Write what is waiting and stop."""
        with self._changed:
            self._stopping = True
            self._changed.notify()
        self._thread.join(timeout=2)

    def put(self, job_id: str, kind: str, data: dict[str, Any]) -> None:
        """Queue one event."""
        with self._changed:
            if len(self._waiting) >= MAX_WAITING:
                self._waiting.popleft()
                self._lost += 1
            self._waiting.append((job_id, kind, data))
            self._changed.notify()

    def _run(self) -> None:
        while group := self._take():
            try:
                self._write(group)
            except Exception as error:
                self._count_lost(len(group), error)
            else:
                self._tell_lost()

    def _take(self) -> list[tuple[str, str, dict[str, Any]]]:
        """Wait for events; none when the writer is to stop and all are written."""
        with self._changed:
            self._changed.wait_for(lambda: self._waiting or self._stopping)
            return [self._waiting.popleft() for _ in range(min(_GROUP, len(self._waiting)))]

    def _write(self, group: list[tuple[str, str, dict[str, Any]]]) -> None:
        with self._client.pipeline(transaction=False) as pipe:
            for job_id, kind, data in group:
                told = json.dumps(data, ensure_ascii=False)
                fields: Any = {"kind": kind, "data": told}
                pipe.xadd(key(job_id), fields, maxlen=MAX_EVENTS, approximate=True)
            for job_id in {job_id for job_id, _, _ in group}:
                pipe.expire(key(job_id), EXPIRES_S)
            pipe.execute()

    def _count_lost(self, number: int, error: Exception) -> None:
        with self._changed:
            self._lost += number
        if not self._failing:
            expected = isinstance(error, redis.RedisError | OSError)
            logger.warning("live events are being lost: %s", error, exc_info=not expected)
        self._failing = True

    def _tell_lost(self) -> None:
        with self._changed:
            lost, self._lost = self._lost, 0
        if lost:
            logger.warning("%d live events were lost", lost)
        self._failing = False


def read(
    client: redis.Redis, job_id: str, *, after: str = "0", block_s: float = 1.0
) -> Iterator[StreamEvent | None]:
    """A job's events after a number, without end; None when none came in time."""
    while True:
        answer: Any = client.xread({key(job_id): after}, count=500, block=int(block_s * 1000))
        if not answer:
            yield None
            continue
        for number, fields in answer[0][1]:
            after = number.decode()
            yield StreamEvent(
                number=after,
                kind=fields[b"kind"].decode(),
                data=json.loads(fields[b"data"]),
            )
