"""What vLLM's own statistics tell of a running engine, read where they lie."""

from __future__ import annotations

from typing import Any


def kv_cache_usage(engine: Any) -> float | None:
    """How full the KV cache is, from 0 to 1, as vLLM last set its gauge; None if it keeps none.

    It keeps none with `disable_log_stats`. The gauge of each engine core is a `prometheus_client`
    one, which the step that has just been made has set: reading it costs nothing.
    """
    manager = getattr(engine, "logger_manager", None)
    for logger in getattr(manager, "stat_loggers", ()):
        gauges = getattr(logger, "gauge_kv_cache_usage", None)
        if gauges:
            metrics = [metric for gauge in gauges.values() for metric in gauge.collect()]
            values = [sample.value for metric in metrics for sample in metric.samples]
            return max(values, default=None)
    return None
