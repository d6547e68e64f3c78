"""An executor's state, the requests it holds and the progress they make.

Every executor owns one `Lifecycle` and asks it the questions that have one answer for all engines:
may this request enter, is the engine stuck, what is loaded. It runs nothing itself.

An engine is stuck when it holds requests and none of them has progressed for `stuck_after_s`. The
time starts anew when the first request enters an empty engine, so an idle night is not a hang.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from executors.errors import EngineDead, EngineNotLoaded, ExecutorError, RequestInvalid
from executors.types import Health, HealthState, ModelInfo

Clock = Callable[[], float]


class Lifecycle:
    """Where an executor stands between `load` and `unload`.

    `clock` gives monotonic seconds. Only `tick` may be called from another thread than the loop's.
    """

    def __init__(self, *, stuck_after_s: float, clock: Clock = time.monotonic) -> None:
        self._stuck_after_s = stuck_after_s
        self._clock = clock
        self._state = HealthState.UNLOADED
        self._reason = ""
        self._info: ModelInfo | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._requests: set[str] = set()
        self._progressed = clock()

    @property
    def info(self) -> ModelInfo:
        """What is loaded; `EngineNotLoaded` before and after, `EngineDead` never."""
        if self._info is None:
            raise self._not_loaded()
        return self._info

    def loading(self) -> None:
        """Enter `load`; refuse a second one."""
        if self._state in (HealthState.LOADING, HealthState.READY):
            raise ExecutorError(
                f"load was called on an engine that is {self._state.value}",
                suggested_action="Call unload first, or use a new executor.",
            )
        self._loop = asyncio.get_running_loop()
        self._state = HealthState.LOADING
        self._reason = ""

    def ready(self, info: ModelInfo) -> None:
        """Leave `load` with success."""
        self._info = info
        self._state = HealthState.READY

    def dead(self, reason: str) -> None:
        """Note that the engine died; the first reason is kept."""
        if self._state is not HealthState.DEAD:
            self._state = HealthState.DEAD
            self._reason = reason

    def unloaded(self, reason: str = "") -> None:
        """Leave the engine behind, after `unload` or a failed `load`."""
        self._info = None
        self._state = HealthState.UNLOADED
        self._reason = reason

    @property
    def loop(self) -> asyncio.AbstractEventLoop | None:
        """The event loop that `load` was called on."""
        return self._loop

    def check_loaded(self) -> None:
        """Refuse to go on without an engine: `EngineDead` or `EngineNotLoaded`."""
        if self._state is HealthState.DEAD:
            raise self.engine_dead()
        if self._state is not HealthState.READY:
            raise self._not_loaded()

    def tick(self) -> None:
        """Note that some request progressed."""
        self._progressed = self._clock()

    @contextmanager
    def running(self, request_id: str) -> Iterator[None]:
        """Hold a request for as long as the block runs."""
        self._check_entry(request_id)
        if not self._requests:
            self.tick()
        self._requests.add(request_id)
        try:
            yield
        finally:
            self._requests.discard(request_id)

    def health(self) -> Health:
        """Judge the engine by its progress."""
        idle_s = self._clock() - self._progressed if self._requests else 0.0
        state, reason = self._state, self._reason
        if state is HealthState.READY and idle_s > self._stuck_after_s:
            state = HealthState.STUCK
            reason = (
                f"{len(self._requests)} requests in flight and no progress for {idle_s:.1f} s "
                f"(limit {self._stuck_after_s:.1f} s)"
            )
        return Health(state=state, in_flight=len(self._requests), idle_s=idle_s, reason=reason)

    def engine_dead(self) -> EngineDead:
        """The error that every request of a dead engine gets."""
        return EngineDead(
            f"the engine died: {self._reason}" if self._reason else "the engine died",
            suggested_action="Run the request on another worker and restart this one.",
            details={"reason": self._reason},
        )

    def _check_entry(self, request_id: str) -> None:
        self.check_loaded()
        if asyncio.get_running_loop() is not self._loop:
            raise ExecutorError(
                "generate was called on another event loop than load",
                suggested_action="Call every method of an executor on one loop.",
            )
        if request_id in self._requests:
            raise RequestInvalid(
                f"a request with the id {request_id!r} is already running",
                suggested_action="Give each sample in flight an id of its own.",
                details={"request_id": request_id},
            )

    def _not_loaded(self) -> EngineNotLoaded:
        return EngineNotLoaded(
            f"no model is loaded (the engine is {self._state.value})",
            suggested_action="Call load and wait for it before anything else.",
            details={"state": self._state.value},
        )
