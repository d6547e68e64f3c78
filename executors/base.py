"""The contract between a worker and an engine.

1. `load` is called once and returns when the engine can answer; it reports progress as it goes.
   What fails in it is an `ExecutorError` that carries the engine's own reason, and leaves nothing
   running.
2. `generate` is an async generator of one request's events: `Started`, any number of `Token`,
   `Metrics` and `Narration`, then exactly one `End` or `Error`. Many run at once, on one event
   loop, the one `load` was called on. The engine's death raises `EngineDead` instead of an `Error`,
   and a request that this model cannot run raises `RequestInvalid` before any `Token`.
3. Closing the generator early, or cancelling the task that reads it, aborts that request in the
   engine and no other.
4. `cancel` does the same from outside by request id; the generator then raises `RequestAborted`.
5. `health` looks at progress: an engine that holds requests and makes no token for
   `stuck_after_s` is stuck, whatever it answers. A busy engine is never called stuck.
6. `unload` frees the device, is idempotent, works on a dead engine, and leaves no process behind.

No executor falls back to another device. None retries by itself.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable
from typing import Protocol, TypeVar

from executors.types import Event, GenerateRequest, Health, LoadProgress, Memory, ModelInfo

OutputT_co = TypeVar("OutputT_co", covariant=True)
ProgressCallback = Callable[[LoadProgress], None]


class Executor(Protocol[OutputT_co]):
    """One loaded model that answers many requests at once."""

    @property
    def info(self) -> ModelInfo:
        """What is loaded; an error before `load` has returned."""
        ...

    async def load(self, on_progress: ProgressCallback) -> ModelInfo:
        """Start the engine and wait until it can answer."""
        ...

    def generate(self, request: GenerateRequest) -> AsyncGenerator[Event[OutputT_co], None]:
        """Answer one request as a stream of events."""
        ...

    async def cancel(self, request_id: str) -> bool:
        """Abort a running request; False if it is not running."""
        ...

    def health(self) -> Health:
        """Say what the engine is doing, judged from its progress."""
        ...

    def memory(self) -> Memory:
        """Say how much memory the engine holds."""
        ...

    async def unload(self) -> None:
        """Stop the engine and free what it held."""
        ...
