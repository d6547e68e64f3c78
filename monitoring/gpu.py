"""The machine's GPUs, read through NVML.

Reads only: nothing here changes a clock, a limit or MIG. Indexes are NVML's, which count in PCI bus
order. What a card or a driver does not tell is None. Source: NVIDIA's NVML API reference, through
the module `pynvml` of the distribution nvidia-ml-py.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, TypeVar

import pynvml

from monitoring.errors import NvmlUnavailable
from routing import Gpu

ValueT = TypeVar("ValueT")

_MILLIWATTS = 1000
_PERCENT = 100


@dataclass(frozen=True, slots=True, kw_only=True)
class GpuReading:
    """How one GPU is doing now: bytes, degrees Celsius, watts, a ratio from 0 to 1."""

    index: int
    uuid: str
    name: str
    memory_used_bytes: int | None
    memory_total_bytes: int | None
    temperature_celsius: int | None
    power_watts: float | None
    utilization_ratio: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class GpuSurvey:
    """Every GPU that answers, MIG devices after their parent, and why others do not.

    `driver_version` is None where there is no driver, and then `unavailable` says why; `lost` has
    one sentence for each GPU that is there and does not answer.
    """

    gpus: tuple[Gpu, ...]
    driver_version: str | None = None
    unavailable: NvmlUnavailable | None = None
    lost: tuple[str, ...] = ()


def inventory() -> list[Gpu]:
    """Return the GPUs and MIG devices of this machine.

    Raises:
        NvmlUnavailable: if there is no NVIDIA library or driver here, or it does not work.
    """
    survey = survey_gpus()
    if survey.unavailable is not None:
        raise survey.unavailable
    return list(survey.gpus)


def survey_gpus() -> GpuSurvey:
    """Return the GPUs of this machine together with whatever is wrong with them; never raise."""
    gpus: list[Gpu] = []
    lost: list[str] = []
    try:
        with _nvml():
            driver = told(pynvml.nvmlSystemGetDriverVersion)
            for index in range(pynvml.nvmlDeviceGetCount()):
                try:
                    gpus.extend(_describe(index))
                except pynvml.NVMLError as error:
                    lost.append(f"GPU {index} does not answer: {error}.")
    except NvmlUnavailable as error:
        return GpuSurvey(gpus=(), unavailable=error)
    except pynvml.NVMLError as error:
        return GpuSurvey(gpus=(), unavailable=_unavailable(error))
    return GpuSurvey(gpus=tuple(gpus), driver_version=driver, lost=tuple(lost))


def readings() -> list[GpuReading]:
    """Return how each GPU is doing now; one that does not answer is left out.

    Raises:
        NvmlUnavailable: if there is no NVIDIA library or driver here, or it does not work.
    """
    found: list[GpuReading] = []
    try:
        with _nvml():
            for index in range(pynvml.nvmlDeviceGetCount()):
                try:
                    found.append(_read(index))
                except pynvml.NVMLError:
                    continue
    except pynvml.NVMLError as error:
        raise _unavailable(error) from error
    return found


@contextmanager
def _nvml() -> Iterator[None]:
    try:
        pynvml.nvmlInit()
    except pynvml.NVMLError as error:
        raise _unavailable(error) from error
    try:
        yield
    finally:
        told(pynvml.nvmlShutdown)


def _unavailable(error: Any) -> NvmlUnavailable:
    actions = {
        pynvml.NVML_ERROR_LIBRARY_NOT_FOUND: (
            "On a machine with an NVIDIA GPU install its driver (in a container, start it with "
            "`--gpus all`); without one start workers with `--device cpu`."
        ),
        pynvml.NVML_ERROR_DRIVER_NOT_LOADED: (
            "Load the driver (`modprobe nvidia`), or reboot after installing it."
        ),
        pynvml.NVML_ERROR_LIB_RM_VERSION_MISMATCH: (
            "The library and the loaded driver are of different versions: reboot."
        ),
        pynvml.NVML_ERROR_NO_PERMISSION: (
            "Let this user open /dev/nvidiactl and /dev/nvidia*, or ask whoever runs the machine."
        ),
    }
    reason = str(error).rstrip(".")
    return NvmlUnavailable(
        f"NVIDIA's management library does not work here: {reason}.",
        suggested_action=actions.get(error.value, "See whether `nvidia-smi` works here."),
        details={"nvml_error": error.value},
    )


def told(question: Callable[..., ValueT], *arguments: Any) -> ValueT | None:
    """Return the answer, or None where the card or the driver has none."""
    try:
        return question(*arguments)
    except pynvml.NVMLError:
        return None


def _describe(index: int) -> Iterator[Gpu]:
    handle = pynvml.nvmlDeviceGetHandleByIndex(index)
    parent = pynvml.nvmlDeviceGetUUID(handle)
    memory = told(pynvml.nvmlDeviceGetMemoryInfo, handle)
    mode = told(pynvml.nvmlDeviceGetMigMode, handle)
    partitioned = mode is not None and mode[0] == pynvml.NVML_DEVICE_MIG_ENABLE
    yield Gpu(
        index=index,
        uuid=parent,
        name=told(pynvml.nvmlDeviceGetName, handle) or "unnamed GPU",
        total_bytes=None if memory is None else memory.total,
        free_bytes=None if memory is None else memory.free,
        mig_enabled=partitioned,
    )
    if not partitioned:
        return
    for mig_index in range(told(pynvml.nvmlDeviceGetMaxMigDeviceCount, handle) or 0):
        # An index without a device is an ordinary gap: instances are created and destroyed.
        part = told(pynvml.nvmlDeviceGetMigDeviceHandleByIndex, handle, mig_index)
        if part is None:
            continue
        memory = told(pynvml.nvmlDeviceGetMemoryInfo, part)
        yield Gpu(
            index=index,
            uuid=pynvml.nvmlDeviceGetUUID(part),
            name=told(pynvml.nvmlDeviceGetName, part) or "unnamed MIG device",
            total_bytes=None if memory is None else memory.total,
            free_bytes=None if memory is None else memory.free,
            parent=parent,
            mig_index=mig_index,
        )


def _read(index: int) -> GpuReading:
    handle = pynvml.nvmlDeviceGetHandleByIndex(index)
    memory = told(pynvml.nvmlDeviceGetMemoryInfo, handle)
    power = told(pynvml.nvmlDeviceGetPowerUsage, handle)
    utilization = told(pynvml.nvmlDeviceGetUtilizationRates, handle)
    return GpuReading(
        index=index,
        uuid=pynvml.nvmlDeviceGetUUID(handle),
        name=told(pynvml.nvmlDeviceGetName, handle) or "unnamed GPU",
        memory_used_bytes=None if memory is None else memory.used,
        memory_total_bytes=None if memory is None else memory.total,
        temperature_celsius=temperature(handle),
        power_watts=None if power is None else power / _MILLIWATTS,
        utilization_ratio=None if utilization is None else utilization.gpu / _PERCENT,
    )


def temperature(handle: Any) -> int | None:
    """Return a GPU's temperature in degrees Celsius, or None where it is not told."""
    # The old call is deprecated and the new one is missing from drivers of a few years ago.
    sensor = pynvml.NVML_TEMPERATURE_GPU
    new = told(pynvml.nvmlDeviceGetTemperatureV, handle, sensor)
    return new if new is not None else told(pynvml.nvmlDeviceGetTemperature, handle, sensor)
