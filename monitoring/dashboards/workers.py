"""The board of workers and their engines."""

from __future__ import annotations

from monitoring.dashboards.board import Board, Kind, Panel, Query, Unit, Variable
from monitoring.dashboards.promql import (
    age,
    grown,
    least,
    most,
    or_zero,
    quantile,
    series,
    total,
)

BOARD = Board(
    uid="honeyflow-workers",
    title="honeyflow / Workers and engines",
    description="Who is there, what they are at, and how their engines get on.",
    variables=(Variable.MODEL, Variable.WORKER),
    panels=(
        Panel(
            title="Workers, by state",
            description="All that the ledger knows.",
            unit=Unit.COUNT,
            stacked=True,
            queries=(Query(expr=total("workers", "state"), legend="{{state}}"),),
        ),
        Panel(
            title="Last heard of",
            description="After 60 s, or `timing.stale_s`, a worker is stale.",
            unit=Unit.SECONDS,
            steps={60: "red"},
            queries=(
                Query(
                    expr=age("worker_last_heartbeat_timestamp_seconds", "worker"),
                    legend="{{worker}}",
                ),
            ),
        ),
        Panel(
            title="Who they are",
            description="Model, backend, version and GPU of each.",
            unit=Unit.COUNT,
            kind=Kind.TABLE,
            queries=(Query(expr=series("worker_info")),),
        ),
        Panel(
            title="Engines that can answer",
            description="1 for yes.",
            unit=Unit.YES_OR_NO,
            kind=Kind.TIMELINE,
            queries=(Query(expr=least("engine_up", "worker"), legend="{{worker}}"),),
        ),
        Panel(
            title="Samples in flight",
            description="What each engine is at.",
            unit=Unit.COUNT,
            queries=(Query(expr=total("engine_requests_running", "worker"), legend="{{worker}}"),),
        ),
        Panel(
            title="Samples that wait for a place",
            description="In the workers; jobs in the queues are not among them.",
            unit=Unit.COUNT,
            queries=(Query(expr=total("engine_requests_waiting", "worker"), legend="{{worker}}"),),
        ),
        Panel(
            title="Tokens written",
            description="By each engine, since the heartbeat before.",
            unit=Unit.PER_SECOND,
            queries=(Query(expr=total("engine_tokens_per_second", "worker"), legend="{{worker}}"),),
        ),
        Panel(
            title="KV cache",
            description="How full it is, where the engine tells.",
            unit=Unit.RATIO,
            top=1,
            queries=(
                Query(expr=most("engine_kv_cache_usage_ratio", "worker"), legend="{{worker}}"),
            ),
        ),
        Panel(
            title="Last progress",
            description="How long ago an engine wrote a token.",
            unit=Unit.SECONDS,
            queries=(
                Query(expr=age("engine_progress_timestamp_seconds", "worker"), legend="{{worker}}"),
            ),
        ),
        Panel(
            title="Time to the first token",
            description="What 95 of 100 samples take at most.",
            unit=Unit.SECONDS,
            queries=(
                Query(
                    expr=quantile(0.95, "time_to_first_token_seconds", "model"),
                    legend="{{model}}",
                ),
            ),
        ),
        Panel(
            title="Time between two tokens",
            description="What 95 of 100 samples take at most, on the mean of each.",
            unit=Unit.SECONDS,
            queries=(
                Query(
                    expr=quantile(0.95, "inter_token_latency_seconds", "model"),
                    legend="{{model}}",
                ),
            ),
        ),
        Panel(
            title="Time to load a model",
            description="What half of the loads take at most.",
            unit=Unit.SECONDS,
            queries=(
                Query(
                    expr=quantile(0.5, "model_load_duration_seconds", "model"),
                    legend="{{model}}",
                ),
            ),
        ),
        Panel(
            title="Starts",
            description="How often each worker started, in the time shown.",
            unit=Unit.COUNT,
            queries=(Query(expr=grown("worker_starts_total", "worker"), legend="{{worker}}"),),
        ),
        Panel(
            title="Starts that failed",
            description="By code, in the time shown.",
            unit=Unit.COUNT,
            steps={1: "red"},
            queries=(
                Query(
                    expr=or_zero(grown("worker_start_failures_total", "reason")),
                    legend="{{reason}}",
                ),
            ),
        ),
        Panel(
            title="Found unwell",
            description="By what told, in the time shown.",
            unit=Unit.COUNT,
            steps={1: "orange"},
            queries=(
                Query(
                    expr=or_zero(grown("worker_health_check_failures_total", "check")),
                    legend="{{check}}",
                ),
            ),
        ),
        Panel(
            title="Silent for too long",
            description="How often, in the time shown.",
            unit=Unit.COUNT,
            steps={1: "orange"},
            queries=(
                Query(expr=or_zero(grown("worker_stale_total", "worker")), legend="{{worker}}"),
            ),
        ),
        Panel(
            title="Errors in the logs",
            description="Lines of level error, in the time shown.",
            unit=Unit.COUNT,
            steps={1: "orange"},
            queries=(
                Query(expr=or_zero(grown("logged_errors_total", "worker")), legend="{{worker}}"),
            ),
        ),
        Panel(
            title="Versions",
            description="What the exporters run.",
            unit=Unit.COUNT,
            kind=Kind.TABLE,
            queries=(Query(expr=series("build_info")),),
        ),
    ),
)
