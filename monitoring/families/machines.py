"""What the workers say of their GPUs and of the machines they run on."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from monitoring.families.family import Family, Labels, family
from monitoring.families.workers import WorkerNow
from monitoring.heartbeat import Reading
from monitoring.metrics import OTHER

XIDS = tuple(str(code) for code in (13, 31, 43, 45, 48, 63, 64, 74, 79, 94, 95, 119, 140))
"""The faults that have a series of their own; the others share one, and their events tell them."""

THROTTLE_REASONS = ("thermal", "power", "hw")
ECC_KINDS = ("corrected", "uncorrected")

_GAUGES = (
    "utilization_percent",
    "temperature_celsius",
    "memory_used_bytes",
    "memory_total_bytes",
    "power_watts",
)
_HOST = (
    "memory_available_bytes",
    "memory_total_bytes",
    "disk_available_bytes",
    "disk_total_bytes",
)


def families(workers: Sequence[WorkerNow]) -> list[Family]:
    """The families of `monitoring.metrics.MACHINES`."""
    known = [worker for worker in workers if worker.known]
    current = [worker for worker in known if worker.current]
    return [
        *(family(f"gpu_{fact}", _readings(current, fact)) for fact in _GAUGES),
        family("gpu_energy_joules_total", _readings(known, "energy_joules")),
        family("gpu_xid_errors_total", _faults(known)),
        family("gpu_throttle_seconds_total", _split(known, "throttle_seconds", THROTTLE_REASONS)),
        family("gpu_ecc_errors_total", _split(known, "ecc_errors", ECC_KINDS)),
        family("machine_last_read_timestamp_seconds", _looked_at(current)),
        *(family(f"host_{fact}", _host(current, fact)) for fact in _HOST),
    ]


def _all(workers: Iterable[WorkerNow]) -> Iterator[tuple[Labels, Reading]]:
    for worker in workers:
        for reading in worker.beat.readings:
            yield (worker.name, reading.gpu), reading


def _readings(workers: Iterable[WorkerNow], fact: str) -> dict[Labels, float]:
    told = ((labels, getattr(reading, fact)) for labels, reading in _all(workers))
    return {labels: value for labels, value in told if value is not None}


def _faults(workers: Iterable[WorkerNow]) -> dict[Labels, float]:
    counted: dict[Labels, float] = {}
    for labels, reading in _all(workers):
        if reading.xid is None:
            continue
        # All of them, so that a first fault is a rise, also the first after a restart.
        counted |= {(*labels, xid): 0.0 for xid in (*XIDS, OTHER)}
        for xid, times in reading.xid.items():
            counted[*labels, xid if xid in XIDS else OTHER] += times
    return counted


def _split(workers: Iterable[WorkerNow], fact: str, kinds: Sequence[str]) -> dict[Labels, float]:
    counted: dict[Labels, float] = {}
    for labels, reading in _all(workers):
        amounts = getattr(reading, fact)
        if amounts is not None:
            counted |= {(*labels, kind): float(amounts.get(kind, 0)) for kind in kinds}
    return counted


def _looked_at(workers: Iterable[WorkerNow]) -> dict[Labels, float]:
    """By the ledger's clock, as a heartbeat's own time is."""
    return {
        (worker.name,): worker.seen_at - worker.beat.machine_age_s
        for worker in workers
        if worker.seen_at is not None and worker.beat.machine_age_s is not None
    }


def _host(workers: Iterable[WorkerNow], fact: str) -> dict[Labels, float]:
    told = ((worker.name, getattr(worker.beat.host, fact)) for worker in workers)
    return {(name,): value for name, value in told if value is not None}
