"""What this machine has: GPUs that torch sees, memory that is free, memory that a process holds.

No device is chosen here and none is replaced by another: a check passes or raises.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path

import psutil
import pynvml

from executors.errors import DeviceUnavailable, EngineStartFailed, OutOfMemory

DEVICES = ("cpu", "cuda")
GIB = 1024**3


def check_device_name(device: str) -> None:
    """Refuse a device that no engine knows."""
    if device not in DEVICES:
        raise DeviceUnavailable(
            f"unknown device {device!r}; known are {', '.join(DEVICES)}",
            suggested_action="Say cpu or cuda.",
            details={"device": device},
        )


def check_cuda(*, found: int, needed: int, build: str) -> None:
    """Refuse to start with fewer GPUs than asked for.

    `found` is the number of GPUs that the engine sees, `build` what was asked, such as
    `torch 2.13.0+cpu`.
    """
    if found >= needed:
        return
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    raise DeviceUnavailable(
        f"{needed} GPU(s) asked for and {found} found by {build} "
        f"(CUDA_VISIBLE_DEVICES is {'not set' if visible is None else repr(visible)})",
        suggested_action="Check nvidia-smi and the installed build, or ask for the device cpu.",
        details={"needed": needed, "found": found, "build": build, "visible": visible},
    )


def check_no_tensor_parallel(*, engine: str, tensor_parallel: int) -> None:
    """Refuse several devices for an engine that runs on one."""
    if tensor_parallel != 1:
        raise EngineStartFailed(
            f"the {engine} engine runs on one device; tensor_parallel is {tensor_parallel}",
            suggested_action="Use the vllm engine, or one device.",
            details={"tensor_parallel": tensor_parallel},
        )


def available_host_bytes() -> int:
    """Bytes that a new allocation on the host can have, within the container's limit."""
    free = int(psutil.virtual_memory().available)
    limit = _read_number(Path("/sys/fs/cgroup/memory.max"))
    used = _read_number(Path("/sys/fs/cgroup/memory.current"))
    if limit is not None and used is not None:
        free = min(free, max(limit - used, 0))
    return free


def check_memory(*, required: int, available: int, where: str) -> None:
    """Refuse to load what cannot fit. Sizes in bytes."""
    if required > available:
        raise OutOfMemory(
            f"the model needs {required / GIB:.2f} GiB on the {where} and "
            f"{available / GIB:.2f} GiB are available",
            suggested_action="Free memory, use a smaller or quantised model, or another device.",
            details={"required_bytes": required, "available_bytes": available, "where": where},
        )


def own_bytes() -> int:
    """Resident bytes of this process."""
    return int(psutil.Process().memory_info().rss)


def host_bytes(pids: Iterable[int]) -> int:
    """Resident bytes of these processes and of all their descendants."""
    total = 0
    for pid in pids:
        try:
            process = psutil.Process(pid)
            family = [process, *process.children(recursive=True)]
        except psutil.NoSuchProcess:
            continue
        for member in family:
            try:
                total += int(member.memory_info().rss)
            except psutil.NoSuchProcess:
                continue
    return total


def gpu_bytes(pids: Iterable[int]) -> int:
    """Bytes that these processes and their descendants hold on all GPUs, as NVML says; else 0."""
    try:
        pynvml.nvmlInit()
    except pynvml.NVMLError:
        # Without a driver there is no GPU memory to speak of.
        return 0
    try:
        wanted = _with_descendants(pids)
        return sum(
            process.usedGpuMemory or 0
            for index in range(pynvml.nvmlDeviceGetCount())
            for process in pynvml.nvmlDeviceGetComputeRunningProcesses(
                pynvml.nvmlDeviceGetHandleByIndex(index)
            )
            if process.pid in wanted
        )
    finally:
        pynvml.nvmlShutdown()


def _with_descendants(pids: Iterable[int]) -> set[int]:
    family: set[int] = set()
    for pid in pids:
        family.add(pid)
        try:
            family.update(child.pid for child in psutil.Process(pid).children(recursive=True))
        except psutil.NoSuchProcess:
            continue
    return family


def _read_number(path: Path) -> int | None:
    try:
        return int(path.read_text())
    except (OSError, ValueError):
        return None
