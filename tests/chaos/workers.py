"""Real workers that can be frozen, killed, and kept alive as a supervisor would keep them."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Self

from tests.chaos import processes
from tests.stack import Worker

RESTART_S = 0.1


class ChaosWorker(Worker):
    """One worker process, by its Celery node name."""

    def __init__(
        self,
        home: Path,
        options: Sequence[str],
        env: Mapping[str, str],
        *,
        name: str,
        inside: Sequence[str] = (),
    ) -> None:
        self.name = name
        super().__init__(home, [*options, "-n", name], env, inside=inside)

    @property
    def pid(self) -> int:
        """Its main process, which leads its group."""
        return self.process.pid

    @property
    def alive(self) -> bool:
        """Whether its main process runs."""
        return self.process.poll() is None

    def wait_ready(self, timeout: float = 60.0) -> Self:
        """Wait until Celery says that it is ready."""
        super().wait_ready(timeout)
        return self

    def freeze(self) -> None:
        """SIGSTOP to its main process: it holds everything and does nothing."""
        self.signal(signal.SIGSTOP)

    def thaw(self) -> None:
        """SIGCONT."""
        if self.alive:
            self.signal(signal.SIGCONT)

    def kill_group(self) -> None:
        """`kill -9` of its process group."""
        # Once it has been waited for, its number may be anybody's.
        if self.alive:
            processes.send_group(self.pid, signal.SIGKILL)
            self.process.wait()


class Supervised:
    """A worker that is started again whenever it has ended, as systemd would; counts how often."""

    def __init__(self, start: Callable[[], ChaosWorker]) -> None:
        self._start = start
        self._stopping = threading.Event()
        self.worker = start()
        self.exits: list[int] = []
        self._thread = threading.Thread(target=self._run, name="supervisor", daemon=True)
        self._thread.start()

    @property
    def restarts(self) -> int:
        """How often it was started again."""
        return len(self.exits)

    def stop(self) -> None:
        """Let its present process be the last one; that goes on."""
        self._stopping.set()
        self._thread.join()

    def _run(self) -> None:
        while not self._stopping.wait(0.02):
            code = self.worker.process.poll()
            if code is not None and not self._stopping.wait(RESTART_S):
                self.worker = self._start()
                self.exits.append(code)
