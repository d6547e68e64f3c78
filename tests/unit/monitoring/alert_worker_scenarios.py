"""What the rules about workers, engines, GPUs and disks are tried on."""

from __future__ import annotations

from tests.unit.monitoring.alert_scenario import Scenario, ages
from tests.unit.monitoring.promtool import Values

_HEARD = 'swarmos_worker_last_heartbeat_timestamp_seconds{worker="%s"}'
_GOT_ON = 'swarmos_engine_progress_timestamp_seconds{worker="%s",model="spine"}'
_IN_HAND = 'swarmos_engine_requests_running{worker="%s",model="spine"}'
_DEGREES = 'swarmos_gpu_temperature_celsius{worker="bee",gpu="%s"}'
_DISK = 'swarmos_host_disk_available_bytes{worker="%s"}'


def _engine(name: str, behind: float, in_hand: int) -> dict[str, Values]:
    """A worker whose engine is so far behind its heartbeats, in the middle of the time."""
    heard = [1000 + 10.0 * step for step in range(15)]
    late = [at - (behind if 1 < step < 12 else 0) for step, at in enumerate(heard)]
    return {_HEARD % name: heard, _GOT_ON % name: late, _IN_HAND % name: [in_hand] * 15}


WORKERS = (
    Scenario(
        name="workers fall silent",
        rule="WorkerStale",
        series={
            _HEARD % "edge": ages(0, 15),
            _HEARD % "over": [*ages(9.7, 9), *ages(200, 15)[9:]],
            _HEARD % "well": ages(200, 15),
            _HEARD % "stopped": [*ages(0, 5), *[None] * 10],
            _HEARD % "forgotten": [*ages(0, 10), *[None] * 5],
        },
        fires={
            "worker=edge": ((70, None),),
            "worker=over": ((70, 90),),
            "worker=forgotten": ((70, 100),),
        },
    ),
    Scenario(
        name="workers fall silent in a cluster that waits for them longer",
        rule="WorkerStale",
        series={
            'swarmos_alert_limit_seconds{rule="WorkerStale"}': [90] * 15,
            'swarmos_alert_limit_seconds{rule="CanaryStale"}': [900] * 15,
            _HEARD % "edge": [10] * 15,
            _HEARD % "over": [9.7] * 15,
        },
        fires={"worker=edge": ((110, None),), "worker=over": ((100, None),)},
    ),
    Scenario(
        name="an engine stands still",
        rule="EngineStuck",
        series={
            **_engine("edge", 60, 1),
            **_engine("over", 60.5, 1),
            **_engine("idle", 500, 0),
            _HEARD % "deaf": [1000] * 15,
            _GOT_ON % "deaf": [100] * 15,
            _GOT_ON % "unheard": [100] * 15,
            _IN_HAND % "unheard": [1] * 15,
            _HEARD % "gone": [1000] * 15,
            _GOT_ON % "gone": [*[100] * 8, *[None] * 7],
            _IN_HAND % "gone": [1] * 15,
        },
        fires={"worker=over": ((60, 120),), "worker=gone": ((40, 80),)},
    ),
    Scenario(
        name="GPUs become hot and cool down",
        rule="GpuHot",
        series={
            _DEGREES % "edge": [85] * 100,
            _DEGREES % "over": [*[80] * 3, *[85.5] * 12, *[85] * 85],
            _DEGREES % "dipping": [*[90] * 10, *[70] * 20, *[90] * 10, *[70] * 60],
            _DEGREES % "short": [*[95] * 6, *[70] * 94],
            _DEGREES % "gone": [*[90] * 10, *[None] * 90],
        },
        fires={
            "gpu=over,worker=bee": ((90, 450),),
            "gpu=dipping,worker=bee": ((60, 700),),
            "gpu=gone,worker=bee": ((60, 400),),
        },
    ),
    Scenario(
        name="disks fill up",
        rule="DiskLow",
        series={
            _DISK % "edge": [10e9] * 60,
            _DISK % "over": [*[20e9] * 3, *[9.95e9] * 37, *[20e9] * 20],
            _DISK % "short": [*[1e9] * 30, *[20e9] * 30],
            _DISK % "gone": [*[1e9] * 40, *[None] * 20],
        },
        fires={"worker=over": ((330, 400),), "worker=gone": ((300, 400),)},
    ),
)
