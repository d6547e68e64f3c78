"""The GPUs of one worker, read again and again through NVML.

NVML stays open between two looks: to start it takes a second on some machines. Each GPU is looked
up by its UUID every time, so that one that falls off the bus is noticed, and so is its return. What
a card does not tell is None, and nothing here raises.

Of a MIG device only the memory is its own; the temperature, the faults and the slowdowns are its
GPU's. Sources: NVIDIA's NVML API reference and its list of Xid errors.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, TypeVar

import pynvml

from monitoring.gpu import temperature, told
from monitoring.heartbeat import Reading

logger = logging.getLogger(__name__)
ValueT = TypeVar("ValueT")

MOST_EVENTS = 100
"""How many faults of one GPU are fetched in one look."""
NANOSECONDS = 1e9

_LOST = (
    pynvml.NVML_ERROR_GPU_IS_LOST,
    pynvml.NVML_ERROR_NOT_FOUND,
    pynvml.NVML_ERROR_RESET_REQUIRED,
)
_POLICIES = {
    "thermal": pynvml.NVML_PERF_POLICY_THERMAL,
    "power": pynvml.NVML_PERF_POLICY_POWER,
}
_REASONS = {
    "thermal": pynvml.nvmlClocksEventReasonSwThermalSlowdown
    | pynvml.nvmlClocksEventReasonHwThermalSlowdown,
    "power": pynvml.nvmlClocksEventReasonSwPowerCap,
    "hw": pynvml.nvmlClocksEventReasonHwSlowdown | pynvml.nvmlClocksEventReasonHwPowerBrakeSlowdown,
}
_ECC = {
    "corrected": pynvml.NVML_MEMORY_ERROR_TYPE_CORRECTED,
    "uncorrected": pynvml.NVML_MEMORY_ERROR_TYPE_UNCORRECTED,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Fault:
    """Something that has happened to a GPU since the last look; `xid` is None for a lost card."""

    gpu: str
    uuid: str
    xid: int | None
    times: int = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class GpuLook:
    """One look at the GPUs of a worker."""

    readings: tuple[Reading, ...] = ()
    faults: tuple[Fault, ...] = ()
    driver: str | None = None
    names: tuple[str, ...] = ()


@dataclass(slots=True, kw_only=True)
class _Card:
    """What is kept of one GPU between two looks."""

    uuid: str
    label: str
    events: Any = None
    name: str | None = None
    lost: bool = False
    xids: dict[str, int] | None = None
    slowed: dict[str, float] = field(default_factory=dict)
    looked_at: float | None = None


class GpuWatch:
    """Reads the GPUs with these UUIDs; `clock` gives monotonic seconds."""

    def __init__(
        self, uuids: Sequence[str], *, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._cards = [_Card(uuid=uuid, label=str(place)) for place, uuid in enumerate(uuids)]
        self._clock = clock
        self._open = False
        self._driver: str | None = None
        self._said: set[str] = set()

    def look(self) -> GpuLook:
        """Read every GPU once; never raises."""
        if not self._cards or not self._begin():
            return GpuLook()
        faults: list[Fault] = []
        readings = [self._read(card, faults) for card in self._cards]
        return GpuLook(
            readings=tuple(readings),
            faults=tuple(faults),
            driver=self._driver,
            names=tuple(card.name for card in self._cards if card.name is not None),
        )

    def close(self) -> None:
        """Let go of NVML; a later look opens it again."""
        for card in self._cards:
            if card.events is not None:
                told(pynvml.nvmlEventSetFree, card.events)
                card.events = None
        if self._open:
            told(pynvml.nvmlShutdown)
            self._open = False

    def _begin(self) -> bool:
        if self._open:
            return True
        try:
            pynvml.nvmlInit()
        except pynvml.NVMLError as error:
            self._say_once(f"NVML does not work, so GPUs are not read: {error}")
            return False
        self._open = True
        self._driver = told(pynvml.nvmlSystemGetDriverVersion)
        return True

    def _read(self, card: _Card, faults: list[Fault]) -> Reading:
        try:
            handle = pynvml.nvmlDeviceGetHandleByUUID(card.uuid)
            card.name = _asked(pynvml.nvmlDeviceGetName, handle) or card.name
            memory = _asked(pynvml.nvmlDeviceGetMemoryInfo, handle)
        except pynvml.NVMLError as error:
            return self._not_read(card, error, faults)
        card.lost = False
        parent = told(pynvml.nvmlDeviceGetDeviceHandleFromMigDeviceHandle, handle)
        whole = handle if parent is None else parent
        card.label = _label(whole) if parent is None else f"{_label(whole)}/{_label(handle)}"
        self._fetch_xids(card, whole, faults)
        reading = Reading(
            gpu=card.label,
            uuid=card.uuid,
            temperature_celsius=temperature(whole),
            memory_used_bytes=None if memory is None else memory.used,
            memory_total_bytes=None if memory is None else memory.total,
            xid=None if card.xids is None else dict(card.xids),
            throttle_seconds=self._slowed(card, whole),
            ecc_errors=_ecc(handle),
        )
        return _with_power(reading, handle) if parent is None else reading

    def _not_read(self, card: _Card, error: Any, faults: list[Fault]) -> Reading:
        self._say_once(f"GPU {card.uuid} is not read: {error}")
        if error.value in _LOST:
            # Its faults may say why, and they are still told by the set that it was put into.
            self._fetch_xids(card, None, faults)
            if not card.lost:
                faults.append(Fault(gpu=card.label, uuid=card.uuid, xid=None))
            card.lost = True
        elif error.value == pynvml.NVML_ERROR_UNINITIALIZED:
            self._open = False
        card.looked_at = None
        xids = None if card.xids is None else dict(card.xids)
        return Reading(gpu=card.label, uuid=card.uuid, xid=xids)

    def _fetch_xids(self, card: _Card, handle: Any, faults: list[Fault]) -> None:
        if card.events is None and (handle is None or not _register(card, handle)):
            return
        found: dict[int, int] = {}
        for _ in range(MOST_EVENTS):
            event = told(pynvml.nvmlEventSetWait_v2, card.events, 0)
            if event is None:
                break
            if event.eventType == pynvml.nvmlEventTypeXidCriticalError:
                found[event.eventData] = found.get(event.eventData, 0) + 1
        card.xids = card.xids or {}
        for xid, times in found.items():
            card.xids[str(xid)] = card.xids.get(str(xid), 0) + times
            faults.append(Fault(gpu=card.label, uuid=card.uuid, xid=xid, times=times))

    def _slowed(self, card: _Card, handle: Any) -> dict[str, float] | None:
        """Seconds by reason: as the card has counted them, else from look to look."""
        now = self._clock()
        since = 0.0 if card.looked_at is None else now - card.looked_at
        card.looked_at = now
        reasons = told(pynvml.nvmlDeviceGetCurrentClocksEventReasons, handle)
        for name, bits in _REASONS.items():
            before = card.slowed.get(name, 0.0)
            counted = _counted(handle, name)
            if counted is not None:
                card.slowed[name] = max(before, counted)
            elif reasons is not None:
                card.slowed[name] = before + (since if reasons & bits else 0.0)
        return {name: round(seconds, 3) for name, seconds in card.slowed.items()} or None

    def _say_once(self, sentence: str) -> None:
        if sentence not in self._said:
            self._said.add(sentence)
            logger.warning("%s", sentence)


def _register(card: _Card, handle: Any) -> bool:
    """Ask to be told of a GPU's faults; false where it does not tell them."""
    events = told(pynvml.nvmlEventSetCreate)
    if events is None:
        return False
    try:
        pynvml.nvmlDeviceRegisterEvents(handle, pynvml.nvmlEventTypeXidCriticalError, events)
    except pynvml.NVMLError:
        told(pynvml.nvmlEventSetFree, events)
        return False
    card.events = events
    return True


