"""Starting vLLM: its engine in a process of its own, its client in this one.

1. Everything that can be refused without a start is refused first: the wrong build for the device,
   missing GPUs.
2. The guard is started before the engine, and told of the engine's process as soon as it is there:
   a worker may be killed while it loads.
3. The constructor blocks for the whole load and knows no time limit, so it runs in a thread, and a
   second one watches it.
4. The parent is not told why a child failed. The child's own output is kept and read for it.
5. Whatever fails, no process is left running.

The engine does not get the terminal's Ctrl-C: SIGINT is blocked in the thread that starts it, and
children inherit that. It would abort every request at the beginning of a drain.
"""

from __future__ import annotations

import multiprocessing
import re
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.metadata import version
from multiprocessing import resource_tracker
from multiprocessing.process import BaseProcess
from threading import Event, Thread
from typing import Any

from executors import devices
from executors.child_log import ChildLog
from executors.config import EngineConfig
from executors.errors import DeviceUnavailable, EngineStartFailed
from executors.guard import Guard
from executors.start_reason import death_by_signal, root_cause, start_error
from executors.vllm_settings import START_TIMEOUT_S, engine_arguments

WATCH_S = 0.05
KILL_WAIT_S = 5.0
_SHARDS = re.compile(r"checkpoint shards:\s+(\d+)% Completed")


def vllm_version() -> str:
    """The version of vLLM, whatever its distribution is called."""
    import vllm

    return str(vllm.__version__)


def check_device(config: EngineConfig) -> None:
    """Refuse a device that this build of vLLM or this machine does not have."""
    devices.check_device_name(config.device)
    from vllm.platforms import current_platform

    found = str(current_platform.device_type)
    build = f"vllm {vllm_version()}"
    if config.device == "cuda" and found in ("", "cuda"):
        import torch

        devices.check_cuda(
            found=torch.cuda.device_count(),
            needed=config.tensor_parallel,
            build=f"{build} with torch {version('torch')}",
        )
    if found != config.device:
        raise DeviceUnavailable(
            f"the device {config.device} was asked for and {build} is built for "
            f"{found or 'none that is here'}",
            suggested_action=f"Install vLLM's build for {config.device}, or ask for {found}.",
            details={"device": config.device, "build": found, "version": vllm_version()},
        )


class EngineStart:
    """One attempt at a start, and the processes that came of it."""

    def __init__(self, config: EngineConfig) -> None:
        self._config = config
        self._log = ChildLog()
        self._guard: Guard | None = None
        self._processes: list[BaseProcess] = []
        self._over = Event()
        self._why_ended = ""

    @property
    def pids(self) -> list[int]:
        """The engine's processes that still run."""
        return [p.pid for p in self._processes if p.pid is not None and p.is_alive()]

    def run(self) -> Any:
        """Build the `AsyncLLM`; blocks until it can answer or has failed, and then raises."""
        # Helpers of multiprocessing live as long as this process and must not hold the pipes.
        resource_tracker.ensure_running()
        self._guard = Guard()
        before = set(multiprocessing.active_children())
        watcher = Thread(target=self._watch, args=(before,), name="vllm-start", daemon=True)
        try:
            with self._log.capture(), _sigint_blocked():
                watcher.start()
                try:
                    return self._build()
                finally:
                    self._over.set()
                    watcher.join()
        except Exception as error:
            raised = " ".join(str(error).split()) or type(error).__name__
            self.close()
            if self._why_ended:
                raise EngineStartFailed(
                    f"the vllm engine did not start: {self._why_ended}",
                    suggested_action="See the engine's log; raise start_timeout_s if it was slow.",
                    details={"reason": self._why_ended, "log_tail": self._log.lines()[-20:]},
                ) from error
            raise self.failure(raised) from error

    def failure(self, raised: str) -> Exception:
        """The error of a start that failed, with the child's own reason."""
        self._log.drain()
        return start_error(
            engine="vllm", lines=self._log.lines(), raised=raised, exit_codes=self._exit_codes()
        )

    def death(self) -> str:
        """Why the engine died after it had started, as far as it can be known."""
        signalled = death_by_signal(self._exit_codes())
        return signalled or root_cause(self._log.lines()) or "its process ended"

    def progress(self) -> float | None:
        """The share of the weights that is read, if the engine said so lately."""
        for line in reversed(self._log.lines()[-20:]):
            if match := _SHARDS.search(line):
                return int(match[1]) / 100
        return None

    def end(self, why: str) -> None:
        """Give up a start from outside; `run` then raises."""
        self._why_ended = self._why_ended or why
        for process in self._processes:
            process.kill()

    def close(self) -> None:
        """Kill whatever still runs of the engine, with all that it started; idempotent."""
        if self._guard is not None:
            self._guard.close()
        for process in self._processes:
            process.join(timeout=KILL_WAIT_S)

    def _build(self) -> Any:
        from vllm.engine.arg_utils import AsyncEngineArgs
        from vllm.v1.engine.async_llm import AsyncLLM

        arguments = AsyncEngineArgs(**engine_arguments(self._config))
        return AsyncLLM.from_engine_args(arguments)

    def _watch(self, before: set[BaseProcess]) -> None:
        """Announce the engine's processes to the guard, and end a start that takes too long."""
        timeout_s = float(self._config.options.get("start_timeout_s", START_TIMEOUT_S))
        deadline = time.monotonic() + timeout_s
        last = False
        while not last:
            last = self._over.wait(WATCH_S)
            for process in set(multiprocessing.active_children()) - before:
                if process.name.startswith("EngineCore") and process not in self._processes:
                    self._processes.append(process)
                    if self._guard is not None and process.pid is not None:
                        self._guard.watch(process.pid)
            if time.monotonic() > deadline:
                self.end(f"it took longer than {timeout_s:.0f} s")
            elif self._why_ended:
                self.end(self._why_ended)

    def _exit_codes(self) -> dict[str, int]:
        return {p.name: p.exitcode for p in self._processes if p.exitcode is not None}


@contextmanager
def _sigint_blocked() -> Iterator[None]:
    old = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, old)
