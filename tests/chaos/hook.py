"""What a test changes inside a worker: calls that succeed and say they timed out, a trace.

*Execute and timeout* (Temporal's best fault): a command to Redis or a write to the ledger is
carried out, and then its caller is told that it timed out. With `enable` a worker does so by its
environment, and `execute_and_timeout` does it to this process. Each fault is a line in a log. A
seed gives each start of a worker faults of its own, or one that dies of them would do so for ever.
The trace has one line for each call of the fake engine: `job.fence.sample`.
"""

from __future__ import annotations

import json
import os
import random
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

VARIABLE = "HONEYFLOW_CHAOS_HOOK"
HOOKS = Path(__file__).with_name("hooks")


def enable(
    *,
    redis: float = 0.0,
    ledger: float = 0.0,
    seed: int = 0,
    log: Path | None = None,
    trace: Path | None = None,
) -> dict[str, str]:
    """The environment of a process that is to be changed; rates are from 0 to 1."""
    told = {
        "redis": redis,
        "ledger": ledger,
        "seed": seed,
        "log": None if log is None else str(log),
        "trace": None if trace is None else str(trace),
    }
    path = [str(HOOKS), *filter(None, [os.environ.get("PYTHONPATH")])]
    return {"PYTHONPATH": os.pathsep.join(path), VARIABLE: json.dumps(told)}


def from_environment() -> None:
    """Change this process for good, if its environment says so."""
    if VARIABLE not in os.environ:
        return
    told = json.loads(os.environ[VARIABLE])
    if told["redis"] or told["ledger"]:
        seed = f"{told['seed']}:{_begin(told['log'], told['seed'])}"
        _Timeouts(redis=told["redis"], ledger=told["ledger"], seed=seed, log=told["log"])
    if told["trace"]:
        _trace(told["trace"])


@contextmanager
def execute_and_timeout(
    *, redis: float = 0.0, ledger: float = 0.0, seed: int = 0, log: Path | None = None
) -> Iterator[None]:
    """Let this process's calls time out after they were carried out."""
    faults = _Timeouts(redis=redis, ledger=ledger, seed=seed, log=None if log is None else str(log))
    try:
        yield
    finally:
        faults.remove()


class _Timeouts:
    def __init__(self, *, redis: float, ledger: float, seed: int | str, log: str | None) -> None:
        from redis.connection import AbstractConnection

        from ledger import Ledger

        self._random = random.Random(seed)
        self._lock = threading.Lock()
        self._log = log
        # A connection's greeting is several commands, and no call of anybody's.
        self._greeting = threading.local()
        self._before = (
            AbstractConnection.read_response,
            AbstractConnection.connect_check_health,
            Ledger.write,
        )
        self._wrap_redis(AbstractConnection, redis)
        self._wrap_ledger(Ledger, ledger)

    def remove(self) -> None:
        """As it was before."""
        from redis.connection import AbstractConnection

        from ledger import Ledger

        read_response, connect, write = self._before
        AbstractConnection.read_response = read_response  # type: ignore[method-assign]
        AbstractConnection.connect_check_health = connect  # type: ignore[method-assign]
        Ledger.write = write  # type: ignore[method-assign]

    def _wrap_redis(self, connection: Any, rate: float) -> None:
        import redis

        original, connect = connection.read_response, connection.connect_check_health

        def connect_check_health(this: Any, *args: Any, **kwargs: Any) -> Any:
            self._greeting.connection = this
            try:
                return connect(this, *args, **kwargs)
            finally:
                self._greeting.connection = None

        def read_response(this: Any, *args: Any, **kwargs: Any) -> Any:
            response = original(this, *args, **kwargs)
            greets = getattr(self._greeting, "connection", None) is this
            if not greets and self._strikes(rate, "redis"):
                # As redis-py itself: what may still come belongs to nobody.
                if kwargs.get("disconnect_on_error", True):
                    this.disconnect()
                raise redis.TimeoutError("Timeout reading from the broker (a fault of the test)")
            return response

        connection.read_response = read_response
        connection.connect_check_health = connect_check_health

    def _wrap_ledger(self, ledger: Any, rate: float) -> None:
        from ledger import LedgerUnavailable

        original = ledger.write

        @contextmanager
        def write(this: Any) -> Iterator[Any]:
            with original(this) as tx:
                yield tx
            if self._strikes(rate, "ledger"):
                raise LedgerUnavailable(
                    "The ledger did not answer in time (a fault of the test).",
                    suggested_action="Try again.",
                )

        ledger.write = write

    def _strikes(self, rate: float, what: str) -> bool:
        with self._lock:
            struck = self._random.random() < rate
        if struck and self._log is not None:
            _append(self._log, f"{os.getpid()} {what}")
        return struck


def _begin(log: str | None, seed: int) -> int:
    """Write down that a process begins; gives how many have begun with this seed before it."""
    if log is None:
        return 0
    begins = f" begins with seed {seed}\n"
    before = Path(log).read_text().count(begins) if Path(log).exists() else 0
    _append(log, f"{os.getpid()}{begins}".rstrip())
    return before


def _trace(path: str) -> None:
    from executors.fake import FakeExecutor

    original = FakeExecutor.generate

    def generate(this: Any, request: Any) -> Any:
        _append(path, request.request_id)
        return original(this, request)

    FakeExecutor.generate = generate  # type: ignore[assignment, method-assign]


def _append(path: str, line: str) -> None:
    """One line by one write, so that processes do not mix theirs."""
    file = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
    try:
        os.write(file, f"{line}\n".encode())
    finally:
        os.close(file)
