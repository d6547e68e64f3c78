"""Rules about workers, their engines, GPUs and disks."""

from __future__ import annotations

from monitoring.alerts.alert import Severity
from monitoring.alerts.budget_rules import MINUTE
from monitoring.alerts.expressions import Age, Aggregate, Arithmetic, Combine, Compare, Expression
from monitoring.alerts.rule import Board, Rule
from monitoring.alerts.series import Limit, series
from monitoring.alerts.units import Unit


def _by_worker(of: Expression) -> Aggregate:
    return Aggregate(how="max", by=("worker",), of=of)


_HEARD = _by_worker(series("worker_last_heartbeat_timestamp_seconds"))

RULES = (
    Rule(
        name="WorkerStale",
        expression=Compare(of=Age(of=_HEARD), op=">", limit=Limit(rule="WorkerStale", unset=60)),
        severity=Severity.PAGE,
        unit=Unit.DURATION,
        summary="{worker} has been silent for {value}",
        description=(
            "The last heartbeat of {worker} came {value} ago. Its jobs were given to others; it "
            "was not stopped by anybody."
        ),
        board=Board.WORKERS,
    ),
    Rule(
        name="EngineStuck",
        # As it was at the last heartbeat: a worker that is silent is another alert.
        expression=Combine(
            left=Compare(
                of=Arithmetic(
                    left=_HEARD,
                    op="-",
                    right=_by_worker(series("engine_progress_timestamp_seconds")),
                ),
                op=">",
                limit=60,
            ),
            op="and",
            on=("worker",),
            right=Compare(of=_by_worker(series("engine_requests_running")), op=">", limit=0),
        ),
        # Longer than a heartbeat's period, so that two heartbeats must have said so.
        for_s=40,
        severity=Severity.PAGE,
        unit=Unit.DURATION,
        summary="The engine of {worker} stands still",
        description=(
            "The engine of {worker} has requests in hand and has written no token for {value}."
        ),
        board=Board.WORKERS,
    ),
    Rule(
        name="GpuHot",
        expression=Compare(
            of=Aggregate(how="max", by=("gpu", "worker"), of=series("gpu_temperature_celsius")),
            op=">",
            limit=85,
        ),
        for_s=MINUTE,
        keep_firing_s=5 * MINUTE,
        severity=Severity.WARNING,
        unit=Unit.CELSIUS,
        summary="GPU {gpu} of {worker} is at {value}",
        description="GPU {gpu} of {worker} is at {value}; above 85 °C it slows down and ages.",
        board=Board.GPU,
    ),
    Rule(
        name="DiskLow",
        expression=Compare(
            of=Aggregate(how="min", by=("worker",), of=series("host_disk_available_bytes")),
            op="<",
            limit=10e9,
        ),
        for_s=5 * MINUTE,
        severity=Severity.WARNING,
        unit=Unit.BYTES,
        summary="{value} of disk left on the machine of {worker}",
        description=(
            "The disk that holds the data of {worker} has {value} left; a worker needs 10 GB."
        ),
        board=Board.WORKERS,
    ),
)
