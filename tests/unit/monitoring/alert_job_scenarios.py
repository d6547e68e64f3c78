"""What the rules about jobs are tried on."""

from __future__ import annotations

from tests.unit.monitoring.alert_scenario import Scenario, ages, counting, jobs_series
from tests.unit.monitoring.promtool import Values


def _both(name: str, edge: Values, over: Values) -> dict[str, Values]:
    """Two series of a gauge by model: `edge`, which must not fire, and `over`."""
    return {f'{name}{{model="edge"}}': edge, f'{name}{{model="over"}}': over}


JOBS = (
    Scenario(
        name="more than a tenth of the jobs fail, and then fewer",
        rule="HighErrorRate",
        series={
            jobs_series("over", "succeeded"): counting((90, 8.995)),
            jobs_series("over", "failed"): counting((60, 1.005), (30, 0)),
            jobs_series("edge", "succeeded"): counting((90, 9)),
            jobs_series("edge", "failed"): counting((90, 1)),
            jobs_series("dying", "succeeded"): counting((90, 8.995)),
            jobs_series("dying", "dead"): counting((60, 1.005), (30, 0)),
            jobs_series("late", "succeeded"): counting((90, 8.995)),
            jobs_series("late", "expired"): counting((60, 1.005), (30, 0)),
            jobs_series("called off", "succeeded"): counting((90, 1)),
            jobs_series("called off", "cancelled"): counting((90, 9)),
        },
        fires={
            "model=over": ((130, 610),),
            "model=dying": ((130, 610),),
            "model=late": ((130, 610),),
        },
    ),
    Scenario(
        name="ten jobs are enough to judge by, nine are not",
        rule="HighErrorRate",
        series={
            jobs_series("ten", "failed"): counting((5, 0), (1, 10), (80, 0)),
            jobs_series("nine", "failed"): counting((5, 0), (1, 9), (80, 0)),
            jobs_series("apart", "failed"): counting((5, 0), (1, 5), (64, 0), (1, 5), (15, 0)),
        },
        fires={"model=ten": ((180, 660),)},
    ),
    Scenario(
        name="the failing jobs' series end",
        rule="HighErrorRate",
        series={
            jobs_series("gone", "succeeded"): [*counting((39, 5)), *[None] * 70],
            jobs_series("gone", "failed"): [*counting((39, 5)), *[None] * 70],
        },
        fires={"model=gone": ((130, 990),)},
    ),
    Scenario(
        name="answers are in doubt five times in a row",
        rule="LowConfidenceStreak",
        series={
            **_both("swarmos_low_confidence_streak_jobs", [4] * 9, [4, 4, 5, 5, 6, 0, 0, 0, 0]),
            'swarmos_low_confidence_streak_jobs{model="gone"}': [5, 5, 5, *[None] * 6],
        },
        fires={"model=over": ((20, 50),), "model=gone": ((0, 30),)},
    ),
    Scenario(
        name="a run goes on for longer than it may",
        rule="JobTimeout",
        series={
            **_both("swarmos_oldest_running_job_age_seconds", [300] * 6, [0, 300, 300.5, 0, 0, 0]),
            'swarmos_oldest_running_job_age_seconds{model="gone"}': [400, 400, *[None] * 4],
        },
        fires={"model=over": ((20, 30),), "model=gone": ((0, 20),)},
    ),
    Scenario(
        name="runs are ended by their time limit",
        rule="JobTimeout",
        series={
            'swarmos_job_attempts_total{model="over",outcome="timeout"}': counting(
                (5, 0), (1, 1), (40, 0)
            ),
            'swarmos_job_attempts_total{model="edge",outcome="timeout"}': counting((46, 0)),
            'swarmos_job_attempts_total{model="edge",outcome="failed"}': counting((46, 1)),
            'swarmos_oldest_running_job_age_seconds{model="over"}': [200] * 47,
            'swarmos_job_attempts_total{model="both",outcome="timeout"}': counting((5, 1), (41, 0)),
            'swarmos_oldest_running_job_age_seconds{model="both"}': [400] * 47,
        },
        fires={"model=over": ((60, 360),), "model=both": ((0, None),)},
    ),
    Scenario(
        name="more than a hundred jobs wait",
        rule="QueueBacklog",
        series={
            **_both("swarmos_queue_length", [100] * 43, [*[0] * 3, *[101] * 20, *[100] * 20]),
            'swarmos_queue_length{model="short"}': [*[500] * 12, *[0] * 31],
            'swarmos_queue_length{model="gone"}': [*[101] * 20, *[None] * 23],
            'swarmos_queue_length{model="gone early"}': [*[101] * 8, *[None] * 35],
        },
        fires={"model=over": ((150, 350),), "model=gone": ((120, 320),)},
    ),
    Scenario(
        name="jobs wait for a model that no worker can run",
        rule="NoWorkerForModel",
        series={
            'swarmos_queue_length{model="over"}': [*[0] * 3, *[1] * 30, *[0] * 7],
            'swarmos_workers{model="over",backend="cuda",state="idle"}': [0] * 40,
            'swarmos_workers{model="over",backend="cuda",state="loading"}': [1] * 40,
            'swarmos_queue_length{model="left"}': [1] * 40,
            'swarmos_workers{model="left",backend="cuda",state="idle"}': [*[1] * 10, *[0] * 30],
            'swarmos_workers{model="left",backend="cuda",state="busy"}': [*[0] * 25, *[1] * 15],
            'swarmos_queue_length{model="idle"}': [5] * 40,
            'swarmos_workers{model="idle",backend="cpu",state="idle"}': [1] * 40,
            'swarmos_queue_length{model="busy"}': [5] * 40,
            'swarmos_workers{model="busy",backend="cpu",state="busy"}': [1] * 40,
            'swarmos_queue_length{model="edge"}': [0] * 40,
            'swarmos_workers{model="edge",backend="cpu",state="idle"}': [0] * 40,
            'swarmos_queue_length{model="never seen"}': [2] * 40,
            'swarmos_queue_length{model="gone"}': [*[2] * 20, *[None] * 20],
        },
        fires={
            "model=over": ((90, 330),),
            "model=left": ((160, 250),),
            "model=never seen": ((60, None),),
            "model=gone": ((60, 200),),
        },
    ),
    Scenario(
        name="a job dies",
        rule="DeadLetters",
        series={
            jobs_series("over", "dead"): counting((5, 0), (1, 1), (370, 0)),
            jobs_series("edge", "dead"): counting((376, 0)),
            jobs_series("edge", "failed"): counting((376, 1)),
            jobs_series("gone", "dead"): [0, 0, 1, 1, *[None] * 373],
        },
        fires={"model=over": ((60, 3660),), "model=gone": ((20, 3620),)},
    ),
    Scenario(
        name="a message is quarantined",
        rule="QuarantinedMessages",
        series={
            'swarmos_quarantined_messages_total{reason="BAD_SIGNATURE"}': counting(
                (5, 0), (1, 1), (70, 0)
            ),
            'swarmos_quarantined_messages_total{reason="TASK_UNKNOWN"}': counting((76, 0)),
            'swarmos_quarantined_messages_total{reason="GONE"}': [0, 1, *[None] * 75],
        },
        fires={"reason=BAD_SIGNATURE": ((60, 660),), "reason=GONE": ((10, 610),)},
    ),
    Scenario(
        name="canaries stop coming back",
        rule="CanaryStale",
        series={
            'swarmos_canary_last_success_timestamp_seconds{model="edge"}': ages(0, 40),
            'swarmos_canary_last_success_timestamp_seconds{model="over"}': [
                *ages(8.5, 35),
                *[350] * 5,
            ],
            'swarmos_canary_last_success_timestamp_seconds{model="gone"}': [
                *ages(0, 33),
                *[None] * 7,
            ],
        },
        fires={
            "model=edge": ((310, None),),
            "model=over": ((310, 350),),
            "model=gone": ((310, 330),),
        },
    ),
    Scenario(
        name="canaries that are sent every ten minutes",
        rule="CanaryStale",
        series={
            'swarmos_alert_limit_seconds{rule="CanaryStale"}': [1260] * 130,
            'swarmos_canary_last_success_timestamp_seconds{model="edge"}': [10] * 130,
            'swarmos_canary_last_success_timestamp_seconds{model="over"}': [9.7] * 130,
        },
        fires={"model=edge": ((1280, None),), "model=over": ((1270, None),)},
    ),
    Scenario(
        name="no reconciler looks, and then one does",
        rule="ReconcilerStale",
        series={
            "swarmos_reconciler_last_run_timestamp_seconds": [*ages(0, 13), *ages(200, 20)[13:]],
        },
        fires={"": ((110, 130),)},
    ),
    Scenario(
        name="a reconciler that is back just before anybody is told",
        rule="ReconcilerStale",
        series={
            "swarmos_reconciler_last_run_timestamp_seconds": [*ages(0, 11), *ages(200, 20)[11:]],
        },
    ),
    Scenario(
        name="no reconciler looks any more",
        rule="ReconcilerStale",
        series={
            "swarmos_reconciler_last_run_timestamp_seconds": [*ages(9.7, 15), *[None] * 3],
        },
        fires={"": ((110, 150),)},
    ),
    Scenario(
        name="an answer waits for a person for a day, for longer, and not at all",
        rule="ReviewOverdue",
        series={
            "swarmos_review_oldest_open_age_seconds": [0, *[86_400] * 3, *[86_410] * 3, 0, 0],
        },
        fires={"": ((40, 70),)},
    ),
    Scenario(
        name="an answer waits, and then nobody says anything",
        rule="ReviewOverdue",
        series={"swarmos_review_oldest_open_age_seconds": [86_400, 86_410, 86_420, *[None] * 3]},
        fires={"": ((10, 30),)},
    ),
    Scenario(
        name="no answer waits for a person",
        rule="ReviewOverdue",
        series={"swarmos_review_oldest_open_age_seconds": [0] * 9},
    ),
)
