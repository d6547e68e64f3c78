"""Measure what tracing costs: jobs per second with spans exported, beside the same without.

    python -m benchmarks.tracing [--quick]

Two workers with scripted engines share Redis, ledger and machine, one of them with an endpoint for
spans; a receiver in a process of its own takes them. They take turns in rounds of the same jobs, in
changing order. A ratio is that of two turns side by side; told are the
mean over the rounds and its standard error. `paced` is an engine that needs 1.3 s for an answer, as
a model does, with 66 samples in flight; `flat_out` one that needs no time at all, so that all that
is left is honeyflow's own work and every instruction counts. The last line is one JSON object.
"""

from __future__ import annotations

import json
import math
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import psutil

from benchmarks import processes
from benchmarks.bars import options, say, tell
from benchmarks.cluster import wait_ready

TRACED, PLAIN = "traced", "plain"
MAX_NUM_SEQS = 53
TOKEN_S = 0.1
ROUND_TIMEOUT_S = 300.0
WORDS = "one two three four five six seven eight nine ten eleven twelve thirteen "
RECEIVER = """
import http.server
class Taker(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    def do_POST(self):
        self.rfile.read(int(self.headers["Content-Length"]))
        self.send_response(200)
        self.send_header("Content-Length", "0")
        self.end_headers()
    def log_message(self, *_):
        pass
server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Taker)
print(server.server_address[1], flush=True)
server.serve_forever()
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Pace:
    """How fast the engine is, and how much is asked of it."""

    name: str
    jobs: int
    rounds: int


QUICK = (
    Pace(name="paced", jobs=110, rounds=4),
    Pace(name="flat_out", jobs=200, rounds=6),
)
FULL = (
    Pace(name="paced", jobs=264, rounds=10),
    Pace(name="flat_out", jobs=500, rounds=30),
)


def configure(home: Path) -> None:
    """Write honeyflow.toml with two models alike, and make it this process's."""
    script = home / "script.json"
    answers = [{"text": WORDS}]
    rules = [{"marker": "paced", "answers": answers, "token_s": TOKEN_S}, {"answers": answers}]
    script.write_text(json.dumps({"rules": rules}))
    lines = [f'data_dir = "{home / "data"}"', 'node = "bench"']
    for name in (TRACED, PLAIN):
        (home / name).mkdir(exist_ok=True)
        (home / name / "config.json").write_text('{"model_type": "fake"}')
        lines += [
            f"[models.{name}]",
            f'path = "{home / name}"',
            'engine = "fake"',
            f"max_num_seqs = {MAX_NUM_SEQS}",
            f'options = {{ script = "{script}" }}',
        ]
    (home / "honeyflow.toml").write_text("\n".join(lines) + "\n")
    os.environ["HONEYFLOW_CONFIG"] = str(home / "honeyflow.toml")


