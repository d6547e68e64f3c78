"""What the rules about Redis, beat, receipts and watching itself are tried on."""

from __future__ import annotations

from tests.unit.monitoring.alert_scenario import Scenario, ages, counting, jobs_series
from tests.unit.monitoring.promtool import Values

_INFO = 'swarmos_worker_info{worker="bee"}'
_USED, _MAX = "swarmos_broker_memory_used_bytes", "swarmos_broker_memory_max_bytes"
_OLDEST = "swarmos_receipts_oldest_unsealed_timestamp_seconds"
_SENT = 'swarmos_alerts_sent_total{channel="%s",kind="firing",outcome="%s"}'
_UNSENT = 'alertmanager_notifications_failed_total{integration="%s"}'
_UP = 'up{job="%s",instance="%s"}'


def _channel(name: str, *, waits: Values, told: Values) -> dict[str, Values]:
    """How much waits for a channel, and when it took something last."""
    return {
        f'swarmos_alert_outbox_length{{channel="{name}"}}': waits,
        f'swarmos_alert_last_delivery_timestamp_seconds{{channel="{name}"}}': told,
    }


SERVICES = (
    Scenario(
        name="Redis goes and comes back",
        rule="RedisDown",
        series={"swarmos_broker_up": [1, 1, *[0] * 5, 1, *[0] * 10, *[1] * 9]},
        fires={"": ((140, 240),)},
    ),
    Scenario(
        name="nobody says whether Redis is there",
        rule="RedisDown",
        series={"swarmos_broker_up": [*[0] * 9, *[None] * 10]},
        fires={"": ((60, 150),)},
    ),
    Scenario(
        name="Redis loses its append-only file and gets it back",
        rule="RedisNoAof",
        series={"swarmos_broker_aof_enabled": [1, 1, 0, 0, 1, 1]},
        fires={"": ((20, 40),)},
    ),
    Scenario(
        name="nobody says whether Redis keeps a file",
        rule="RedisNoAof",
        series={"swarmos_broker_aof_enabled": [1, 0, None, None]},
        fires={"": ((10, 20),)},
    ),
    Scenario(
        name="Redis fills up and is emptied",
        rule="RedisMemoryHigh",
        series={_USED: [*[80] * 3, *[80.5] * 37, *[80] * 5], _MAX: [100] * 45},
        fires={"": ((330, 400),)},
    ),
    Scenario(
        name="Redis has no limit",
        rule="RedisMemoryHigh",
        series={_USED: [80] * 40, _MAX: [0] * 40},
    ),
    Scenario(
        name="Redis has the smallest limit, and then says nothing",
        rule="RedisMemoryHigh",
        series={_USED: [1] * 40, _MAX: [*[1] * 35, *[None] * 5]},
        fires={"": ((300, 350),)},
    ),
    Scenario(
        name="beat stops, and starts again",
        rule="BeatStale",
        series={"swarmos_beat_last_run_timestamp_seconds": [*ages(0, 15), *ages(900, 30)[15:]]},
        fires={"": ((130, 150),)},
        value=130,
    ),
    Scenario(
        name="beat stops for good",
        rule="BeatStale",
        series={"swarmos_beat_last_run_timestamp_seconds": [*ages(9.5, 15), *[None] * 3]},
        fires={"": ((130, 150),)},
        value=120.5,
    ),
    Scenario(
        name="a receipt waits until just after it should be sealed",
        rule="ReceiptsUnsealed",
        series={_OLDEST: [10] * 130},
        fires={"": ((1220, None),)},
    ),
    Scenario(
        name="a receipt waits a little longer, and is sealed",
        rule="ReceiptsUnsealed",
        series={_OLDEST: [*[9.5] * 123, *[0] * 7]},
        fires={"": ((1210, 1230),)},
    ),
    Scenario(
        name="the first receipt of all waits, and then nobody says anything",
        rule="ReceiptsUnsealed",
        series={_OLDEST: [*[1] * 123, *[None] * 7]},
        fires={"": ((1210, 1230),)},
    ),
    Scenario(name="no receipt waits", rule="ReceiptsUnsealed", series={_OLDEST: [0] * 130}),
    Scenario(
        name="channels take nothing, and then again",
        rule="AlertDeliveryFailing",
        series={
            **_channel("edge", waits=[0, *[1] * 29, *[0] * 5], told=[*[10] * 30, *[300] * 5]),
            **_channel("over", waits=[0, *[2] * 29, *[0] * 5], told=[*[9.5] * 30, *[300] * 5]),
            **_channel("new", waits=[*[0] * 5, *[3] * 30], told=[None] * 35),
            **_channel("storm", waits=[9] * 35, told=[at // 60 * 60 for at in range(0, 350, 10)]),
            **_channel("quiet", waits=[0] * 35, told=[0] * 35),
            **_channel("short", waits=[*[1] * 18, *[0] * 17], told=[*[0] * 18, *[180] * 17]),
            **_channel("gone", waits=[*[1] * 25, *[None] * 10], told=[None] * 35),
        },
        fires={
            "channel=edge": ((200, 300),),
            "channel=over": ((190, 300),),
            "channel=new": ((170, None),),
            "channel=gone": ((120, 250),),
        },
    ),
    Scenario(
        name="messages are given up",
        rule="AlertDeliveryFailing",
        series={
            _SENT % ("once", "failed"): counting((5, 0), (1, 1), (127, 0)),
            _SENT % ("edge", "failed"): counting((133, 0)),
            _SENT % ("edge", "ok"): counting((133, 1)),
            _SENT % ("edge", "retried"): counting((133, 1)),
            _SENT % ("gone", "failed"): [*counting((30, 1)), *[None] * 103],
        },
        fires={"channel=once": ((180, 960),), "channel=gone": ((130, 1200),)},
    ),
    Scenario(
        name="Alertmanager loses messages again and again",
        rule="AlertDeliveryFailing",
        series={
            _UNSENT % "over": counting((5, 0), *[(1, 1), (8, 0)] * 3, (41, 0)),
            _UNSENT % "once": counting((5, 0), (1, 1), (67, 0)),
            _UNSENT % "edge": counting((73, 0)),
        },
        fires={"integration=over": ((180, 330),)},
        value=1,
    ),
    Scenario(
        name="an exporter goes and comes back, and one stands by for another",
        rule="TargetDown",
        series={
            _UP % ("honeyflow", "a"): [1, *[0] * 9, 1, 1],
            _UP % ("redundant", "a"): [1] * 12,
            _UP % ("redundant", "standby"): [0] * 12,
            _UP % ("gone", "a"): [*[0] * 8, *[None] * 4],
        },
        fires={"job=honeyflow": ((70, 100),), "job=gone": ((60, 80),)},
        value=0,
    ),
    Scenario(
        name="there are no metrics at all",
        rule="MetricsMissing",
        series={},
        length=35,
        fires={"": ((300, None),)},
        value=1,
    ),
    Scenario(
        name="there are no workers' series for a while",
        rule="MetricsMissing",
        series={
            jobs_series("spine", "failed"): [0] * 50,
            _INFO: [*[1] * 5, *[None] * 35, *[1] * 10],
        },
        fires={"": ((350, 400),)},
        value=1,
    ),
    Scenario(
        name="there are no jobs' series for too short a while",
        rule="MetricsMissing",
        series={
            jobs_series("spine", "failed"): [*[0] * 5, *[None] * 30, *[0] * 15],
            _INFO: [1] * 50,
        },
    ),
    Scenario(
        name="there are no jobs' series",
        rule="MetricsMissing",
        series={
            jobs_series("spine", "failed"): [*[0] * 5, *[None] * 45],
            _INFO: [1] * 50,
        },
        fires={"": ((350, None),)},
        value=1,
    ),
    Scenario(
        name="all is well", rule="Watchdog", series={}, length=3, fires={"": ((0, None),)}, value=1
    ),
)
