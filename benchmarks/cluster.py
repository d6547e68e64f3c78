"""honeyflow as its users run it: Redis, a ledger, one `celery -A tasks worker`, and this client.

Everything is real and on disk: Redis with its append-only file, the SQLite ledger with
`synchronous=FULL`, receipts for every job.
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Self

from benchmarks import processes
from benchmarks.bare_engine import OPTIONS
from benchmarks.questions import MAX_NUM_SEQS, MODEL, Measured, Question

READY_TIMEOUT_S = 300.0
ROUND_TIMEOUT_S = 600.0
POLL_S = 0.1


def configure(home: Path, *, model: Path) -> None:
    """Write honeyflow.toml and make it this process's; before anything of `tasks` is imported."""
    options = ", ".join(f"{name} = {str(value).lower()}" for name, value in OPTIONS.items())
    lines = [
        f'data_dir = "{home / "data"}"',
        'node = "bench"',
        f"[models.{MODEL}]",
        f'path = "{model}"',
        'engine = "vllm"',
        f"max_num_seqs = {MAX_NUM_SEQS}",
        f"options = {{ {options} }}",
    ]
    file = home / "honeyflow.toml"
    file.write_text("\n".join(lines) + "\n")
    os.environ["HONEYFLOW_CONFIG"] = str(file)


class Cluster:
    """A Redis server and a worker, started and ended with the block."""

    def __init__(self, *, home: Path) -> None:
        from tasks.redis_server import RedisServer

        self._log = home / "worker.log"
        self._seen = 0
        self._redis = RedisServer(directory=home / "data" / "redis")

    def __enter__(self) -> Self:
        """Wait until the worker consumes."""
        self._redis_pid = self._redis.start().pid
        try:
            with self._log.open("wb") as output:
                self._worker = subprocess.Popen(
                    [
                        *(sys.executable, "-m", "celery", "-A", "tasks", "worker", "-l", "INFO"),
                        *("--device", "cpu", "--model", MODEL),
                    ],
                    stdin=subprocess.DEVNULL,
                    stdout=output,
                    stderr=subprocess.STDOUT,
                    start_new_session=True,
                )
            wait_ready(self._worker, self._log)
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        """End the worker, then Redis."""
        if hasattr(self, "_worker"):
            processes.stop(self._worker)
        self._redis.stop()

    @property
    def redis_pid(self) -> int:
        """The Redis server's process id."""
        return self._redis_pid

    @property
    def worker_pid(self) -> int:
        """The worker's main process id."""
        return self._worker.pid

    def round(self, asked: Sequence[Question]) -> Measured:
        """Fill the queue, let the worker go, and wait for the last commit.

        The clock runs from the moment the worker may take the first message until the ledger's
        time of the last job's end, its receipt being in the same transaction. The submission, which
        runs while no worker does, and the last transaction's way to the disk are left out.
        """
        from tasks import infer_many, wiring

        with ExitStack() as stack:
            with wiring.client().ledger.write():
                # A worker that is stopped in the middle of a write keeps SQLite's lock.
                stack.enter_context(processes.paused(self._worker))
            group = infer_many([question.request() for question in asked])
            before = self._cpu()
            began = time.time()
        jobs = self._wait([result.id for result in group.results or ()])
        return Measured(
            seconds=max(job.finished_at for job in jobs) - began,
            tokens=sum(result.completion_tokens for result in self._results(jobs)),
            cpu_s=self._cpu() - before,
            answers=tuple(result.answer for result in self._results(jobs)),
        )

    def _wait(self, ids: Sequence[str]) -> list[Any]:
        """The rows of the jobs once all of them have succeeded, each with its receipt.

        Follows the ledger's changes: counting its jobs would take more time with every round.
        """
        from ledger import TERMINAL, changes, jobs
        from tasks import wiring

        client = wiring.client()
        until = time.monotonic() + ROUND_TIMEOUT_S
        awaited = set(ids)
        while True:
            with client.ledger.read() as tx:
                moved = changes.after(tx, self._seen)
            awaited -= {change.job_id for change in moved if change.target in TERMINAL}
            self._seen = moved[-1].seq if moved else self._seen
            if not awaited:
                break
            if self._worker.poll() is not None or time.monotonic() > until:
                tail = self._log.read_text(errors="replace")[-4000:]
                raise RuntimeError(f"{len(awaited)} jobs do not end\n{tail}")
            time.sleep(POLL_S)
        with client.ledger.read() as tx:
            rows = jobs.get_many(tx, ids)
        for row in rows:
            if row.state != "succeeded" or row.receipt_digest is None:
                raise RuntimeError(f"job {row.id} is {row.state}: {row.error}")
        return rows

    def _results(self, rows: Sequence[Any]) -> list[Any]:
        from tasks import wiring

        client = wiring.client()
        return [client.result_of(row) for row in rows]

    def _cpu(self) -> float:
        return processes.cpu_seconds([self._worker.pid, self._redis_pid])


def wait_ready(worker: subprocess.Popen[bytes], log: Path) -> None:
    """Wait until a Celery worker says that it is ready."""
    until = time.monotonic() + READY_TIMEOUT_S
    while " ready." not in log.read_text(errors="replace"):
        if worker.poll() is not None or time.monotonic() > until:
            tail = log.read_text(errors="replace")[-4000:]
            raise RuntimeError(f"the worker is not ready:\n{tail}")
        time.sleep(0.2)
