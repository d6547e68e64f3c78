"""The board of queues and the broker."""

from __future__ import annotations

from monitoring.dashboards.board import Board, Kind, Panel, Query, Unit, Variable
from monitoring.dashboards.promql import age, grown, most, or_zero, quantile, series, total

BOARD = Board(
    uid="honeyflow-queue",
    title="honeyflow / Queue and broker",
    description="What waits, for how long, and whether Redis and the reconciler do their part.",
    variables=(Variable.MODEL,),
    panels=(
        Panel(
            title="Waiting, by model",
            description="Above 100 somebody is told.",
            unit=Unit.COUNT,
            steps={100: "red"},
            queries=(Query(expr=total("queue_length", "model"), legend="{{model}}"),),
        ),
        Panel(
            title="Waiting, by priority",
            description="Jobs that are due.",
            unit=Unit.COUNT,
            stacked=True,
            queries=(
                Query(
                    expr=total("jobs_current", "priority", state="queued"), legend="{{priority}}"
                ),
            ),
        ),
        Panel(
            title="First in line",
            description="How long it has waited.",
            unit=Unit.SECONDS,
            queries=(
                Query(expr=most("oldest_queued_job_age_seconds", "model"), legend="{{model}}"),
            ),
        ),
        Panel(
            title="Wait, half and 99 of 100",
            description="What they wait at most.",
            unit=Unit.SECONDS,
            queries=(
                Query(
                    expr=quantile(0.5, "job_queue_wait_seconds", "model"), legend="{{model}}, half"
                ),
                Query(
                    expr=quantile(0.99, "job_queue_wait_seconds", "model"),
                    legend="{{model}}, 99 of 100",
                ),
            ),
        ),
        Panel(
            title="Put in order by the reconciler",
            description="In the time shown; a few after a restart are well.",
            unit=Unit.COUNT,
            queries=(
                Query(
                    expr=or_zero(grown("reconciler_actions_total", "action")), legend="{{action}}"
                ),
            ),
        ),
        Panel(
            title="Quarantined",
            description="What came out of a queue and was no message, in the time shown.",
            unit=Unit.COUNT,
            steps={1: "red"},
            queries=(
                Query(
                    expr=or_zero(grown("quarantined_messages_total", "reason")), legend="{{reason}}"
                ),
            ),
        ),
        Panel(
            title="Reconciler, last look",
            description="How long ago.",
            unit=Unit.SECONDS,
            kind=Kind.NUMBER,
            width=4,
            steps={60: "red"},
            queries=(Query(expr=age("reconciler_last_run_timestamp_seconds")),),
        ),
        Panel(
            title="Beat, last run",
            description="How long ago.",
            unit=Unit.SECONDS,
            kind=Kind.NUMBER,
            width=4,
            steps={120: "red"},
            queries=(Query(expr=age("beat_last_run_timestamp_seconds")),),
        ),
        Panel(
            title="Redis answers",
            description="1 for yes.",
            unit=Unit.YES_OR_NO,
            kind=Kind.NUMBER,
            width=4,
            queries=(Query(expr=series("broker_up")),),
        ),
        Panel(
            title="Redis keeps its file",
            description="1 for yes: messages outlive a restart.",
            unit=Unit.YES_OR_NO,
            kind=Kind.NUMBER,
            width=4,
            queries=(Query(expr=series("broker_aof_enabled")),),
        ),
        Panel(
            title="Redis, memory",
            description="What it uses, and what it may use; 0 for no limit.",
            unit=Unit.BYTES,
            queries=(
                Query(expr=series("broker_memory_used_bytes"), legend="in use"),
                Query(expr=series("broker_memory_max_bytes"), legend="limit"),
            ),
        ),
        Panel(
            title="Redis, connections",
            description="Of everybody.",
            unit=Unit.COUNT,
            queries=(Query(expr=series("broker_connected_clients"), legend="connections"),),
        ),
    ),
)
