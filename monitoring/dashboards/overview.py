"""The first board: is the cluster well, and is it busy?"""

from __future__ import annotations

from monitoring.dashboards.board import Board, Kind, Panel, Query, Unit, Variable
from monitoring.dashboards.promql import (
    age,
    grown,
    most,
    or_zero,
    quantile,
    rate,
    risen,
    series,
    total,
)

FAILED = "failed|dead|expired"
COUNTED = "succeeded|failed|dead|expired"
OBJECTIVE = 0.995
"""Which share of the accepted jobs shall succeed."""

_BUDGET = f"{1 - OBJECTIVE:.3f}"

BOARD = Board(
    uid="honeyflow-overview",
    title="honeyflow / Overview",
    description="Whether jobs are answered, how soon, and what stands in the way.",
    variables=(Variable.MODEL,),
    panels=(
        Panel(
            title="Jobs answered",
            description="Jobs that ended with an answer, in the time shown.",
            unit=Unit.COUNT,
            kind=Kind.NUMBER,
            width=4,
            height=4,
            queries=(Query(expr=grown("jobs_total", status="succeeded")),),
        ),
        Panel(
            title="Jobs that failed",
            description="Jobs that failed, crashed their workers or came too late, in that time.",
            unit=Unit.COUNT,
            kind=Kind.NUMBER,
            width=4,
            height=4,
            steps={1: "orange"},
            queries=(Query(expr=or_zero(grown("jobs_total", status=FAILED))),),
        ),
        Panel(
            title="Error budget left",
            description=f"Of the share that may fail ({_BUDGET}), what is left over 30 days.",
            unit=Unit.RATIO,
            kind=Kind.NUMBER,
            width=4,
            height=4,
            at_once=True,
            queries=(
                Query(
                    expr="1 - "
                    f"({risen('jobs_total', during='30d', status=FAILED)}"
                    f" / ({risen('jobs_total', during='30d', status=COUNTED)} > 0)"
                    f" or vector(0)) / {_BUDGET}"
                ),
            ),
        ),
        Panel(
            title="Waiting",
            description="Jobs that are due and wait for a worker.",
            unit=Unit.COUNT,
            kind=Kind.NUMBER,
            width=4,
            height=4,
            steps={100: "red"},
            queries=(Query(expr=total("queue_length")),),
        ),
        Panel(
            title="Workers that can work",
            description="Workers that are idle or busy.",
            unit=Unit.COUNT,
            kind=Kind.NUMBER,
            width=4,
            height=4,
            queries=(Query(expr=or_zero(total("workers", state="idle|busy"))),),
        ),
        Panel(
            title="Workers in trouble",
            description="Workers that are silent or have failed.",
            unit=Unit.COUNT,
            kind=Kind.NUMBER,
            width=4,
            height=4,
            steps={1: "red"},
            queries=(Query(expr=or_zero(total("workers", state="stale|failed"))),),
        ),
        Panel(
            title="Jobs a minute",
            description="Jobs that ended, by how.",
            unit=Unit.PER_MINUTE,
            width=12,
            stacked=True,
            queries=(Query(expr=f"60 * {rate('jobs_total', 'status')}", legend="{{status}}"),),
        ),
        Panel(
            title="Share of jobs that fail",
            description="Of the jobs that ended, without those that were called off.",
            unit=Unit.RATIO,
            width=12,
            steps={0.1: "red"},
            queries=(
                Query(
                    expr=or_zero(
                        f"{grown('jobs_total', during='$__rate_interval', status=FAILED)}"
                        f" / ({grown('jobs_total', during='$__rate_interval', status=COUNTED)} > 0)"
                    ),
                    legend="failing",
                ),
            ),
        ),
        Panel(
            title="Wait for a worker, 95 of 100",
            description="What 95 of 100 jobs wait at most, by priority.",
            unit=Unit.SECONDS,
            width=12,
            queries=(
                Query(
                    expr=quantile(0.95, "job_queue_wait_seconds", "priority"),
                    legend="{{priority}}",
                ),
            ),
        ),
        Panel(
            title="From acceptance to the end, 95 of 100",
            description="What 95 of 100 jobs take at most; 80 s is what people were promised.",
            unit=Unit.SECONDS,
            width=12,
            steps={80: "orange"},
            queries=(
                Query(expr=quantile(0.95, "job_duration_seconds", "model"), legend="{{model}}"),
            ),
        ),
        Panel(
            title="Samples in flight",
            description="How full the engines are kept, beside the places they have.",
            unit=Unit.COUNT,
            width=12,
            queries=(
                Query(expr=total("engine_requests_running", worker=".*"), legend="in flight"),
                Query(expr=total("worker_slots", worker=".*"), legend="places"),
            ),
        ),
        Panel(
            title="Last canary answered",
            description="How long ago; empty where no canaries are sent.",
            unit=Unit.SECONDS,
            kind=Kind.NUMBER,
            width=4,
            queries=(
                Query(
                    expr=f"{age('canary_last_success_timestamp_seconds', 'model')}",
                    legend="{{model}}",
                ),
            ),
        ),
        Panel(
            title="Limits that follow settings",
            description="After how many seconds a worker is silent, or a canary overdue.",
            unit=Unit.SECONDS,
            kind=Kind.NUMBER,
            width=4,
            queries=(Query(expr=most("alert_limit_seconds", "rule"), legend="{{rule}}"),),
        ),
        Panel(
            title="Firing alerts",
            description="What people are being told.",
            unit=Unit.COUNT,
            kind=Kind.NUMBER,
            width=4,
            steps={1: "red"},
            queries=(
                Query(expr='count(ALERTS{alertstate="firing", severity!="none"}) or vector(0)'),
            ),
        ),
        Panel(
            title="Cost an hour",
            description="Of the workers that report, as configured.",
            unit=Unit.DOLLARS_PER_HOUR,
            kind=Kind.NUMBER,
            width=4,
            queries=(Query(expr=f"sum({series('worker_cost_dollars_per_hour', worker='.*')})"),),
        ),
        Panel(
            title="Exporter's arrears",
            description="Moves of jobs that the figures on these boards do not have yet.",
            unit=Unit.COUNT,
            width=12,
            queries=(Query(expr=most("exporter_lag_changes"), legend="moves"),),
        ),
    ),
)
