"""One look at a worker's machine: memory, disk, load and the worker's own GPUs."""

from __future__ import annotations

import os
import shutil
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import psutil

from monitoring.gpu_watch import Fault, GpuWatch
from monitoring.heartbeat import Hardware, Host, Reading
from monitoring.host_health import available_memory_bytes, nearest_existing


@dataclass(frozen=True, slots=True, kw_only=True)
class Sample:
    """One look; `faults` are what has happened to the GPUs since the one before."""

    hardware: Hardware
    host: Host
    readings: tuple[Reading, ...] = ()
    faults: tuple[Fault, ...] = ()


class Sampler:
    """Looks at the machine again and again; `disk` is a folder on the disk to watch.

    What cannot be read is None. A look takes a few milliseconds, but a driver or a network disk
    that hangs holds it up: it belongs in a thread that nothing waits for.
    """

    def __init__(self, *, gpus: Sequence[str], disk: Path) -> None:
        self._watch = GpuWatch(gpus)
        self._disk = disk
        self._hardware = Hardware()

    def take(self) -> Sample:
        """Look once; never raises."""
        host = _host(self._disk)
        gpus = self._watch.look()
        if gpus.names:
            sizes = [reading.memory_total_bytes for reading in gpus.readings]
            self._hardware = replace(
                self._hardware,
                gpu_name=gpus.names[0],
                gpu_memory_bytes=sum(size or 0 for size in sizes) or None,
                driver=gpus.driver,
            )
        self._hardware = replace(
            self._hardware,
            memory_total_bytes=host.memory_total_bytes,
            disk_total_bytes=host.disk_total_bytes,
            cpus=_cpus(),
        )
        return Sample(
            hardware=self._hardware, host=host, readings=gpus.readings, faults=gpus.faults
        )

    def close(self) -> None:
        """Let go of the GPUs."""
        self._watch.close()


def _host(disk: Path) -> Host:
    memory = _memory()
    room = _room(disk)
    load = _load()
    return Host(
        memory_available_bytes=memory[0],
        memory_total_bytes=memory[1],
        disk_available_bytes=room[0],
        disk_total_bytes=room[1],
        load=load,
    )


def _memory() -> tuple[int | None, int | None]:
    try:
        return available_memory_bytes(), psutil.virtual_memory().total
    except (OSError, ValueError, RuntimeError):
        return None, None


def _room(disk: Path) -> tuple[int | None, int | None]:
    try:
        usage = shutil.disk_usage(nearest_existing(disk))
    except OSError:
        return None, None
    return usage.free, usage.total


def _load() -> float | None:
    try:
        return round(os.getloadavg()[0] / _cpus(), 3)
    except OSError:
        return None


def _cpus() -> int:
    """The CPUs that this process may use."""
    return len(os.sched_getaffinity(0))
