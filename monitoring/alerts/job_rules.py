"""Rules about jobs: how they end, how long they take, what waits."""

from __future__ import annotations

from monitoring.alerts.alert import Severity
from monitoring.alerts.budget_rules import DAY, ENDED_BADLY, HOUR, MINUTE
from monitoring.alerts.expressions import Age, Aggregate, Arithmetic, Combine, Compare, Expression
from monitoring.alerts.rule import Board, Rule
from monitoring.alerts.series import Limit, Rise, series
from monitoring.alerts.units import Unit


def by_model(how: str, of: Expression) -> Aggregate:
    """One value for each model."""
    return Aggregate(how="max" if how == "max" else "sum", by=("model",), of=of)


def _ended(window_s: int, *, badly: bool = False, per_second: bool = False) -> Aggregate:
    picked = series("jobs_total", status=ENDED_BADLY) if badly else series("jobs_total")
    return by_model("sum", Rise(of=picked, window_s=window_s, per_second=per_second))


WAITING = by_model("sum", series("queue_length"))
_TIMEOUTS = Rise(of=series("job_attempts_total", outcome="timeout"), window_s=5 * MINUTE)
_LONGEST_RUN = by_model("max", series("oldest_running_job_age_seconds"))

RULES = (
    Rule(
        name="HighErrorRate",
        expression=Combine(
            left=Compare(
                of=Arithmetic(
                    left=_ended(10 * MINUTE, badly=True, per_second=True),
                    op="/",
                    right=_ended(10 * MINUTE, per_second=True),
                ),
                op=">",
                limit=0.10,
            ),
            op="and",
            on=("model",),
            right=Compare(of=_ended(10 * MINUTE), op=">=", limit=10),
        ),
        for_s=2 * MINUTE,
        severity=Severity.PAGE,
        unit=Unit.RATIO,
        summary="{value} of the jobs of {model} fail",
        description=(
            "Of the jobs of {model} that ended within the last 10 minutes, {value} failed, expired "
            "or died."
        ),
        board=Board.JOBS,
    ),
    Rule(
        name="LowConfidenceStreak",
        expression=Compare(
            of=by_model("max", series("low_confidence_streak_jobs")), op=">=", limit=5
        ),
        severity=Severity.WARNING,
        summary="{value} answers in a row of {model} are in doubt",
        description=(
            "The last {value} answers of {model} all had so little confidence that people should "
            "look at them."
        ),
        board=Board.JOBS,
    ),
    Rule(
        name="JobTimeout",
        expression=Combine(
            left=Compare(of=by_model("sum", _TIMEOUTS), op=">", limit=0),
            op="or",
            # As 1, so that both sides count runs.
            right=Compare(
                of=Compare(of=_LONGEST_RUN, op=">", limit=300, told=True), op=">", limit=0
            ),
        ),
        severity=Severity.WARNING,
        summary="Jobs of {model} take longer than they may",
        description=(
            "{value} runs of jobs of {model} were ended by their time limit within the last 5 "
            "minutes, or are still going on after 300 s."
        ),
        board=Board.JOBS,
    ),
    Rule(
        name="QueueBacklog",
        expression=Compare(of=WAITING, op=">", limit=100),
        for_s=2 * MINUTE,
        keep_firing_s=2 * MINUTE,
        severity=Severity.WARNING,
        summary="{value} jobs wait for {model}",
        description="{value} jobs of {model} are due and wait for a worker.",
        board=Board.QUEUE,
    ),
    Rule(
        name="NoWorkerForModel",
        expression=Combine(
            left=Compare(of=WAITING, op=">", limit=0),
            op="unless",
            on=("model",),
            right=Compare(
                of=by_model("sum", series("workers", state=("idle", "busy"))), op=">", limit=0
            ),
        ),
        for_s=MINUTE,
        severity=Severity.PAGE,
        summary="No worker runs {model}, and {value} jobs wait",
        description="{value} jobs of {model} wait, and no worker that serves it is idle or busy.",
        board=Board.QUEUE,
    ),
    Rule(
        name="DeadLetters",
        # Dead jobs stay in the ledger for ever, so what counts is that some have died lately.
        expression=Compare(
            of=by_model("sum", Rise(of=series("jobs_total", status="dead"), window_s=HOUR)),
            op=">",
            limit=0,
        ),
        severity=Severity.TICKET,
        summary="{value} jobs of {model} died",
        description=(
            "{value} jobs of {model} brought their worker down three times each within the last "
            "hour and will not be run again."
        ),
        board=Board.JOBS,
    ),
    Rule(
        name="QuarantinedMessages",
        expression=Compare(
            of=Aggregate(
                how="sum",
                by=("reason",),
                of=Rise(of=series("quarantined_messages_total"), window_s=10 * MINUTE),
            ),
            op=">",
            limit=0,
        ),
        severity=Severity.PAGE,
        summary="{value} messages were none ({reason})",
        description=(
            "{value} messages came out of a queue within the last 10 minutes that no client of "
            "this cluster sends ({reason}). They were not run."
        ),
        board=Board.QUEUE,
    ),
    Rule(
        name="CanaryStale",
        expression=Compare(
            of=Age(of=by_model("max", series("canary_last_success_timestamp_seconds"))),
            op=">",
            limit=Limit(rule="CanaryStale", unset=300),
        ),
        severity=Severity.PAGE,
        unit=Unit.DURATION,
        summary="No canary of {model} came back for {value}",
        description=(
            "Of the small jobs that go through every part of the cluster, none for {model} has "
            "been answered for {value}."
        ),
        board=Board.OVERVIEW,
    ),
    Rule(
        name="ReconcilerStale",
        expression=Compare(
            of=Age(
                of=Aggregate(how="max", by=(), of=series("reconciler_last_run_timestamp_seconds"))
            ),
            op=">",
            limit=60,
        ),
        # It waits for Redis: where that is the cause, RedisDown has to be told first.
        for_s=40,
        severity=Severity.PAGE,
        unit=Unit.DURATION,
        summary="Nobody has reconciled for {value}",
        description=(
            "For {value} no worker has looked for lost messages, lost workers, deadlines and "
            "retries that are due."
        ),
        board=Board.QUEUE,
    ),
    Rule(
        name="ReviewOverdue",
        expression=Compare(
            of=Aggregate(how="max", by=(), of=series("review_oldest_open_age_seconds")),
            op=">",
            limit=DAY,
        ),
        severity=Severity.PAGE,
        unit=Unit.DURATION,
        summary="An answer in doubt has waited {value} for a person",
        description=(
            "The oldest answer that a person should look at has waited {value} and nobody has "
            "decided about it; it should take a day at most."
        ),
        board=Board.RECEIPTS,
    ),
)
