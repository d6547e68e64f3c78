"""An engine's state is judged from progress."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

from executors.errors import EngineDead, EngineNotLoaded, ExecutorError, RequestInvalid
from executors.lifecycle import Lifecycle
from executors.types import HealthState, ModelInfo

INFO = ModelInfo(
    name="m",
    engine="fake",
    engine_version="1",
    device="cpu",
    model_digest="sha256:a",
    engine_digest="sha256:b",
    max_num_seqs=4,
    max_model_len=128,
)


class Clock:
    """Time that passes only when it is told to."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def loaded(then: Callable[[Lifecycle, Clock], Any]) -> Any:
    """Run a function on a loaded lifecycle, on its loop."""

    async def main() -> Any:
        clock = Clock()
        lifecycle = Lifecycle(stuck_after_s=10.0, clock=clock)
        lifecycle.loading()
        lifecycle.ready(INFO)
        return then(lifecycle, clock)

    return asyncio.run(main())


def test_a_silent_engine_with_requests_is_stuck() -> None:
    """No progress for longer than the limit, with the figures in the reason."""

    def check(lifecycle: Lifecycle, clock: Clock) -> None:
        with lifecycle.running("a"):
            clock.now = 10.0
            assert lifecycle.health().state is HealthState.READY
            clock.now = 10.1
            health = lifecycle.health()
            assert health.state is HealthState.STUCK
            assert health.idle_s == 10.1
            assert "1 requests in flight" in health.reason

    loaded(check)


def test_a_busy_engine_is_never_stuck() -> None:
    """Each step of progress starts the time anew."""

    def check(lifecycle: Lifecycle, clock: Clock) -> None:
        with lifecycle.running("a"):
            for _ in range(100):
                clock.now += 9.0
                lifecycle.tick()
                assert lifecycle.health().state is HealthState.READY

    loaded(check)


def test_an_idle_engine_is_not_stuck() -> None:
    """A night without requests is no hang, and does not count against the first request."""

    def check(lifecycle: Lifecycle, clock: Clock) -> None:
        clock.now = 1e6
        assert lifecycle.health().state is HealthState.READY
        with lifecycle.running("a"):
            assert lifecycle.health().state is HealthState.READY
        assert lifecycle.health().idle_s == 0.0

    loaded(check)


def test_a_new_request_does_not_hide_a_hang() -> None:
    """Only the first request into an empty engine starts the time."""

    def check(lifecycle: Lifecycle, clock: Clock) -> None:
        with lifecycle.running("a"):
            clock.now = 9.0
            with lifecycle.running("b"):
                clock.now = 11.0
                assert lifecycle.health().state is HealthState.STUCK

    loaded(check)


def test_a_dead_engine_says_why_and_takes_nothing() -> None:
    """The first reason is kept."""

    def check(lifecycle: Lifecycle, _: Clock) -> None:
        lifecycle.dead("killed")
        lifecycle.dead("something later")
        assert lifecycle.health().reason == "killed"
        with pytest.raises(EngineDead, match="killed"), lifecycle.running("a"):
            pass

    loaded(check)


def test_an_id_is_free_again_when_its_request_has_ended() -> None:
    """Twins are refused only while the first runs, however it ends."""

    def check(lifecycle: Lifecycle, _: Clock) -> None:
        with lifecycle.running("a"):
            with pytest.raises(RequestInvalid), lifecycle.running("a"):
                pass
            assert lifecycle.health().in_flight == 1
        with pytest.raises(ZeroDivisionError), lifecycle.running("a"):
            raise ZeroDivisionError
        with lifecycle.running("a"):
            pass
        assert lifecycle.health().in_flight == 0

    loaded(check)


def test_info_is_there_from_load_to_unload() -> None:
    """Before and after, it is an error."""
    with pytest.raises(EngineNotLoaded):
        str(Lifecycle(stuck_after_s=1.0).info)

    def check(lifecycle: Lifecycle, clock: Clock) -> None:
        assert clock.now == 0.0
        assert lifecycle.info is INFO
        with pytest.raises(ExecutorError, match="load was called"):
            lifecycle.loading()
        lifecycle.unloaded()
        with pytest.raises(EngineNotLoaded):
            str(lifecycle.info)
        lifecycle.loading()
        assert lifecycle.health().state is HealthState.LOADING

    loaded(check)
