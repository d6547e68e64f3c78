"""Celery without honeyflow: a `threads` pool of 64 around one AsyncLLM, results kept in Redis.

What somebody would write in an afternoon, with no ledger, no receipt, no cancel and no recovery.
`BareCelery` is the handle; `celery -A benchmarks.bare_celery worker` is the process.
"""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Self

import redis
from celery import Celery
from celery.signals import worker_init, worker_shutdown

from benchmarks import processes
from benchmarks.bare_engine import ROOT, ask, start_engine
from benchmarks.cluster import POLL_S, ROUND_TIMEOUT_S, wait_ready
from benchmarks.questions import IN_FLIGHT, Measured, Question

SOCKET = "BENCHMARK_REDIS_SOCKET"
MODEL_PATH = "BENCHMARK_MODEL"
BROKER_DB, RESULT_DB = 1, 2

app = Celery("benchmarks.bare_celery")
app.conf.update(
    broker_url=f"redis+socket://{os.environ.get(SOCKET, '')}?virtual_host={BROKER_DB}",
    result_backend=f"redis+socket://{os.environ.get(SOCKET, '')}?virtual_host={RESULT_DB}",
    result_backend_thread_safe=True,
    worker_pool="threads",
    worker_concurrency=IN_FLIGHT,
    worker_prefetch_multiplier=1,
    broker_connection_retry_on_startup=True,
)

_engines: list[tuple[Any, asyncio.AbstractEventLoop]] = []


@app.task(name="benchmarks.ask")
def ask_engine(plain: dict[str, Any]) -> dict[str, Any]:
    """Answer one question; the thread waits for the engine's loop."""
    engine, loop = _engines[0]
    task_id = str(ask_engine.request.id)
    asked = ask(engine, Question(**plain), task_id)
    text, tokens = asyncio.run_coroutine_threadsafe(asked, loop).result()
    return {"text": text, "tokens": tokens}


@worker_init.connect
def _start(**_: Any) -> None:
    loop = asyncio.new_event_loop()
    threading.Thread(target=loop.run_forever, daemon=True).start()

    async def start() -> Any:
        engine = start_engine(Path(os.environ[MODEL_PATH]))
        await ask(engine, Question(prompt="warm up", seed=0, max_tokens=1), "warm-up")
        return engine

    _engines.append((asyncio.run_coroutine_threadsafe(start(), loop).result(), loop))


@worker_shutdown.connect
def _stop(**_: Any) -> None:
    for engine, _loop in _engines:
        engine.shutdown()


class BareCelery:
    """A bare Celery worker on somebody's Redis, started and ended with the block."""

    def __init__(self, *, home: Path, model: Path, redis_pid: int) -> None:
        socket = str(home / "data" / "redis" / "redis.sock")
        self._log = home / "bare-celery.log"
        self._redis_pid = redis_pid
        self._broker = redis.Redis(unix_socket_path=socket, db=BROKER_DB)
        self._results = redis.Redis(unix_socket_path=socket, db=RESULT_DB)
        app.conf.update(
            broker_url=f"redis+socket://{socket}?virtual_host={BROKER_DB}",
            result_backend=f"redis+socket://{socket}?virtual_host={RESULT_DB}",
        )
        with self._log.open("wb") as output:
            self._worker = subprocess.Popen(
                [
                    *(sys.executable, "-m", "celery", "-A", "benchmarks.bare_celery"),
                    *("worker", "-l", "INFO", "--without-gossip", "--without-mingle"),
                ],
                cwd=ROOT,
                env={**os.environ, SOCKET: socket, MODEL_PATH: str(model)},
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    def __enter__(self) -> Self:
        """Wait until the worker consumes."""
        try:
            wait_ready(self._worker, self._log)
        except BaseException:
            processes.stop(self._worker)
            raise
        return self

    def __exit__(self, *_: object) -> None:
        """End the worker and its engine."""
        processes.stop(self._worker)

    def round(self, asked: Sequence[Question]) -> Measured:
        """Fill the queue, let the worker go, and wait for the last stored result."""
        self._results.flushdb()
        with processes.paused(self._worker):
            ids = [ask_engine.delay(question.plain()).id for question in asked]
            before = self._cpu()
            began = time.time()
        until = time.monotonic() + ROUND_TIMEOUT_S
        while int(self._results.dbsize()) < len(ids):
            if self._worker.poll() is not None or time.monotonic() > until:
                raise RuntimeError(self._log.read_text(errors="replace")[-4000:])
            time.sleep(POLL_S)
        stored = [self._stored(task_id) for task_id in ids]
        return Measured(
            seconds=max(_seconds(told["date_done"]) for told in stored) - began,
            tokens=sum(told["result"]["tokens"] for told in stored),
            cpu_s=self._cpu() - before,
            answers=tuple(told["result"]["text"] for told in stored),
        )

    def _stored(self, task_id: str) -> dict[str, Any]:
        told: dict[str, Any] = json.loads(self._results.get(f"celery-task-meta-{task_id}") or b"")
        if told["status"] != "SUCCESS":
            raise RuntimeError(f"task {task_id} is {told['status']}: {told['result']}")
        return told

    def _cpu(self) -> float:
        return processes.cpu_seconds([self._worker.pid, self._redis_pid])


def _seconds(moment: str) -> float:
    """Seconds since the epoch of Celery's `date_done`, which is UTC whether it says so or not."""
    parsed = datetime.fromisoformat(moment)
    return (parsed if parsed.tzinfo else parsed.replace(tzinfo=UTC)).timestamp()
