"""Rules about what the cluster stands on: Redis, beat, the log of receipts, and watching itself."""

from __future__ import annotations

from typing import Literal

from monitoring.alerts.alert import Severity
from monitoring.alerts.budget_rules import MINUTE
from monitoring.alerts.expressions import Age, Aggregate, Arithmetic, Combine, Compare
from monitoring.alerts.rule import Board, Rule
from monitoring.alerts.series import Absent, Always, Rise, Series, foreign, series
from monitoring.alerts.units import Unit


def _lost(by: str, of: Series, *, window_s: int) -> Compare:
    rise = Rise(of=of, window_s=window_s)
    return Compare(of=Aggregate(how="sum", by=(by,), of=rise), op=">", limit=0)


def _by_channel(how: Literal["sum", "max"], name: str) -> Aggregate:
    return Aggregate(how=how, by=("channel",), of=series(name))


# What waits is tried once a minute at least, unless the channel itself asks for more time. That it
# was tried says little: what is replaced by something newer, or refused thrice, waits no longer.
_NOBODY_TAKES = Combine(
    left=Compare(of=_by_channel("sum", "alert_outbox_length"), op=">", limit=0),
    op="unless",
    on=("channel",),
    right=Compare(
        of=Age(of=_by_channel("max", "alert_last_delivery_timestamp_seconds")),
        op="<=",
        limit=MINUTE,
    ),
)
_OLDEST_UNSEALED = Compare(of=series("receipts_oldest_unsealed_timestamp_seconds"), op=">", limit=0)

RULES = (
    Rule(
        name="RedisDown",
        expression=Compare(
            of=Aggregate(how="min", by=(), of=series("broker_up")), op="==", limit=0
        ),
        for_s=MINUTE,
        # Until what waited for Redis has gone on, for that is kept quiet meanwhile.
        keep_firing_s=MINUTE,
        severity=Severity.PAGE,
        summary="Redis does not answer",
        description=(
            "Redis has not answered for a minute. No job is lost, and none begins before it does."
        ),
        board=Board.QUEUE,
        unseen="what beat asks for travels through Redis",
    ),
    Rule(
        name="RedisNoAof",
        expression=Compare(
            of=Aggregate(how="min", by=(), of=series("broker_aof_enabled")), op="==", limit=0
        ),
        severity=Severity.PAGE,
        summary="Redis keeps no append-only file",
        description=(
            "Redis writes no append-only file: if it restarts, every message in it is gone and "
            "must be sent again from the ledger."
        ),
        board=Board.QUEUE,
    ),
    Rule(
        name="RedisMemoryHigh",
        expression=Compare(
            of=Arithmetic(
                left=Aggregate(how="max", by=(), of=series("broker_memory_used_bytes")),
                op="/",
                right=Compare(
                    of=Aggregate(how="max", by=(), of=series("broker_memory_max_bytes")),
                    op=">",
                    limit=0,
                ),
            ),
            op=">",
            limit=0.8,
        ),
        for_s=5 * MINUTE,
        severity=Severity.PAGE,
        unit=Unit.RATIO,
        summary="Redis has filled {value} of its memory",
        description=(
            "Redis uses {value} of the memory that it may use; when it is full it refuses every "
            "message."
        ),
        board=Board.QUEUE,
    ),
    Rule(
        name="BeatStale",
        expression=Compare(
            of=Age(of=Aggregate(how="max", by=(), of=series("beat_last_run_timestamp_seconds"))),
            op=">",
            limit=120,
        ),
        severity=Severity.PAGE,
        unit=Unit.DURATION,
        summary="Beat has been silent for {value}",
        description=(
            "Nothing that beat sends was run for {value}: silent workers are not noticed, receipts "
            "not sealed and reports not stored."
        ),
        unseen="beat is what drives it",
    ),
    Rule(
        name="ReceiptsUnsealed",
        expression=Compare(
            of=Age(of=Aggregate(how="min", by=(), of=_OLDEST_UNSEALED)), op=">", limit=900
        ),
        # A log is sealed when its oldest receipt has waited for 900 s, which takes a moment.
        for_s=5 * MINUTE,
        severity=Severity.TICKET,
        unit=Unit.DURATION,
        summary="A receipt has waited {value} for its place in a log",
        description=(
            "The oldest receipt that is in no log yet was written {value} ago; it should have been "
            "sealed after 15 minutes."
        ),
        board=Board.RECEIPTS,
    ),
    Rule(
        name="AlertDeliveryFailing",
        expression=Combine(
            left=Combine(
                left=_NOBODY_TAKES,
                op="or",
                right=_lost(
                    "channel", series("alerts_sent_total", outcome="failed"), window_s=15 * MINUTE
                ),
            ),
            op="or",
            # It tries again at every interval of a group. One lost post is over before it counts.
            right=_lost(
                "integration", foreign("alertmanager_notifications_failed_total"), window_s=90
            ),
        ),
        for_s=2 * MINUTE,
        severity=Severity.TICKET,
        summary="{value} messages to people do not get through",
        description=(
            "{value} messages wait for a channel that has taken none for 2 minutes, or were given "
            "up; the label says by whom."
        ),
    ),
    Rule(
        name="TargetDown",
        # Of several exporters only one answers, so what counts is the best of a job's targets.
        expression=Compare(
            of=Aggregate(how="max", by=("job",), of=foreign("up")), op="==", limit=0
        ),
        for_s=MINUTE,
        severity=Severity.PAGE,
        summary="No target of {job} answers Prometheus",
        description=(
            "Prometheus could scrape none of the targets of {job} for a minute; rules over their "
            "series are blind."
        ),
        unseen="nothing is scraped",
    ),
    Rule(
        name="MetricsMissing",
        expression=Combine(
            left=Absent(of=series("jobs_total")),
            op="or",
            right=Absent(of=series("worker_info")),
        ),
        for_s=5 * MINUTE,
        severity=Severity.PAGE,
        summary="The cluster's metrics are missing",
        description=(
            "Prometheus has had no series of jobs, or none of workers, for 5 minutes: other rules "
            "are blind."
        ),
        unseen="nothing is scraped",
    ),
    Rule(
        name="Watchdog",
        expression=Always(),
        severity=Severity.NONE,
        summary="Rules are being judged",
        description=(
            "It always fires: whoever no longer receives it knows that alerts no longer arrive."
        ),
        unseen="its absence is what tells, and that takes somebody outside",
    ),
)
