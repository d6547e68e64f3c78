"""What the workers say of themselves and of their engines.

One that has stopped, or was forgotten, has no series. One that is stale or has failed keeps what is
still true: what it is, that its engine is down, its counters, and a stale one when it was heard of.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from ledger.workers import FAILED, STOPPED
from monitoring.families.family import Family, Labels, family
from monitoring.heartbeat import Heartbeat
from monitoring.metrics import WORKER_STATES
from monitoring.worker_states import GONE

NONE = "none"
"""The label of a worker that has no model, as the maintenance worker."""


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkerNow:
    """A worker, the state it is in now, when it was last heard of, and its last heartbeat."""

    name: str
    state: str
    seen_at: float | None
    beat: Heartbeat

    @property
    def model(self) -> str:
        """The label of its model."""
        return self.beat.model or NONE

    @property
    def backend(self) -> str:
        """The label of what it runs on."""
        return self.beat.backend or NONE

    @property
    def known(self) -> bool:
        """Whether it is expected to be there."""
        return self.state != STOPPED

    @property
    def awaited(self) -> bool:
        """Whether a heartbeat of it is due; what has failed has said so, and sends none."""
        return self.known and self.state != FAILED

    @property
    def current(self) -> bool:
        """Whether what it said last still holds."""
        return self.state not in GONE


def families(workers: Sequence[WorkerNow], errors: Mapping[str, int] | None = None) -> list[Family]:
    """The families of `monitoring.metrics.WORKERS` that come from heartbeats.

    `errors` are the lines of level error of processes that send none, by their names.
    """
    known = [worker for worker in workers if worker.known]
    current = [worker for worker in known if worker.current]
    with_engine = [worker for worker in current if worker.beat.model is not None]
    return [
        family("worker_info", {_info(worker): 1.0 for worker in known}),
        family("workers", _by_state(workers)),
        family(
            "worker_last_heartbeat_timestamp_seconds",
            _told(((worker.name,), worker.seen_at) for worker in known if worker.awaited),
        ),
        family("worker_slots", _of(current, "places")),
        family(
            "worker_cost_dollars_per_hour",
            _told(((worker.name,), worker.beat.cost_per_hour) for worker in current),
        ),
        family(
            "logged_errors_total",
            {(name,): float(count) for name, count in (errors or {}).items()}
            | _told(((worker.name,), worker.beat.logged_errors) for worker in known),
        ),
        family("engine_up", _engines_up(known)),
        family("engine_requests_running", _of(with_engine, "in_flight")),
        family("engine_requests_waiting", _of(with_engine, "waiting")),
        family("engine_kv_cache_usage_ratio", _of(with_engine, "kv_cache_usage")),
        family("engine_progress_timestamp_seconds", _of(with_engine, "progress_at")),
        family("engine_tokens_per_second", _of(with_engine, "tokens_per_s")),
    ]


def _told(pairs: Iterable[tuple[Labels, float | None]]) -> dict[Labels, float]:
    return {labels: value for labels, value in pairs if value is not None}


def _of(workers: Iterable[WorkerNow], fact: str) -> dict[Labels, float]:
    return _told(((worker.name, worker.model), getattr(worker.beat, fact)) for worker in workers)


def _info(worker: WorkerNow) -> Labels:
    beat = worker.beat
    gpu_name = beat.hardware.gpu_name or NONE
    return (worker.name, worker.model, worker.backend, beat.version or "unknown", gpu_name)


def _by_state(workers: Iterable[WorkerNow]) -> dict[Labels, float]:
    counted: dict[Labels, float] = {}
    for worker in workers:
        for state in WORKER_STATES:
            counted.setdefault((worker.model, worker.backend, state), 0.0)
        counted[worker.model, worker.backend, worker.state] += 1
    return counted


def _engines_up(workers: Iterable[WorkerNow]) -> dict[Labels, float]:
    return {
        (worker.name, worker.model): float(worker.current and worker.beat.engine_up is True)
        for worker in workers
        if worker.beat.model is not None
    }
