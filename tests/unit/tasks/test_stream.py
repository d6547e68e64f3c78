"""The writer of live events: what it drops, what it says, and that nothing ends it."""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterator
from typing import Any, Self

import pytest
import redis

from tasks import stream
from tasks.stream import EventWriter


class Pipe:
    """A Redis that keeps what it is told, or is away, or is slow."""

    def __init__(self) -> None:
        self.error: Exception | None = None
        self.open = threading.Event()
        self.open.set()
        self.calls = 0
        self.kept: list[str] = []
        self._told: list[str] = []

    def pipeline(self, **_: object) -> Pipe:
        self._told = []
        return self

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def xadd(self, _key: str, fields: dict[str, Any], **_: object) -> None:
        self._told.append(fields["data"])

    def expire(self, _key: str, _seconds: int) -> None:
        pass

    def execute(self) -> None:
        self.calls += 1
        assert self.open.wait(10)
        if self.error is not None:
            raise self.error
        self.kept += self._told


@pytest.fixture
def pipe() -> Pipe:
    """The Redis of the test."""
    return Pipe()


@pytest.fixture
def writer(pipe: Pipe) -> Iterator[EventWriter]:
    """A writer that is running."""
    made = EventWriter(pipe)  # type: ignore[arg-type]
    made.start()
    yield made
    made.stop()


def put(writer: EventWriter, pipe: Pipe, number: int) -> None:
    """One event, and wait until it was tried."""
    calls, tried = pipe.calls, threading.Event()
    writer.put("job", "token", {"number": number})
    while pipe.calls == calls:
        tried.wait(0.005)


@pytest.mark.parametrize("error", [redis.ConnectionError("away"), OSError("no"), ValueError("odd")])
def test_no_error_ends_it_and_an_outage_is_told_once(
    writer: EventWriter, pipe: Pipe, caplog: pytest.LogCaptureFixture, error: Exception
) -> None:
    """At its begin, and at its end with the number of events."""
    caplog.set_level(logging.WARNING, logger="tasks.stream")
    for _ in range(2):
        pipe.error = error
        for number in range(3):
            put(writer, pipe, number)
        pipe.error = None
        put(writer, pipe, 3)
    writer.stop()

    assert ['{"number": 3}'] * 2 == pipe.kept
    assert [f"live events are being lost: {error}", "3 live events were lost"] * 2 == [
        record.getMessage() for record in caplog.records
    ]


def test_the_oldest_are_dropped_when_too_many_wait(
    writer: EventWriter,
    pipe: Pipe,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A Redis that hangs costs events, not memory."""
    monkeypatch.setattr(stream, "MAX_WAITING", 5)
    pipe.open.clear()
    put(writer, pipe, 0)
    for number in range(1, 20):
        writer.put("job", "token", {"number": number})
    pipe.open.set()
    writer.stop()

    assert [f'{{"number": {number}}}' for number in (0, *range(15, 20))] == pipe.kept
    assert ["14 live events were lost"] == [record.getMessage() for record in caplog.records]


def test_what_waits_is_written_before_it_stops(pipe: Pipe) -> None:
    """In order, and in as few pipelines as they fit in."""
    writer = EventWriter(pipe)  # type: ignore[arg-type]
    for number in range(1000):
        writer.put("job", "token", {"number": number})
    writer.start()
    writer.stop()

    assert (2, [f'{{"number": {number}}}' for number in range(1000)]) == (pipe.calls, pipe.kept)
