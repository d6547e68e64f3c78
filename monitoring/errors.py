"""What can go wrong when the machine or the broker is looked at.

MonitoringError
├── NvmlUnavailable       NVIDIA's management library or its driver does not answer
├── TracingUnavailable    spans are asked for and cannot be sent; names what is missing
├── FlowerUnusable        Flower is not installed, or cannot listen where it was told to
├── ChannelError          people could not be told; see monitoring.alerts.channels.errors
└── BrokerUnfit           Redis is not fit to carry jobs
    ├── RedisUnreachable      it does not answer
    ├── RedisTooOld           its version lacks what the clients need
    ├── RedisNoAof            it writes no append-only file: a restart would forget every message
    └── RedisEvicts           when memory runs out it would drop messages without a word
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


class MonitoringError(Exception):
    """Something that was looked at is not as it must be; `code` is stable."""

    code = "MONITORING_ERROR"
    retriable = False
    http_status = 500
    exit_code = 1

    def __init__(
        self, message: str, *, suggested_action: str, details: Mapping[str, Any] | None = None
    ) -> None:
        super().__init__(message)
        self.message = message
        self.suggested_action = suggested_action
        self.details = dict(details or {})


class NvmlUnavailable(MonitoringError):
    """The NVIDIA management library or its driver does not answer."""

    code = "NVML_UNAVAILABLE"


class TracingUnavailable(MonitoringError):
    """Spans are asked for and cannot be sent."""

    code = "TRACING_UNAVAILABLE"


class FlowerUnusable(MonitoringError):
    """Flower is not installed, or cannot listen where it was told to."""

    code = "FLOWER_UNUSABLE"


class BrokerUnfit(MonitoringError):
    """Redis is not fit to carry jobs."""

    code = "BROKER_UNFIT"
    http_status = 503


class RedisUnreachable(BrokerUnfit):
    """Redis does not answer."""

    code = "REDIS_UNREACHABLE"
    retriable = True


class RedisTooOld(BrokerUnfit):
    """This version of Redis lacks what the clients need."""

    code = "REDIS_TOO_OLD"


class RedisNoAof(BrokerUnfit):
    """Redis writes no append-only file, or cannot write it."""

    code = "REDIS_NO_AOF"


class RedisUnprotected(BrokerUnfit):
    """Redis serves whoever can reach it."""

    code = "REDIS_UNPROTECTED"


class RedisEvicts(BrokerUnfit):
    """Redis would drop messages when its memory is full."""

    code = "REDIS_EVICTS"
