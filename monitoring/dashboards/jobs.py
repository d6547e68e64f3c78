"""The board of jobs: how many, how long, how sure, and what they cost in samples."""

from __future__ import annotations

from monitoring.dashboards.board import Board, Kind, Panel, Query, Unit, Variable
from monitoring.dashboards.promql import (
    average,
    buckets,
    most,
    or_zero,
    quantile,
    rate,
    series,
    total,
)

BOARD = Board(
    uid="honeyflow-jobs",
    title="honeyflow / Jobs",
    description="What becomes of jobs, by model.",
    variables=(Variable.MODEL,),
    panels=(
        Panel(
            title="Jobs ended, by model",
            description="However they ended.",
            unit=Unit.PER_MINUTE,
            queries=(Query(expr=f"60 * {rate('jobs_total', 'model')}", legend="{{model}}"),),
        ),
        Panel(
            title="Jobs accepted, by origin",
            description="Where they came from.",
            unit=Unit.PER_MINUTE,
            queries=(
                Query(expr=f"60 * {rate('jobs_submitted_total', 'origin')}", legend="{{origin}}"),
            ),
        ),
        Panel(
            title="Open jobs, by state",
            description="Jobs that have not ended.",
            unit=Unit.COUNT,
            stacked=True,
            queries=(Query(expr=total("jobs_current", "state"), legend="{{state}}"),),
        ),
        Panel(
            title="Time on the engine",
            description="Of one run: what half and 95 of 100 take at most.",
            unit=Unit.SECONDS,
            queries=(
                Query(
                    expr=quantile(0.5, "inference_duration_seconds", "model"),
                    legend="{{model}}, half",
                ),
                Query(
                    expr=quantile(0.95, "inference_duration_seconds", "model"),
                    legend="{{model}}, 95 of 100",
                ),
            ),
        ),
        Panel(
            title="Time on the engine, all",
            description="How many runs took how long.",
            unit=Unit.SECONDS,
            kind=Kind.HEATMAP,
            queries=(Query(expr=buckets("inference_duration_seconds"), legend="{{le}}"),),
        ),
        Panel(
            title="Runs, by how they ended",
            description="A job can take several.",
            unit=Unit.PER_MINUTE,
            stacked=True,
            queries=(
                Query(expr=f"60 * {rate('job_attempts_total', 'outcome')}", legend="{{outcome}}"),
            ),
        ),
        Panel(
            title="Samples an answer rests on",
            description="The mean K.",
            unit=Unit.COUNT,
            queries=(Query(expr=average("k_samples_used", "model"), legend="{{model}}"),),
        ),
        Panel(
            title="Samples drawn, by what became of them",
            description="What is discarded or failed is the price of being sure.",
            unit=Unit.PER_SECOND,
            stacked=True,
            queries=(Query(expr=rate("samples_total", "outcome"), legend="{{outcome}}"),),
        ),
        Panel(
            title="Confidence",
            description="The mean, from 0 to 100.",
            unit=Unit.PERCENT,
            top=100,
            queries=(Query(expr=average("confidence_score", "model"), legend="{{model}}"),),
        ),
        Panel(
            title="Confidence, all",
            description="How many answers were how sure.",
            unit=Unit.PERCENT,
            kind=Kind.HEATMAP,
            queries=(Query(expr=buckets("confidence_score"), legend="{{le}}"),),
        ),
        Panel(
            title="Answers in doubt, in a row",
            description="How many of the last answers of a model people should look at.",
            unit=Unit.COUNT,
            steps={5: "orange"},
            queries=(Query(expr=most("low_confidence_streak_jobs", "model"), legend="{{model}}"),),
        ),
        Panel(
            title="Tokens",
            description="Read and written by the engines.",
            unit=Unit.PER_SECOND,
            queries=(Query(expr=rate("tokens_total", "direction"), legend="{{direction}}"),),
        ),
        Panel(
            title="From a call-off to its effect",
            description="What 95 of 100 take at most; 2 s are promised.",
            unit=Unit.SECONDS,
            steps={2: "orange"},
            queries=(
                Query(expr=quantile(0.95, "cancel_duration_seconds", "model"), legend="{{model}}"),
            ),
        ),
        Panel(
            title="Jobs that shared another's execution",
            description="Like requests under way at the same time.",
            unit=Unit.PER_MINUTE,
            queries=(
                Query(expr=or_zero(f"60 * {rate('deduplicated_requests_total')}"), legend="shared"),
            ),
        ),
        Panel(
            title="Canaries, whole",
            description="What half of them take at most; empty where none are sent.",
            unit=Unit.SECONDS,
            queries=(
                Query(expr=quantile(0.5, "canary_duration_seconds", "model"), legend="{{model}}"),
            ),
        ),
        Panel(
            title="Longest run now",
            description="How long the oldest running job has been at it.",
            unit=Unit.SECONDS,
            steps={300: "red"},
            queries=(Query(expr=series("oldest_running_job_age_seconds"), legend="{{model}}"),),
        ),
    ),
)
