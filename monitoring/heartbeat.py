"""A heartbeat: what a worker says of itself, of its machine and of its GPUs, as typed values.

`Heartbeat.to_facts` makes the JSON that stands in the ledger, without what is not known;
`Heartbeat.from_facts` reads it, whatever stands there: facts come from other machines, and from
older and newer versions of this program. Units are in the names, as in `monitoring.metrics`.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from monitoring.json_reader import JsonReader


@dataclass(frozen=True, slots=True, kw_only=True)
class Hardware:
    """What a worker runs on; it does not change. `gpu_memory_bytes` is that of all its GPUs."""

    gpu_name: str | None = None
    gpu_memory_bytes: int | None = None
    driver: str | None = None
    memory_total_bytes: int | None = None
    disk_total_bytes: int | None = None
    cpus: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Host:
    """How a worker's machine is doing; `load` is the load of the last minute for each CPU."""

    memory_available_bytes: int | None = None
    memory_total_bytes: int | None = None
    disk_available_bytes: int | None = None
    disk_total_bytes: int | None = None
    load: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Reading:
    """How one GPU is doing.

    `gpu` is its index as text, for a MIG device `index/part`. `energy_joules`, `xid` (how often by
    code), `throttle_seconds` and `ecc_errors` only ever rise while the worker runs.
    """

    gpu: str
    uuid: str
    utilization_percent: float | None = None
    temperature_celsius: float | None = None
    memory_used_bytes: int | None = None
    memory_total_bytes: int | None = None
    power_watts: float | None = None
    energy_joules: float | None = None
    xid: Mapping[str, int] | None = None
    throttle_seconds: Mapping[str, float] | None = None
    ecc_errors: Mapping[str, int] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Heartbeat:
    """All that a worker says of itself; a maintenance worker has no engine and no places.

    `in_flight` are samples of `places`, `waiting` messages that wait for one; `progress_at` is when
    the engine last got on, in seconds since the epoch. The machine and its GPUs were looked at
    `machine_age_s` seconds before; after too long a time there is no `host` and there are no
    `readings`.
    """

    pid: int | None = None
    queues: tuple[str, ...] = ()
    model: str | None = None
    engine: str | None = None
    backend: str | None = None
    device: str | None = None
    gpus: tuple[str, ...] = ()
    tensor_parallel: int | None = None
    version: str | None = None
    in_flight: int | None = None
    places: int | None = None
    waiting: int | None = None
    tags: tuple[str, ...] = ()
    cost_per_hour: float | None = None
    hardware: Hardware = field(default_factory=Hardware)
    host: Host = field(default_factory=Host)
    engine_up: bool | None = None
    kv_cache_usage: float | None = None
    progress_at: float | None = None
    tokens_per_s: float | None = None
    logged_errors: int | None = None
    machine_age_s: float | None = None
    readings: tuple[Reading, ...] = ()

    def to_facts(self) -> dict[str, Any]:
        """Return it as plain JSON; what is None is left out."""
        facts: dict[str, Any] = _known(dataclasses.asdict(self))
        return facts

    @classmethod
    def from_facts(cls, facts: object) -> Heartbeat:
        """Read it from JSON; what is not as it should be is missing. Never raises."""
        read = JsonReader(facts)
        return cls(
            pid=read.count("pid"),
            queues=read.texts("queues"),
            model=read.text("model"),
            engine=read.text("engine"),
            backend=read.text("backend" if read.text("backend") is not None else "device"),
            device=read.text("device"),
            gpus=read.texts("gpus"),
            tensor_parallel=read.count("tensor_parallel"),
            version=read.text("version"),
            in_flight=read.count("in_flight"),
            places=read.count("places"),
            waiting=read.count("waiting"),
            tags=read.texts("tags"),
            cost_per_hour=_from_0(read.number("cost_per_hour")),
            hardware=_hardware(read.part("hardware")),
            host=_host(read.part("host")),
            engine_up=read.flag("engine_up"),
            kv_cache_usage=_share(read.number("kv_cache_usage")),
            progress_at=read.number("progress_at"),
            tokens_per_s=_from_0(read.number("tokens_per_s")),
            logged_errors=read.count("logged_errors"),
            machine_age_s=_from_0(read.number("machine_age_s")),
            readings=tuple(_reading(part) for part in read.parts("readings")),
        )


def _hardware(read: JsonReader) -> Hardware:
    return Hardware(
        gpu_name=read.text("gpu_name"),
        gpu_memory_bytes=read.count("gpu_memory_bytes"),
        driver=read.text("driver"),
        memory_total_bytes=read.count("memory_total_bytes"),
        disk_total_bytes=read.count("disk_total_bytes"),
        cpus=read.count("cpus"),
    )


def _host(read: JsonReader) -> Host:
    return Host(
        memory_available_bytes=read.count("memory_available_bytes"),
        memory_total_bytes=read.count("memory_total_bytes"),
        disk_available_bytes=read.count("disk_available_bytes"),
        disk_total_bytes=read.count("disk_total_bytes"),
        load=_from_0(read.number("load")),
    )


def _reading(read: JsonReader) -> Reading:
    return Reading(
        gpu=read.text("gpu") or "",
        uuid=read.text("uuid") or "",
        utilization_percent=_from_0(read.number("utilization_percent")),
        temperature_celsius=read.number("temperature_celsius"),
        memory_used_bytes=read.count("memory_used_bytes"),
        memory_total_bytes=read.count("memory_total_bytes"),
        power_watts=_from_0(read.number("power_watts")),
        energy_joules=_from_0(read.number("energy_joules")),
        xid=read.counts("xid"),
        throttle_seconds=read.amounts("throttle_seconds"),
        ecc_errors=read.counts("ecc_errors"),
    )


def _from_0(number: float | None) -> float | None:
    return None if number is None or number < 0 else number


def _share(number: float | None) -> float | None:
    return None if number is None or not 0 <= number <= 1 else number


def _known(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {name: _known(part) for name, part in value.items() if part is not None}
    if isinstance(value, list | tuple):
        return [_known(part) for part in value]
    return value
