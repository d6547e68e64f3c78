"""What the rules of the error budget are tried on."""

from __future__ import annotations

from tests.unit.monitoring.alert_scenario import Scenario, counting
from tests.unit.monitoring.promtool import Values


def _ended(job: str, *parts: tuple[int, float], each: float = 1000) -> dict[str, Values]:
    """A cluster's jobs: for so many steps such a share of them fails, in parts of `each`."""
    return _growing(job, *((steps, share, each) for steps, share in parts))


def _growing(job: str, *parts: tuple[int, float, float]) -> dict[str, Values]:
    """The same where parts may be larger than others."""
    name = f'swarmos_jobs_total{{job="{job}",model="spine",status="%s"}}'
    failed = [(steps, round(each * share, 6)) for steps, share, each in parts]
    others = [(steps, round(each - each * share, 6)) for steps, share, each in parts]
    return {name % "failed": counting(*failed), name % "succeeded": counting(*others)}


def _burst(job: str, jobs: int, later: tuple[int, int] = (1, 0)) -> dict[str, Values]:
    """So many jobs that fail at once, and others some steps later."""
    name = f'swarmos_jobs_total{{job="{job}",model="spine",status="failed"}}'
    apart, others = later
    return {name: counting((9, 0), (1, jobs), (apart - 1, 0), (1, others), (110 - apart, 0))}


def _only(job: str, status: str, share: float, steps: int) -> dict[str, Values]:
    """Jobs that end badly in one way, beside others that are called off, which counts nothing."""
    name = f'swarmos_jobs_total{{job="{job}",model="spine",status="%s"}}'
    return {
        name % status: counting((steps, round(1000 * share, 6))),
        name % "succeeded": counting((steps, round(1000 - 1000 * share, 6))),
        name % "cancelled": counting((steps, 500)),
    }


BUDGET = (
    Scenario(
        name="jobs fail a little too fast, and then no longer",
        rule="JobErrorBudgetFastBurn",
        step_s=60,
        series={
            **_ended("over", (90, 0.0725), (30, 0)),
            # Over any hour just few enough fail, over some five minutes many.
            **_ended("long edge", *[(5, 0), (5, 0.144)] * 12, each=875),
        },
        fires={"job=over": ((180, 5460),)},
        value=0.0725,
    ),
    Scenario(
        name="jobs failed fast, and now just slowly enough",
        rule="JobErrorBudgetFastBurn",
        step_s=60,
        series=_growing("short edge", (60, 0.5, 750), (60, 0.072, 2250)),
        fires={"job=short edge": ((180, 3900),)},
        value=0.5,
    ),
    Scenario(
        name="twenty jobs are enough to judge by, nineteen are not",
        rule="JobErrorBudgetFastBurn",
        step_s=60,
        series={
            **_burst("twenty", 20),
            **_burst("nineteen", 19),
            **_burst("within the hour", 10, (50, 10)),
            **_burst("later", 10, (70, 10)),
        },
        fires={"job=twenty": ((720, 900),), "job=within the hour": ((3720, 3900),)},
        value=1,
    ),
    Scenario(
        name="jobs die or expire too fast",
        rule="JobErrorBudgetFastBurn",
        step_s=60,
        series={**_only("dying", "dead", 0.0725, 20), **_only("late", "expired", 0.0725, 20)},
        fires={"job=dying": ((180, None),), "job=late": ((180, None),)},
        value=0.0725,
    ),
    Scenario(
        name="the failing jobs' series end",
        rule="JobErrorBudgetFastBurn",
        step_s=60,
        series={
            name: [*values, *[None] * 20] for name, values in _ended("gone", (20, 0.5)).items()
        },
        fires={"job=gone": ((180, 1500),)},
        value=0.5,
    ),
    Scenario(
        name="jobs fail too fast for hours, and then no longer",
        rule="JobErrorBudgetSlowBurn",
        step_s=300,
        series={
            **_ended("over", (100, 0.0302), (44, 0)),
            **_ended("long edge", *[(6, 0), (6, 0.06)] * 12, each=3000),
        },
        fires={"job=over": ((1200, 30300),)},
        value=0.0302,
    ),
    Scenario(
        name="jobs failed for hours, and now just slowly enough",
        rule="JobErrorBudgetSlowBurn",
        step_s=300,
        series=_growing("short edge", (72, 0.5, 500), (72, 0.03, 1500)),
        fires={"job=short edge": ((1200, 23400),)},
        value=0.5,
    ),
    Scenario(
        name="fifty jobs are enough to judge by, forty-nine are not",
        rule="JobErrorBudgetSlowBurn",
        step_s=300,
        series={
            **_burst("fifty", 50),
            **_burst("forty-nine", 49),
            **_burst("within six hours", 25, (60, 25)),
            **_burst("later", 25, (84, 25)),
        },
        fires={"job=fifty": ((3900, 4800),), "job=within six hours": ((21900, 22800),)},
        value=1,
    ),
    Scenario(
        name="jobs die or expire too fast for hours",
        rule="JobErrorBudgetSlowBurn",
        step_s=300,
        series={**_only("dying", "dead", 0.0302, 20), **_only("late", "expired", 0.0302, 20)},
        fires={"job=dying": ((1200, None),), "job=late": ((1200, None),)},
        value=0.0302,
    ),
    Scenario(
        name="the failing jobs' series have ended for hours",
        rule="JobErrorBudgetSlowBurn",
        step_s=300,
        series={
            name: [*values, *[None] * 20] for name, values in _ended("gone", (20, 0.5)).items()
        },
        fires={"job=gone": ((1200, 7800),)},
        value=0.5,
    ),
    Scenario(
        name="a few jobs too many fail for days, and then no longer",
        rule="JobErrorBudgetTrickle",
        step_s=1800,
        series={
            **_ended("over", (200, 0.00502), (88, 0)),
            **_ended("long edge", *[(12, 0), (12, 0.01)] * 12),
        },
        fires={"job=over": ((5400, 361800),)},
        value=0.00502,
    ),
    Scenario(
        name="jobs failed for days, and now just few enough",
        rule="JobErrorBudgetTrickle",
        step_s=1800,
        series=_growing("short edge", (144, 0.5, 1000), (100, 0.005, 3000)),
        fires={"job=short edge": ((5400, 280800),)},
        value=0.5,
    ),
    Scenario(
        name="jobs die or expire for days",
        rule="JobErrorBudgetTrickle",
        step_s=1800,
        series={**_only("dying", "dead", 0.00502, 20), **_only("late", "expired", 0.00502, 20)},
        fires={"job=dying": ((5400, None),), "job=late": ((5400, None),)},
        value=0.00502,
    ),
    Scenario(
        name="the failing jobs' series have ended for days",
        rule="JobErrorBudgetTrickle",
        step_s=1800,
        series={
            name: [*values, *[None] * 30] for name, values in _ended("gone", (20, 0.5)).items()
        },
        fires={"job=gone": ((5400, 57600),)},
        value=0.5,
    ),
)
