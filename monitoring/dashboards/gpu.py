"""The board of GPUs and the machines they are in."""

from __future__ import annotations

from monitoring.dashboards.board import Board, Panel, Query, Unit, Variable
from monitoring.dashboards.promql import age, grown, least, most, or_zero, rate, risen

_CARD = "{{worker}} GPU {{gpu}}"

BOARD = Board(
    uid="honeyflow-gpu",
    title="honeyflow / GPU",
    description="How warm, how full and how busy the cards are.",
    variables=(Variable.WORKER,),
    panels=(
        Panel(
            title="Utilisation",
            description="The share of time in which a card did anything.",
            unit=Unit.PERCENT,
            top=100,
            queries=(Query(expr=most("gpu_utilization_percent", "worker", "gpu"), legend=_CARD),),
        ),
        Panel(
            title="Temperature",
            description="Above 85 degrees somebody is told.",
            unit=Unit.CELSIUS,
            steps={85: "red"},
            queries=(Query(expr=most("gpu_temperature_celsius", "worker", "gpu"), legend=_CARD),),
        ),
        Panel(
            title="Power",
            description="What a card draws.",
            unit=Unit.WATTS,
            queries=(Query(expr=most("gpu_power_watts", "worker", "gpu"), legend=_CARD),),
        ),
        Panel(
            title="Memory in use",
            description="Of what there is on a card.",
            unit=Unit.RATIO,
            top=1,
            queries=(
                Query(
                    expr=f"{most('gpu_memory_used_bytes', 'worker', 'gpu')}"
                    f" / {most('gpu_memory_total_bytes', 'worker', 'gpu')}",
                    legend=_CARD,
                ),
            ),
        ),
        Panel(
            title="Energy",
            description="Drawn in the time shown.",
            unit=Unit.JOULES,
            queries=(Query(expr=risen("gpu_energy_joules_total", "worker", "gpu"), legend=_CARD),),
        ),
        Panel(
            title="Slowed down",
            description="The share of time in which a card was, by reason.",
            unit=Unit.RATIO,
            queries=(
                Query(
                    expr=or_zero(rate("gpu_throttle_seconds_total", "worker", "gpu", "reason")),
                    legend=f"{_CARD}, {{{{reason}}}}",
                ),
            ),
        ),
        Panel(
            title="Faults reported by the driver",
            description="Xid errors in the time shown.",
            unit=Unit.COUNT,
            steps={1: "red"},
            queries=(
                Query(
                    expr=or_zero(grown("gpu_xid_errors_total", "worker", "gpu", "xid")),
                    legend=f"{_CARD}, Xid {{{{xid}}}}",
                ),
            ),
        ),
        Panel(
            title="Memory errors",
            description="ECC errors in the time shown.",
            unit=Unit.COUNT,
            steps={1: "orange"},
            queries=(
                Query(
                    expr=or_zero(risen("gpu_ecc_errors_total", "worker", "gpu", "kind")),
                    legend=f"{_CARD}, {{{{kind}}}}",
                ),
            ),
        ),
        Panel(
            title="Last read",
            description="How long ago a worker looked at its cards and its machine. Where a driver "
            "or a disk hangs this grows, and the other figures end after three heartbeats.",
            unit=Unit.SECONDS,
            steps={90: "red"},
            queries=(
                Query(
                    expr=age("machine_last_read_timestamp_seconds", "worker"),
                    legend="{{worker}}",
                ),
            ),
        ),
        Panel(
            title="Memory left on the machine",
            description="Below 2 GB no worker starts.",
            unit=Unit.BYTES,
            queries=(
                Query(expr=least("host_memory_available_bytes", "worker"), legend="{{worker}}"),
            ),
        ),
        Panel(
            title="Memory of the machine",
            description="All of it.",
            unit=Unit.BYTES,
            queries=(Query(expr=most("host_memory_total_bytes", "worker"), legend="{{worker}}"),),
        ),
        Panel(
            title="Room on the data disk",
            description="Below 10 GB somebody is told.",
            unit=Unit.BYTES,
            queries=(
                Query(expr=least("host_disk_available_bytes", "worker"), legend="{{worker}}"),
            ),
        ),
        Panel(
            title="Data disk in use",
            description="The share of it.",
            unit=Unit.RATIO,
            top=1,
            queries=(
                Query(
                    expr=f"1 - {least('host_disk_available_bytes', 'worker')}"
                    f" / {least('host_disk_total_bytes', 'worker')}",
                    legend="{{worker}}",
                ),
            ),
        ),
    ),
)