class Sides:
    """Both workers over one Redis."""

    def __init__(self, home: Path, endpoint: str, stack: ExitStack) -> None:
        from tasks.redis_server import RedisServer

        redis = RedisServer(directory=home / "data" / "redis")
        redis.start()
        stack.callback(redis.stop)
        self._workers: dict[str, subprocess.Popen[bytes]] = {}
        for name in (TRACED, PLAIN):
            told = {"OTEL_EXPORTER_OTLP_ENDPOINT": endpoint} if name == TRACED else {}
            self._workers[name] = self._start(home, name, told)
            stack.callback(processes.stop, self._workers[name])
            wait_ready(self._workers[name], home / f"{name}.log")
        self._seen = 0

    def turn(self, name: str, pace: Pace) -> tuple[float, float]:
        """Jobs per second, and CPU seconds per job, of one side."""
        from tasks import wiring

        client = wiring.client()
        worker = self._workers[name]
        with ExitStack() as stack:
            with client.ledger.write():
                # A worker that is stopped in the middle of a write keeps SQLite's lock.
                stack.enter_context(processes.paused(worker))
                while psutil.Process(worker.pid).status() != psutil.STATUS_STOPPED:
                    time.sleep(0.001)
            asked = [
                {"model": name, "prompt": f"{pace.name} {at}", "k": 3} for at in range(pace.jobs)
            ]
            tickets = client.submit_many(asked)
            used = processes.cpu_seconds([worker.pid])
            began = time.time()
        ended = self._wait([ticket.job_id for ticket in tickets])
        # What is still to be exported is part of the cost.
        time.sleep(1.5)
        used = processes.cpu_seconds([worker.pid]) - used
        return pace.jobs / (ended - began), used / pace.jobs

    def _wait(self, ids: Sequence[str]) -> float:
        from ledger import changes
        from tasks import wiring

        ledger = wiring.client().ledger
        awaited, last = set(ids), 0.0
        until = time.monotonic() + ROUND_TIMEOUT_S
        while awaited:
            with ledger.read() as tx:
                moved = changes.after(tx, self._seen)
            self._seen = moved[-1].seq if moved else self._seen
            for change in moved:
                if change.job_id in awaited and change.target == "succeeded":
                    awaited.discard(change.job_id)
                    last = max(last, change.at)
            if time.monotonic() > until:
                raise RuntimeError(f"{len(awaited)} jobs do not end")
            time.sleep(0.1)
        return last

    def _start(self, home: Path, name: str, told: dict[str, str]) -> subprocess.Popen[bytes]:
        with (home / f"{name}.log").open("wb") as output:
            return subprocess.Popen(
                [
                    *(sys.executable, "-m", "celery", "-A", "tasks", "worker", "-l", "INFO"),
                    *("--device", "cpu", "--model", name),
                ],
                env={**os.environ, **told},
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )


def measure(sides: Sides, pace: Pace) -> dict[str, Any]:
    """The figures of one pace."""
    for name in (TRACED, PLAIN):
        sides.turn(name, pace)
    rates: dict[str, list[float]] = {TRACED: [], PLAIN: []}
    costs: dict[str, list[float]] = {TRACED: [], PLAIN: []}
    for at in range(pace.rounds):
        for name in (TRACED, PLAIN) if at % 2 else (PLAIN, TRACED):
            rate, cost = sides.turn(name, pace)
            rates[name].append(rate)
            costs[name].append(cost)
            say(f"{pace.name:<9} round {at}: {name:<7} {rate:>7.1f} jobs/s {1000 * cost:6.2f} ms")
    ratios = [traced / plain for traced, plain in zip(rates[TRACED], rates[PLAIN], strict=True)]
    spent = [one - other for one, other in zip(costs[TRACED], costs[PLAIN], strict=True)]
    return {
        "ratio": statistics.mean(ratios),
        "ratio_standard_error": statistics.stdev(ratios) / math.sqrt(len(ratios)),
        "jobs_per_s": statistics.median(rates[PLAIN]),
        "jobs_per_s_traced": statistics.median(rates[TRACED]),
        "cpu_ms_per_job": 1000 * statistics.median(spent),
        "rounds": len(ratios),
    }


class Taker:
    """The receiver of spans, in a process of its own."""

    def __enter__(self) -> Self:
        """Wait until it listens."""
        self._process = subprocess.Popen(
            [sys.executable, "-c", RECEIVER], stdout=subprocess.PIPE, text=True
        )
        assert self._process.stdout is not None
        self.endpoint = f"http://127.0.0.1:{int(self._process.stdout.readline())}"
        return self

    def __exit__(self, *_: object) -> None:
        """End it."""
        self._process.kill()
        self._process.wait()
        assert self._process.stdout is not None
        self._process.stdout.close()


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the benchmark and print, last, one JSON object."""
    chosen = options("tracing", __doc__, quick="fewer and smaller rounds").parse_args(arguments)
    processes.end_on_sigterm()
    started = time.perf_counter()
    result: dict[str, Any] = {}
    with ExitStack() as stack:
        home = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="honeyflow-bench-")))
        configure(home)
        sides = Sides(home, stack.enter_context(Taker()).endpoint, stack)
        for pace in QUICK if chosen.quick else FULL:
            for name, figure in measure(sides, pace).items():
                result[f"{pace.name}_{name}"] = figure
    result |= {"cpus": os.cpu_count(), "seconds": time.perf_counter() - started}
    tell("tracing", result, quick=chosen.quick)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
