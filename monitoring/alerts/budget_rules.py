"""Rules of the error budget: how fast the share of jobs that fail uses up what may fail in 30 days.

Two windows each: the long one tells that it matters, the short one that it still goes on. A least
number of jobs keeps a quiet cluster from being judged by one failure. Source: Google's "Site
Reliability Workbook", "Alerting on SLOs".
"""

from __future__ import annotations

from monitoring.alerts.alert import Severity
from monitoring.alerts.expressions import Aggregate, Arithmetic, Combine, Compare
from monitoring.alerts.rule import Board, Recording, Rule
from monitoring.alerts.series import Recorded, Rise, duration, series, series_besides
from monitoring.alerts.units import Unit

MINUTE, HOUR, DAY = 60, 3600, 86400

OBJECTIVE = 0.995
"""The share of accepted jobs that shall succeed, over 30 days."""
BUDGET = round(1 - OBJECTIVE, 6)
FAST, SLOW = 14.4, 6.0
"""So many times too fast: the budget of 30 days is gone in two days, in five."""

ENDED_BADLY = ("failed", "dead", "expired")

_UNSEEN = "only Prometheus looks back for hours and days"


def _ratio(window_s: int) -> Recording:
    bad = Rise(of=series("jobs_total", status=ENDED_BADLY), window_s=window_s, per_second=True)
    every = series_besides("jobs_total", status="cancelled")
    ended = Rise(of=every, window_s=window_s, per_second=True)
    return Recording(
        name=f"job:swarmos_jobs_error:ratio_rate{duration(window_s)}",
        expression=Arithmetic(
            left=Aggregate(how="sum", by=("job",), of=bad),
            op="/",
            right=Aggregate(how="sum", by=("job",), of=ended),
        ),
    )


RECORDINGS = tuple(_ratio(s) for s in (5 * MINUTE, 30 * MINUTE, HOUR, 6 * HOUR, 3 * DAY))


def _burns(windows: tuple[int, int], limit: float) -> Combine:
    long, short = (
        Compare(of=Recorded(name=_ratio(window_s).name, labels=("job",)), op=">", limit=limit)
        for window_s in windows
    )
    return Combine(left=long, op="and", on=("job",), right=short)


def _after(least: int, window_s: int) -> Compare:
    rise = Rise(of=series("jobs_total"), window_s=window_s)
    return Compare(of=Aggregate(how="sum", by=("job",), of=rise), op=">=", limit=least)


RULES = (
    Rule(
        name="JobErrorBudgetFastBurn",
        expression=Combine(
            left=_burns((HOUR, 5 * MINUTE), FAST * BUDGET),
            op="and",
            on=("job",),
            right=_after(20, HOUR),
        ),
        for_s=2 * MINUTE,
        severity=Severity.PAGE,
        unit=Unit.RATIO,
        summary="{value} of the jobs of the last hour failed",
        description=(
            "{value} of the jobs that ended within the last hour failed, expired or died. At this "
            "rate what may fail in 30 days (0.5%) is used up in two days."
        ),
        unseen=_UNSEEN,
    ),
    Rule(
        name="JobErrorBudgetSlowBurn",
        expression=Combine(
            left=_burns((6 * HOUR, 30 * MINUTE), SLOW * BUDGET),
            op="and",
            on=("job",),
            right=_after(50, 6 * HOUR),
        ),
        for_s=15 * MINUTE,
        severity=Severity.PAGE,
        unit=Unit.RATIO,
        summary="{value} of the jobs of the last six hours failed",
        description=(
            "{value} of the jobs that ended within the last six hours failed, expired or died. At "
            "this rate what may fail in 30 days (0.5%) is used up in five days."
        ),
        unseen=_UNSEEN,
    ),
    Rule(
        name="JobErrorBudgetTrickle",
        expression=_burns((3 * DAY, 6 * HOUR), BUDGET),
        for_s=HOUR,
        severity=Severity.TICKET,
        unit=Unit.RATIO,
        summary="{value} of the jobs of the last three days failed",
        description=(
            "{value} of the jobs that ended within the last three days failed, expired or died, "
            "which is more than the 0.5% that may."
        ),
        board=Board.OVERVIEW,
        unseen=_UNSEEN,
    ),
)