def _label(handle: Any) -> str:
    index = told(pynvml.nvmlDeviceGetIndex, handle)
    return "?" if index is None else str(index)


def _asked(question: Callable[..., ValueT], handle: Any) -> ValueT | None:
    """Return the answer, None where the card has none; raise if the card is lost."""
    try:
        return question(handle)
    except pynvml.NVMLError as error:
        if error.value in _LOST:
            raise
        return None


def _counted(handle: Any, reason: str) -> float | None:
    """The seconds that the driver has counted a card slowed down for this reason."""
    policy = _POLICIES.get(reason)
    if policy is None:
        return None
    status = told(pynvml.nvmlDeviceGetViolationStatus, handle, policy)
    return None if status is None else status.violationTime / NANOSECONDS


def _with_power(reading: Reading, handle: Any) -> Reading:
    """Add what a MIG device has not of its own."""
    power = told(pynvml.nvmlDeviceGetPowerUsage, handle)
    energy = told(pynvml.nvmlDeviceGetTotalEnergyConsumption, handle)
    busy = told(pynvml.nvmlDeviceGetUtilizationRates, handle)
    return replace(
        reading,
        utilization_percent=None if busy is None else float(busy.gpu),
        power_watts=None if power is None else power / 1000,
        energy_joules=None if energy is None else energy / 1000,
    )


def _ecc(handle: Any) -> dict[str, int] | None:
    """Memory errors since the driver was loaded."""
    counter = pynvml.NVML_VOLATILE_ECC
    told_ones = {
        name: told(pynvml.nvmlDeviceGetTotalEccErrors, handle, kind, counter)
        for name, kind in _ECC.items()
    }
    return {name: count for name, count in told_ones.items() if count is not None} or None
