"""The threads beside the engine: order, errors, and an end that nobody can hold up."""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterator

import pytest

from tasks.lane import Lane


@pytest.fixture
def blocker() -> Iterator[threading.Event]:
    """What a long task waits for; set when the test is over."""
    event = threading.Event()
    yield event
    event.set()


def test_work_is_done_and_counted(blocker: threading.Event) -> None:
    """`open` counts what waits and what runs; `on_done` hears of each end."""
    ended = threading.Semaphore(0)
    lane = Lane(threads=1, on_done=ended.release)
    done: list[str] = []
    lane.submit(blocker.wait)
    lane.submit(done.append, "a")
    assert lane.open == 2
    blocker.set()
    assert ended.acquire(timeout=10)
    assert ended.acquire(timeout=10)
    assert done == ["a"]
    assert lane.open == 0


def test_an_error_is_logged_and_costs_the_next_nothing(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """The thread goes on."""
    ended = threading.Semaphore(0)
    lane = Lane(threads=1, on_done=ended.release)
    done: list[str] = []
    with caplog.at_level(logging.ERROR):
        lane.submit(int, "no number")
        lane.submit(done.append, "a")
        assert ended.acquire(timeout=10)
        assert ended.acquire(timeout=10)
    assert done == ["a"]
    assert "no number" in caplog.text


def test_the_end_waits_no_longer_than_its_patience(blocker: threading.Event) -> None:
    """What runs is left; what had not begun never does."""
    lane = Lane(threads=1, on_done=lambda: None)
    done: list[str] = []
    began = threading.Event()
    lane.submit(lambda: began.set() or blocker.wait())
    lane.submit(done.append, "late")
    assert began.wait(10)
    assert lane.stop(patience_s=0.1) is False
    blocker.set()
    assert lane.stop(patience_s=10) is True
    assert done == []
