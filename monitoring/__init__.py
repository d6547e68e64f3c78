"""What observes the cluster and the machine; nothing below calls it.

The doctor's checks are in `monitoring.doctor`, which opens the ledger and is imported on its own.
"""

from __future__ import annotations

from monitoring.checks import Check
from monitoring.errors import (
    BrokerUnfit,
    MonitoringError,
    NvmlUnavailable,
    RedisEvicts,
    RedisNoAof,
    RedisTooOld,
    RedisUnprotected,
    RedisUnreachable,
)
from monitoring.gpu import GpuReading, GpuSurvey, inventory, readings, survey_gpus
from monitoring.redis_health import redis_checks, redis_problems

__all__ = [
    "BrokerUnfit",
    "Check",
    "GpuReading",
    "GpuSurvey",
    "MonitoringError",
    "NvmlUnavailable",
    "RedisEvicts",
    "RedisNoAof",
    "RedisTooOld",
    "RedisUnprotected",
    "RedisUnreachable",
    "inventory",
    "readings",
    "redis_checks",
    "redis_problems",
    "survey_gpus",
]
