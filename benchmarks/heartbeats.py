"""What heartbeats cost a worker, in a process of its own that sees eight pretended GPUs.

    python -m benchmarks.heartbeats FOLDER BEATS GPU-UUID...

Pretended by a small C library in the place of NVML, so that all our own calls are made; a real
driver takes its own time over them, on a thread that nothing waits for. Without a C compiler there
are no GPUs.
"""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import redis

from benchmarks.big_ledgers import GPUS, heartbeat
from ledger import Ledger, sessions, workers
from monitoring import gpu, host_health
from monitoring.errors import NvmlUnavailable
from monitoring.heartbeat import Heartbeat
from monitoring.sampler import Sampler
from tasks import worker_hash
from tasks.redis_server import RedisServer
from tasks.settings import Timing

WORKER = "host0-gpu0"


def measure(home: Path, beats: int, say: Callable[[str], None]) -> dict[str, Any]:
    """Measure in a child, whose driver is pretended."""
    folder = home / "beats"
    folder.mkdir()
    uuids, variables = _gpus(folder)
    program = [sys.executable, "-m", "benchmarks.heartbeats", str(folder), str(beats), *uuids]
    told = subprocess.run(
        program, env={**os.environ, **variables}, check=True, stdout=subprocess.PIPE, timeout=600
    ).stdout
    found: dict[str, Any] = json.loads(told)
    say(", ".join(f"{name} {value:.3g}" for name, value in found.items()))
    return found


def _gpus(folder: Path) -> tuple[list[str], dict[str, str]]:
    from tests import nvml

    if nvml.compiler() is None:
        return [], {}
    uuids = [f"GPU-{number:08d}-0000-4000-8000-0123456789ab" for number in range(GPUS)]
    cards = [
        nvml.FakeGpu(uuid=uuid, energy=81_234_567, reasons=0, ecc={0: 1, 1: 0}, xids=[13])
        for uuid in uuids
    ]
    state = nvml.write_state(folder / "nvml.state", cards)
    return uuids, nvml.environment(nvml.build(folder), state)


def run(folder: Path, beats: int, uuids: Sequence[str]) -> dict[str, float]:
    """Beat so many times, as a worker does twice a minute, and check the machine as at a start."""
    sampler = Sampler(gpus=uuids, disk=folder)
    said = heartbeat(0)
    timing = Timing()
    with (
        RedisServer(directory=folder / "redis") as server,
        redis.Redis.from_url(server.address.replace("redis+socket:", "unix:")) as broker,
        Ledger.open(f"sqlite:///{folder}/ledger.db", migrate=True) as ledger,
    ):
        with ledger.write() as tx:
            session = sessions.open(
                tx,
                worker=WORKER,
                node="host0",
                pid=os.getpid(),
                pid_started=0.0,
                pid_namespace="pid:[1]",
                boot_id="boot",
                lease_s=86_400.0,
            ).id

        def beat() -> None:
            facts = _with_machine(said, sampler).to_facts()
            with ledger.write() as tx:
                workers.beat(tx, worker=WORKER, session=session, state="busy", facts=facts)
            worker_hash.write(broker, WORKER, facts, ttl=120)

        def renew() -> None:
            with ledger.write() as tx:
                sessions.renew(tx, session)

        beat_s, renew_s = _cpu_s(beat, beats), _cpu_s(renew, beats)
    sampler.close()
    checks = [_check_s(folder) for _ in range(beats)]
    return {
        "gpus": len(uuids),
        "heartbeat_cpu_ms": beat_s * 1e3,
        "lease_cpu_ms": renew_s * 1e3,
        "heartbeat_cpu_percent": (beat_s / timing.heartbeat_s + renew_s / timing.renew_s) * 100,
        "resource_check_ms": statistics.median(checks) * 1e3,
    }


def _with_machine(said: Heartbeat, sampler: Sampler) -> Heartbeat:
    seen = sampler.take()
    return replace(said, hardware=seen.hardware, host=seen.host, readings=seen.readings)


def _cpu_s(act: Callable[[], None], times: int) -> float:
    """CPU seconds of one, with what it makes other threads do."""
    act()
    began = time.process_time()
    for _ in range(times):
        act()
    return (time.process_time() - began) / times


def _check_s(folder: Path) -> float:
    began = time.perf_counter()
    host_health.disk_check(folder)
    host_health.memory_check()
    with suppress(NvmlUnavailable):
        gpu.inventory()
    return time.perf_counter() - began


if __name__ == "__main__":
    sys.stdout.write(json.dumps(run(Path(sys.argv[1]), int(sys.argv[2]), sys.argv[3:])) + "\n")
